//! A type of one's own is no destination until it says so.

use std::fs::File;

use zc_std::ReadFrom;

struct Upload {
    file: File,
}

fn store<By>(to: &mut impl ReadFrom<By>) {
    to.read_from(std::io::empty()).unwrap();
}

fn main() {
    let mut upload = Upload { file: File::create("upload").unwrap() };
    upload.read_from(std::io::empty()).unwrap();
    store(&mut upload);
    drop(upload.file);
}
