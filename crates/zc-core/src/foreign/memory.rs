//! Sources and sinks in memory.
//!
//! A source in memory is a buffer with nothing behind it, so its bytes are written from where they
//! lie. Sinks in memory are written to. What has no memory drops what it is given, and says so.

use std::collections::VecDeque;
use std::io::{BufRead, Cursor, Empty, Repeat};

use crate::{Downstream, Sink, Source, Upstream};

impl Source for &[u8] {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::spent()
    }
    fn buffered(&self) -> &[u8] {
        self
    }
    fn consume_buffered(&mut self, n: usize) {
        self.consume(n);
    }
}

impl<T: AsRef<[u8]>> Source for Cursor<T> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::spent()
    }
    fn buffered(&self) -> &[u8] {
        let all = self.get_ref().as_ref();
        let at = usize::try_from(self.position()).map_or(all.len(), |at| at.min(all.len()));
        &all[at..]
    }
    fn consume_buffered(&mut self, n: usize) {
        self.consume(n);
    }
}

impl Source for VecDeque<u8> {
    fn upstream(&mut self) -> Upstream<'_> {
        // Two runs of bytes, which `buffered` can only show one at a time.
        Upstream::opaque()
    }
}

impl Source for Empty {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::spent()
    }
}

impl Source for Repeat {}

impl Sink for Vec<u8> {}
impl Sink for VecDeque<u8> {}
impl Sink for &mut [u8] {}
impl Sink for Cursor<Vec<u8>> {}
impl Sink for Cursor<&mut Vec<u8>> {}
impl Sink for Cursor<&mut [u8]> {}
impl Sink for Cursor<Box<[u8]>> {}
impl<const N: usize> Sink for Cursor<[u8; N]> {}

macro_rules! nowhere {
    ($($ty:ty;)*) => {$(
        impl Sink for $ty {
            #[inline]
            fn downstream(&mut self) -> Downstream<'_> {
                Downstream::nowhere()
            }
        }
    )*};
}

nowhere! {
    Empty;
    &Empty;
    std::io::Sink;
    &std::io::Sink;
}
