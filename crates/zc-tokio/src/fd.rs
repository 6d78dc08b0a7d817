//! Any descriptor.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use zc_core::{IsStream, PollFd, Side};
use zc_linux::Kind;

use crate::registered::Any;
use crate::{Downstream, ReadReady, Registered, Sink, Source, TokioIo, Upstream, WriteReady};

/// Any descriptor in non-blocking mode as a source and sink: an `AsyncFd` over an `OwnedFd` from elsewhere, a
/// serial line, a socket of another crate.
///
/// Shut down, a connection is shut down for writing, as tokio's own are: a relay passes the end of input on. With any
/// other descriptor that does nothing: drop it to close it. Over a socket that keeps message boundaries each read is one
/// message, and each write is one. Of a message of more than 256 KiB that much is taken, and then the copy fails with
/// `EMSGSIZE`.
///
/// ```
/// use tokio::io::unix::AsyncFd;
/// use zc_tokio::Fd;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use std::io::Write;
/// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// theirs.write_all(b"from elsewhere")?;
/// drop(theirs);
///
/// ours.set_nonblocking(true)?;
/// // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
/// let mut source = Fd::new(unsafe { AsyncFd::register(ours)? })?;
/// let mut out = Vec::new();
/// assert_eq!(zc_tokio::copy(&mut source, &mut out).await?, 14);
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A child's standard streams need no `Fd`. tokio's are sources and sinks with the feature `process`; std's become
/// pipes by `net::unix::pipe`'s `Receiver::from_owned_fd` and `Sender::from_owned_fd`.
#[derive(Debug)]
pub struct Fd<T: AsRawFd> {
    fd: AsyncFd<T>,
    kind: Kind,
}

impl<T: AsFd + AsRawFd> Fd<T> {
    /// Asks the kernel what kind of descriptor it is. What its owner has read ahead is not seen.
    ///
    /// # Errors
    ///
    /// Those of statx(2) and getsockopt(2).
    pub fn new(fd: AsyncFd<T>) -> io::Result<Self> {
        let kind = Kind::of(fd.get_ref().as_fd())?;
        Ok(Fd { fd, kind })
    }

    /// The descriptor, and its readiness.
    pub fn get_ref(&self) -> &AsyncFd<T> {
        &self.fd
    }

    /// The descriptor, by value.
    pub fn into_inner(self) -> AsyncFd<T> {
        self.fd
    }

    /// What stands behind the descriptor.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl<T: AsFd + AsRawFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl<T: AsFd + AsRawFd> IsStream for Fd<T> {
    fn is_stream(&self) -> bool {
        self.kind != Kind::Messages
    }
    fn is_socket(&self) -> bool {
        self.kind.is_socket()
    }
    fn is_tcp(&self) -> bool {
        self.kind == Kind::Tcp
    }
}

impl<'a> Registered<'a> {
    /// Any other descriptor.
    pub fn fd<T: AsFd + AsRawFd + Send + Sync>(fd: &'a Fd<T>) -> Self {
        Registered::any(fd)
    }
}

impl<T: AsFd + AsRawFd + Send + Sync> Any for Fd<T> {
    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::of(self)
    }
    fn kind(&self) -> Kind {
        self.kind
    }
    fn poll_ready(&self, as_what: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _guard = match as_what {
            Side::Source => ready!(self.get_ref().poll_read_ready(cx))?,
            Side::Sink => ready!(self.get_ref().poll_write_ready(cx))?,
        };
        Poll::Ready(Ok(()))
    }
    fn try_io(
        &self,
        interest: Interest,
        call: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        self.get_ref().try_io(interest, |_| call())
    }
    fn is_failing(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.get_ref().ready(Interest::ERROR).await.is_ok() })
    }
}

impl<T: AsFd + AsRawFd> Source<TokioIo> for Fd<T> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::fd(PollFd::of(&*self))
    }
}

impl<T: AsFd + AsRawFd> Sink<TokioIo> for Fd<T> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::fd(PollFd::of(&*self))
    }
}

impl<T: AsFd + AsRawFd + Send + Sync> ReadReady for Fd<T> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::fd(self).matching(fd)
    }
}

impl<T: AsFd + AsRawFd + Send + Sync> WriteReady for Fd<T> {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::fd(self).matching(fd)
    }
}

impl<T: AsFd + AsRawFd + Unpin> AsyncRead for Fd<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            let read = ready
                .try_io(|fd| zc_linux::fd::read(fd.get_ref().as_fd(), buf.initialize_unfilled()));
            if let Ok(read) = read {
                return Poll::Ready(read.map(|n| buf.advance(n)));
            }
        }
    }
}

impl<T: AsFd + AsRawFd + Unpin> AsyncWrite for Fd<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_write_ready(cx))?;
            if let Ok(wrote) = ready.try_io(|fd| zc_linux::fd::write(fd.get_ref().as_fd(), buf)) {
                return Poll::Ready(wrote);
            }
        }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.kind.is_stream_socket() {
            true => shutdown(self.as_fd(), Shutdown::Write).map_err(io::Error::from),
            false => Ok(()),
        })
    }
}
