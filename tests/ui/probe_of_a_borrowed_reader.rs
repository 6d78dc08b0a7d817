//! A probe goes by the type, which a borrowed reader has only for a while.

use std::fs::File;
use std::io::{self, Read};

fn save<R: Read + 'static>(mut reader: R) -> io::Result<u64> {
    zc_std::probe::copy(&mut reader, &mut io::sink())
}

fn main() {
    let file = File::open("/dev/null").unwrap();
    save(&file).unwrap();
}
