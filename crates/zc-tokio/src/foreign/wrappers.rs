//! Tokio's wrappers: limits, chains and buffers.

use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncBufRead, AsyncRead, AsyncWrite, BufReader, BufStream, BufWriter, Chain, Join, Take,
};

use super::opaque_source;
use crate::ends::ready_as_inner;
use crate::{
    Downstream, ReadReady, Registered, Settling, Sink, Source, TokioIo, Upstream, WriteReady,
};

ready_as_inner! {
    ReadReady::read_ready, settle_source: [AsyncRead] Take;
    ReadReady::read_ready, settle_source: [AsyncRead] BufReader;
    WriteReady::write_ready, settle_sink: [AsyncRead] BufReader;
    ReadReady::read_ready, settle_source: [AsyncWrite] BufWriter;
    WriteReady::write_ready, settle_sink: [AsyncWrite] BufWriter;
    WriteReady::write_ready, settle_sink: [AsyncRead AsyncWrite] BufStream;
}

impl<S: AsyncRead + Source<TokioIo>> Source<TokioIo> for Take<S> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        let limit = self.limit();
        Upstream::through(self.get_mut()).limit(limit)
    }
    fn taken(&mut self, n: u64) {
        self.set_limit(self.limit().saturating_sub(n));
    }
}

impl<A: AsyncRead + Source<TokioIo>, B: AsyncRead + Source<TokioIo>> Source<TokioIo>
    for Chain<A, B>
{
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        let (first, second) = self.get_mut();
        Upstream::then(first, second)
    }
}

impl<A: AsyncRead + ReadReady, B: AsyncRead + ReadReady> ReadReady for Chain<A, B> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        let (first, second) = self.get_ref();
        first.read_ready(fd).or_else(|| second.read_ready(fd))
    }
}

impl<S: AsyncRead + Source<TokioIo> + Unpin> Source<TokioIo> for BufReader<S> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::through(self.get_mut())
    }
    fn buffered(&self) -> &[u8] {
        self.buffer()
    }
    fn consume_buffered(&mut self, n: usize) {
        Pin::new(self).consume(n);
    }
}

impl<W: AsyncRead + Sink<TokioIo>> Sink<TokioIo> for BufReader<W> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(self.get_mut())
    }
}

impl<S: AsyncWrite + Source<TokioIo>> Source<TokioIo> for BufWriter<S> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::through(self.get_mut())
    }
}

impl<W: AsyncWrite + Sink<TokioIo>> Sink<TokioIo> for BufWriter<W> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(self.get_mut()).flush_first()
    }
}

// What it has read ahead, it shows only to its own `poll_read`.
opaque_source! {
    @[T] BufStream<T>;
}

impl<W: AsyncRead + AsyncWrite + Sink<TokioIo>> Sink<TokioIo> for BufStream<W> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(self.get_mut()).flush_first()
    }
}

impl<R: AsyncRead + Source<TokioIo>, W: AsyncWrite> Source<TokioIo> for Join<R, W> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::through(self.reader_mut())
    }
}

impl<R: AsyncRead + ReadReady, W: AsyncWrite> ReadReady for Join<R, W> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.reader().read_ready(fd)
    }
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.reader_mut().settle_source(cx, settling)
    }
}

impl<R: AsyncRead, W: AsyncWrite + Sink<TokioIo>> Sink<TokioIo> for Join<R, W> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(self.writer_mut())
    }
}

impl<R: AsyncRead, W: AsyncWrite + WriteReady> WriteReady for Join<R, W> {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.writer().write_ready(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.writer_mut().settle_sink(cx, settling)
    }
}
