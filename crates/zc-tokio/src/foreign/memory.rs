//! Sources and sinks in memory. A source in memory is a buffer with nothing behind it; a sink is written to, unless
//! it keeps nothing.

use std::io::{BufRead, Cursor};

use tokio::io::{DuplexStream, Empty, ReadHalf, Repeat, SimplexStream, WriteHalf};

use super::{opaque_sink, opaque_source};
use crate::{Downstream, ReadReady, Sink, Source, TokioIo, Upstream, WriteReady};

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
    DuplexStream;
    SimplexStream;
    @[T] WriteHalf<T>;
}

macro_rules! nowhere {
    ($($ty:ty;)*) => {$(
        impl Sink<TokioIo> for $ty {
            fn downstream(&mut self) -> Downstream<'_, TokioIo> {
                Downstream::nowhere()
            }
        }
        impl WriteReady for $ty {}
    )*};
}

nowhere! {
    Empty;
    tokio::io::Sink;
}
