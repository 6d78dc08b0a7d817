//! Sources and sinks in memory. A source in memory is a buffer with nothing behind it; a sink is written to.

use std::io::{BufRead, Cursor};

use tokio::io::{DuplexStream, Empty, ReadHalf, Repeat, SimplexStream, WriteHalf};

use super::{opaque_sink, opaque_source};
use crate::{ReadReady, Source, TokioIo, Upstream};

impl Source<TokioIo> for &[u8] {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::spent()
    }
    fn buffered(&self) -> &[u8] {
        self
    }
    fn consume_buffered(&mut self, n: usize) {
        self.consume(n);
    }
}

impl<T: AsRef<[u8]> + Unpin> Source<TokioIo> for Cursor<T> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
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

impl Source<TokioIo> for Empty {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::spent()
    }
}

impl ReadReady for &[u8] {}
impl<T> ReadReady for Cursor<T> {}
impl ReadReady for Empty {}

opaque_source! {
    Repeat;
    DuplexStream;
    SimplexStream;
    // The other half may have the whole at this moment.
    @[T] ReadHalf<T>;
}

opaque_sink! {
    Vec<u8>;
    Cursor<Vec<u8>>;
    Cursor<&mut Vec<u8>>;
    Cursor<&mut [u8]>;
    Cursor<Box<[u8]>>;
    Empty;
    tokio::io::Sink;
    DuplexStream;
    SimplexStream;
    @[T] WriteHalf<T>;
}
