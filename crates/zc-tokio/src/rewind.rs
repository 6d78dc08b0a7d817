//! A stream of which some bytes have been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ends::ready_as_inner;
use crate::{Downstream, ReadReady, Sink, Source, Upstream, WriteReady};

/// A stream with bytes that were read ahead in front of it: they come first, and then those of the stream, which the
/// kernel still moves.
///
/// Such bytes are a PROXY protocol header to be sent on, a ClientHello that was read for its server name, what
/// hyper's `Upgraded::downcast` returns as its `read_buf`.
///
/// ```no_run
/// use tokio::io::AsyncReadExt;
/// use tokio::net::TcpStream;
/// use zc_tokio::{Relay, Rewind};
///
/// # async fn f(mut client: TcpStream, mut server: TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let mut peeked = vec![0; 16];
/// let n = client.read(&mut peeked).await?; // … choose the server by it
/// peeked.truncate(n);
/// Relay::new().run(&mut Rewind::new(peeked, client), &mut server).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Rewind<T> {
    ahead: Vec<u8>,
    at: usize,
    inner: T,
}

impl<T> Rewind<T> {
    /// `inner`, with `ahead` to be read first.
    pub fn new(ahead: impl Into<Vec<u8>>, inner: T) -> Self {
        Rewind { ahead: ahead.into(), at: 0, inner }
    }

    /// What is still to be read before the stream's own bytes.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead[self.at..]
    }

    /// The stream.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream, mutably. What is read from it skips the bytes ahead of it.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The bytes that are still ahead, and the stream.
    pub fn into_parts(mut self) -> (Vec<u8>, T) {
        (self.ahead.split_off(self.at), self.inner)
    }

    fn passed(&mut self, n: usize) {
        self.at += n;
        if self.at == self.ahead.len() {
            (self.ahead, self.at) = (Vec::new(), 0);
        }
    }
}

impl<Io, T: Source<Io>> Source<Io> for Rewind<T> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        Upstream::through(&mut self.inner)
    }
    fn buffered(&self) -> &[u8] {
        self.ahead()
    }
    fn consume_buffered(&mut self, n: usize) {
        self.passed(n);
    }
}

impl<Io, T: Sink<Io>> Sink<Io> for Rewind<T> {
    fn downstream(&mut self) -> Downstream<'_, Io> {
        Downstream::through(&mut self.inner)
    }
}

ready_as_inner! {
    ReadReady::read_ready, settle_source: [] Rewind;
    WriteReady::write_ready, settle_sink: [] Rewind;
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead().is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let n = self.ahead().len().min(buf.remaining());
        buf.put_slice(&self.ahead()[..n]);
        self.passed(n);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
