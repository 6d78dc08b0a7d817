//! A `BufReader` has no descriptor to hand out: what it has read ahead would be passed over.

use std::fs::File;
use std::io::{self, BufReader, Read};

use zc_std::{AsRawPollFd, Source, Upstream};

struct Lines(BufReader<File>);

impl Read for Lines {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Source for Lines {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd(self.0.as_raw_poll_fd())
    }
}

fn main() {}
