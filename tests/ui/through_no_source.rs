//! A wrapper names the source it wraps; that has to be one.

use std::io::{self, Read};

use zc_std::{Source, Upstream};

struct Metered<R> {
    inner: R,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl<R: Read> Source for Metered<R> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::through(&mut self.inner)
    }
}

fn main() {}
