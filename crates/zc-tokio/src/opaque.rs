//! Types that have not opted in.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{ReadReady, Sink, Source, TokioIo, WriteReady};

/// Lets any `AsyncRead` or `AsyncWrite` take part in a copy, a TLS stream for example: always correct, never
/// by the kernel alone.
///
/// It is flushed whenever the other end has nothing for it.
///
/// ```
/// use zc_tokio::Opaque;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (theirs, ours) = tokio::io::duplex(64);
/// tokio::io::AsyncWriteExt::write_all(&mut Opaque(theirs), b"hello").await?;
/// let mut out = Vec::new();
/// assert_eq!(zc_tokio::copy(&mut Opaque(ours), &mut out).await?, 5);
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Opaque<T>(pub T);

impl<T: AsyncRead> Source<TokioIo> for Opaque<T> {}
impl<T> ReadReady for Opaque<T> {}
impl<T: AsyncWrite> Sink<TokioIo> for Opaque<T> {}
impl<T> WriteReady for Opaque<T> {}

impl<T: AsyncRead + Unpin> AsyncRead for Opaque<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncBufRead + Unpin> AsyncBufRead for Opaque<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }
    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Pin::new(&mut self.0).consume(n);
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opaque<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
