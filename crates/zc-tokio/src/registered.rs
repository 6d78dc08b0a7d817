//! A descriptor that tokio's reactor watches.
//!
//! Tokio remembers readiness until it is told of a WouldBlock. An edge that comes between the call and the
//! telling must not be cleared with the old one. So each step runs inside `try_io`, which notes the last edge
//! before the call, and clears that one only.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};
use zc_core::{PollFd, Side};
use zc_linux::Kind;

/// A descriptor that tokio's reactor watches: what a copy waits for.
#[derive(Clone, Copy)]
pub struct Registered<'a>(Of<'a>);

#[derive(Clone, Copy)]
enum Of<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
    Receiver(&'a pipe::Receiver),
    Sender(&'a pipe::Sender),
    Any(&'a (dyn Any + Send + Sync)),
    /// Only its owner's `poll_` methods wait for it.
    Hidden(PollFd<'a>),
    /// No task waits for it: other threads make its calls.
    #[cfg(feature = "fs")]
    File(PollFd<'a>),
}

impl<'a> Registered<'a> {
    /// A TCP stream.
    pub fn tcp(stream: &'a TcpStream) -> Self {
        Registered(Of::Tcp(stream))
    }

    /// A Unix stream.
    pub fn unix(stream: &'a UnixStream) -> Self {
        Registered(Of::Unix(stream))
    }

    /// The read end of a pipe.
    pub fn receiver(pipe: &'a pipe::Receiver) -> Self {
        Registered(Of::Receiver(pipe))
    }

    /// The write end of a pipe.
    pub fn sender(pipe: &'a pipe::Sender) -> Self {
        Registered(Of::Sender(pipe))
    }

    pub(crate) fn any(fd: &'a (dyn Any + Send + Sync)) -> Self {
        Registered(Of::Any(fd))
    }

    /// A descriptor in non-blocking mode whose owner hides how it is waited for, as tokio's `ChildStdout` does. A
    /// copy moves bytes past the owner. Where there are none, or no room, it calls the owner's own `poll_read` or
    /// `poll_write`, which waits.
    pub fn hidden(fd: PollFd<'a>) -> Self {
        Registered(Of::Hidden(fd))
    }

    /// A file: tokio's, std's, or another crate's. A thread of the runtime's blocking pool makes its calls.
    #[cfg(feature = "fs")]
    pub fn file(file: &'a impl AsFd) -> Self {
        Registered(Of::File(PollFd::stream(file.as_fd())))
    }

    /// Whether it is a file: its calls may wait for the disk, and readiness never says so.
    pub(crate) fn is_file(self) -> bool {
        #[cfg(feature = "fs")]
        return matches!(self.0, Of::File(_));
        #[cfg(not(feature = "fs"))]
        false
    }

    /// Whether only its owner's `poll_` methods wait for it.
    pub(crate) fn is_hidden(self) -> bool {
        matches!(self.0, Of::Hidden(_))
    }

    /// Whether it is a TCP connection, as far as is known: one that can be reset.
    pub(crate) fn is_tcp(self) -> bool {
        match self.0 {
            Of::Tcp(_) => true,
            Of::Any(fd) => matches!(fd.kind(), Kind::Tcp | Kind::Mptcp),
            _ => false,
        }
    }

    /// Itself, if its descriptor is `fd`: what a type with a descriptor answers to
    /// [`ReadReady::read_ready`](crate::ReadReady::read_ready).
    pub fn matching(self, fd: RawFd) -> Option<Self> {
        (self.poll_fd().fd().as_raw_fd() == fd).then_some(self)
    }

    /// The descriptor.
    pub(crate) fn poll_fd(self) -> PollFd<'a> {
        match self.0 {
            Of::Tcp(stream) => PollFd::socket(stream.as_fd()),
            Of::Unix(stream) => PollFd::socket(stream.as_fd()),
            Of::Receiver(pipe) => PollFd::stream(pipe.as_fd()),
            Of::Sender(pipe) => PollFd::stream(pipe.as_fd()),
            Of::Any(fd) => fd.poll_fd(),
            Of::Hidden(fd) => fd,
            #[cfg(feature = "fs")]
            Of::File(fd) => fd,
        }
    }

    /// Whether it can be read (for a source) or written to (for a sink), as far as is known. Otherwise the task
    /// is woken once it can.
    pub(crate) fn poll_ready(self, as_what: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self.0, as_what) {
            (Of::Tcp(stream), Side::Source) => stream.poll_read_ready(cx),
            (Of::Tcp(stream), Side::Sink) => stream.poll_write_ready(cx),
            (Of::Unix(stream), Side::Source) => stream.poll_read_ready(cx),
            (Of::Unix(stream), Side::Sink) => stream.poll_write_ready(cx),
            (Of::Receiver(pipe), Side::Source) => pipe.poll_read_ready(cx),
            (Of::Sender(pipe), Side::Sink) => pipe.poll_write_ready(cx),
            (Of::Any(fd), as_what) => fd.poll_ready(as_what, cx),
            // If the call says "not now", its owner is asked to wait.
            (Of::Hidden(_), _) => Poll::Ready(Ok(())),
            #[cfg(feature = "fs")]
            (Of::File(_), _) => Poll::Ready(Ok(())),
            // Only a type that names a wrong descriptor comes here; the call will fail.
            (Of::Receiver(_), Side::Sink) | (Of::Sender(_), Side::Source) => Poll::Ready(Ok(())),
        }
    }

    /// Calls `call` if it is ready, and forgets the readiness that there was before the call if it returns
    /// `WouldBlock`.
    pub(crate) fn try_io(self, as_what: Side, call: &mut dyn FnMut() -> io::Result<()>) {
        let interest = match as_what {
            Side::Source => Interest::READABLE,
            Side::Sink => Interest::WRITABLE,
        };
        // What it answers, the call has told the caller already.
        let _ = match self.0 {
            Of::Tcp(stream) => stream.try_io(interest, call),
            Of::Unix(stream) => stream.try_io(interest, call),
            Of::Receiver(pipe) => pipe.try_io(call),
            Of::Sender(pipe) => pipe.try_io(call),
            Of::Any(fd) => fd.try_io(interest, call),
            Of::Hidden(_) => call(),
            #[cfg(feature = "fs")]
            Of::File(_) => call(),
        };
    }

    /// Waits until the peer has reset the connection, whether or not there is something to read or room to
    /// write, and returns the error.
    pub(crate) async fn failed(self) -> io::Error {
        loop {
            let is_watched = match self.0 {
                Of::Tcp(stream) => stream.ready(Interest::ERROR).await.is_ok(),
                Of::Unix(stream) => stream.ready(Interest::ERROR).await.is_ok(),
                Of::Any(fd) if fd.kind().is_stream_socket() => fd.is_failing().await,
                // A pipe whose other end is closed can be read, or written to, at once.
                _ => false,
            };
            // Its runtime may be gone, which the direction that needs it next reports.
            if !is_watched {
                return std::future::pending().await;
            }
            if let Some(error) = self.error() {
                return error;
            }
        }
    }

    /// The error of a connection that has one. Otherwise the readiness that there was before it was asked is
    /// forgotten: a message in the socket's error queue, for example.
    fn error(self) -> Option<io::Error> {
        let mut found = None;
        let mut ask = || {
            found = zc_linux::fd::take_error(self.poll_fd().fd()).unwrap_or_else(Some);
            if found.is_none() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        let _ = match self.0 {
            Of::Tcp(stream) => stream.try_io(Interest::ERROR, ask),
            Of::Unix(stream) => stream.try_io(Interest::ERROR, ask),
            Of::Any(fd) => fd.try_io(Interest::ERROR, &mut ask),
            _ => ask(),
        };
        found
    }
}

impl fmt::Debug for Registered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&self.poll_fd().fd()).finish()
    }
}

