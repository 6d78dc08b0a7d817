//! … nor a plain `Write` as its sink.

use std::io::{self, Write};

struct MyWriter;

impl Write for MyWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() {
    zc_std::copy(&mut std::io::empty(), &mut MyWriter).unwrap();
}
