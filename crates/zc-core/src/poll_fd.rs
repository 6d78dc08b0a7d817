//! A descriptor that the kernel may use in place of its owner's `Read` and `Write`.
//!
//! The word is Go's: its `internal/poll` package wraps a descriptor as a `poll.FD`, which knows whether it
//! is a stream.

use std::os::fd::{AsFd, BorrowedFd};

/// A type whose descriptor is a byte stream: bytes may be cut and joined anywhere.
///
/// Datagram and sequenced-packet sockets keep message boundaries. splice(2) would run their
/// messages together, so they do not implement this trait and never reach splice. A type that only
/// learns at run time what its descriptor is overrides [`is_stream`](IsStream::is_stream).
///
/// Implementing it is a promise about the descriptor that [`AsFd`] yields, and makes the type
/// [`AsRawPollFd`].
///
/// ```
/// use std::fs::File;
/// use std::os::fd::{AsFd, BorrowedFd};
/// use zc_core::{IsStream, PollFd};
///
/// /// A serial line.
/// struct Line(File);
///
/// impl AsFd for Line {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
/// impl IsStream for Line {}
///
/// let line = Line(File::open("/dev/null")?);
/// assert!(PollFd::of(&line).is_stream());
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the descriptor of `{Self}` is not known to be a byte stream, so it must not be spliced",
    label = "keeps message boundaries, or has not opted in with `IsStream`",
    note = "datagram sockets (`UdpSocket`, `UnixDatagram`) never are: wrap them in `zc_std::Fd`, which reads and writes whole messages",
    note = "a wrapper has no descriptor to hand out, only what it wraps: `Upstream::through(&mut self.inner)`, `Downstream::through(&mut self.inner)`"
)]
pub trait IsStream: AsFd {
    /// Whether the descriptor is a byte stream. `true` unless overridden.
    #[inline]
    fn is_stream(&self) -> bool {
        true
    }

    /// Whether the descriptor is known to be a socket, so that a copy need not ask. It then calls
    /// recv(2) and send(2) in place of read(2) and write(2). On a socket they do the same and cost
    /// less, which shows in copies of a few bytes.
    ///
    /// `false`, the default, is always safe. Return `true` only for a socket: for a file it disables the
    /// check against copying it into itself.
    #[inline]
    fn is_socket(&self) -> bool {
        false
    }

    /// Whether the descriptor is taken for a TCP connection, as one of `std::net` is: bytes that are to be
    /// dropped are then not copied, from the first one on. A wrong answer does no harm.
    #[inline]
    fn is_tcp(&self) -> bool {
        false
    }
}

impl<T: IsStream + ?Sized> IsStream for &T {
    #[inline]
    fn is_stream(&self) -> bool {
        (**self).is_stream()
    }
    #[inline]
    fn is_socket(&self) -> bool {
        (**self).is_socket()
    }
    #[inline]
    fn is_tcp(&self) -> bool {
        (**self).is_tcp()
    }
}

/// A borrowed descriptor, and whether it is a byte stream.
///
/// It cannot outlive the owner of the descriptor (I/O safety). To make one is to say whether the descriptor is a
/// stream:
///
/// ```
/// use zc_core::PollFd;
///
/// let (a, _b) = std::os::unix::net::UnixStream::pair()?;
/// assert!(PollFd::of(&a).is_stream());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PollFd<'fd> {
    fd: BorrowedFd<'fd>,
    is_stream: bool,
    is_socket: bool,
    is_tcp: bool,
}

impl<'fd> PollFd<'fd> {
    /// The descriptor of `owner`.
    #[inline]
    pub fn of<T: IsStream + ?Sized>(owner: &'fd T) -> Self {
        PollFd {
            fd: owner.as_fd(),
            is_stream: owner.is_stream(),
            is_socket: owner.is_socket(),
            is_tcp: owner.is_tcp(),
        }
    }

    /// A descriptor that is a byte stream, whose owner is another crate's type and cannot say so itself.
    ///
    /// The caller makes the promise of [`IsStream`].
    #[inline]
    pub fn stream(fd: BorrowedFd<'fd>) -> Self {
        PollFd { fd, is_stream: true, is_socket: false, is_tcp: false }
    }

    /// The same for a stream socket, see [`IsStream::is_socket`].
    #[inline]
    pub fn socket(fd: BorrowedFd<'fd>) -> Self {
        PollFd { fd, is_stream: true, is_socket: true, is_tcp: false }
    }

    /// The same for a socket that keeps the boundaries of messages: it is read a message at a time, and never spliced.
    #[inline]
    pub fn messages(fd: BorrowedFd<'fd>) -> Self {
        PollFd { fd, is_stream: false, is_socket: true, is_tcp: false }
    }

    /// Whether bytes may be cut and joined anywhere; when not, one read is one message.
    #[inline]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Whether the owner knows it to be a socket; when not, it may be one all the same.
    #[inline]
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// Whether the owner takes it for a socket that speaks TCP; it may be another all the same.
    #[inline]
    pub fn is_tcp(&self) -> bool {
        self.is_socket && self.is_tcp
    }

    /// The descriptor, for as long as its owner is borrowed.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }
}

impl AsFd for PollFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// A type with a descriptor that the kernel may use in place of its `Read` and `Write`.
///
/// Every [`IsStream`] type has it. A type that merely owns such a type can pass it on:
///
/// ```
/// use std::net::TcpStream;
/// use zc_core::{AsRawPollFd, PollFd};
///
/// struct Connection {
///     stream: TcpStream,
/// }
///
/// impl AsRawPollFd for Connection {
///     fn as_raw_poll_fd(&self) -> PollFd<'_> {
///         self.stream.as_raw_poll_fd()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no descriptor that the kernel may use in its place",
    note = "implement `IsStream` for a type with a byte-stream descriptor of its own"
)]
pub trait AsRawPollFd {
    /// The descriptor, borrowed from `self`.
    fn as_raw_poll_fd(&self) -> PollFd<'_>;
}

impl<T: IsStream + ?Sized> AsRawPollFd for T {
    #[inline]
    fn as_raw_poll_fd(&self) -> PollFd<'_> {
        PollFd::of(self)
    }
}