/// An [`Fd`](crate::Fd) of any owner.
pub(crate) trait Any {
    fn poll_fd(&self) -> PollFd<'_>;
    fn kind(&self) -> Kind;
    fn poll_ready(&self, as_what: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_io(
        &self,
        interest: Interest,
        call: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()>;
    /// Waits until there may be an error. `false`: its runtime is gone.
    fn is_failing(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// A TCP stream that calls itself readable only once many bytes have come: for the length of one wait.
#[derive(Debug)]
pub(crate) struct LowWater<'a> {
    end: Registered<'a>,
    before: u32,
}

impl<'a> LowWater<'a> {
    /// Sets SO_RCVLOWAT. `None`: it is no TCP stream, or its owner has set it higher.
    pub(crate) fn raise(end: Option<Registered<'a>>, bytes: u64) -> Option<Self> {
        let end = end.filter(|end| matches!(end.0, Of::Tcp(_)))?;
        let (fd, bytes) = (end.poll_fd().fd(), u32::try_from(bytes).ok()?);
        let before = zc_linux::fd::low_water(fd).ok().filter(|before| *before < bytes)?;
        zc_linux::fd::set_low_water(fd, bytes).ok()?;
        Some(LowWater { end, before })
    }
}

/// Also if the waiting future is dropped: its owner must be woken by a single byte. (The kernel wakes it for
/// bytes that are there by then.)
impl Drop for LowWater<'_> {
    fn drop(&mut self) {
        let set = || zc_linux::fd::set_low_water(self.end.poll_fd().fd(), self.before);
        // Only a hook can make it fail.
        let _is_set = (0..16).any(|_| set().is_ok());
    }
}

/// Waits for one wake-up of this task.
pub(crate) async fn wait_to_be_woken() {
    let mut has_slept = false;
    std::future::poll_fn(move |_| match std::mem::replace(&mut has_slept, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Waits for either of two ends to be reset, or for one wake-up of this task for another reason. `true`: the
/// first has been; with the error.
pub(crate) async fn wait_for_reset(
    first: Option<Registered<'_>>,
    second: Option<Registered<'_>>,
) -> Option<(bool, io::Error)> {
    let mut watches = (std::pin::pin!(watch(first)), std::pin::pin!(watch(second)));
    let mut has_slept = false;
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(error) = watches.0.as_mut().poll(cx) {
            return Poll::Ready(Some((true, error)));
        }
        if let Poll::Ready(error) = watches.1.as_mut().poll(cx) {
            return Poll::Ready(Some((false, error)));
        }
        if std::mem::replace(&mut has_slept, true) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn watch(end: Option<Registered<'_>>) -> io::Error {
    match end {
        Some(end) => end.failed().await,
        None => std::future::pending().await,
    }
}
