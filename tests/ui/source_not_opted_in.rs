//! A plain `Read` has not opted in: neither as the source of a copy …

use std::fs::File;
use std::io::{self, Read};

use zc_std::ReadFrom;

struct MyReader;

impl Read for MyReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

fn main() {
    let mut file = File::create("copy").unwrap();
    zc_std::copy(&mut MyReader, &mut file).unwrap();
    file.read_from(MyReader).unwrap();
    file.read_from(MyReader.take(10)).unwrap();
}
