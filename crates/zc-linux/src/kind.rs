//! What a descriptor is, as far as the choice of a mechanism goes.

// `inline(always)` here: see `fast`.

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::io::Errno;
use zc_core::PollFd;

use crate::sys::{self, Identity, Protocol, Stat};

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file. Reading and writing it can block on its disk, and poll(2) never says so.
    File,
    /// A TCP connection.
    Tcp,
    /// A Multipath TCP connection.
    Mptcp,
    /// Another stream socket: a Unix one, as a rule.
    StreamSocket,
    /// A pipe or FIFO.
    Pipe,
    /// The null device, which drops spliced pages without looking at them.
    Null,
    /// A socket that keeps message boundaries, or is not known to be a byte stream.
    Messages,
    /// Anything else: a tty, another device, a directory.
    Other,
}

impl Kind {
    /// Asks the kernel what `fd` is: one statx(2), and for a socket one or two getsockopt(2) more. Blocks as
    /// statx(2) does, which is not at all on local file systems, on sockets and on pipes.
    ///
    /// # Errors
    ///
    /// `EBADF` and the like, from these calls.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixDatagram;
    /// use zc_linux::Kind;
    ///
    /// assert_eq!(Kind::of(UnixDatagram::unbound()?.as_fd())?, Kind::Messages);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of(fd: BorrowedFd<'_>) -> std::io::Result<Kind> {
        Ok(of_stat(fd, &sys::stat(fd)?)?)
    }

    /// Whether it is a socket.
    pub fn is_socket(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Mptcp | Kind::StreamSocket | Kind::Messages)
    }

    /// Whether it is a socket, and a byte stream: a connection, which has an end, and which an error ends. (A socket
    /// that keeps messages goes on.)
    pub fn is_stream_socket(self) -> bool {
        self.is_socket() && self != Kind::Messages
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::File => "regular file",
            Kind::Tcp => "TCP socket",
            Kind::Mptcp => "MPTCP socket",
            Kind::StreamSocket => "stream socket",
            Kind::Pipe => "pipe",
            Kind::Null => "null device",
            Kind::Messages => "socket of messages",
            Kind::Other => "neither file, socket nor pipe",
        })
    }
}

/// What a descriptor is, and which file, if it is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) kind: Kind,
    /// Device and inode, for files.
    pub(crate) identity: Identity,
    /// Length in bytes, for files.
    pub(crate) len: u64,
    /// Whether it is worth asking if its file system is known to share no blocks.
    pub(crate) may_share_none: bool,
}

impl Nature {
    /// Asks the kernel, except what the owner knows. A socket is always asked what it speaks: std's types
    /// can be made from any descriptor, and messages must never be spliced. If the kernel will not say,
    /// read/write gets the descriptor: its error is the one worth reporting.
    #[inline(always)]
    pub(crate) fn of(fd: PollFd<'_>) -> Nature {
        let only = |kind| Nature { kind, ..Nature::unasked() };
        if !fd.is_stream() {
            return only(Kind::Messages);
        }
        if fd.is_socket() {
            return only(of_socket(fd.fd()).unwrap_or(Kind::Other));
        }
        let Ok(stat) = sys::stat(fd.fd()) else { return only(Kind::Other) };
        let kind = of_stat(fd.fd(), &stat).unwrap_or(Kind::Other);
        let Stat { identity, len, may_share_none, .. } = stat;
        Nature { kind, identity, len, may_share_none }
    }

    /// As [`of`](Nature::of), for the sink of a file: it does not matter what a stream socket speaks.
    #[inline(always)]
    pub(crate) fn of_sink_of_a_file(fd: PollFd<'_>) -> Nature {
        if !fd.is_stream() || !fd.is_socket() {
            return Nature::of(fd);
        }
        let is_stream = sys::is_stream(fd.fd()) == Ok(true);
        let kind = if is_stream { Kind::StreamSocket } else { Kind::Messages };
        Nature { kind, ..Nature::unasked() }
    }

    /// For a descriptor whose kind does not matter.
    pub(crate) fn unasked() -> Nature {
        Nature { kind: Kind::Other, identity: ((0, 0), 0), len: 0, may_share_none: false }
    }

    /// Whether both are one file.
    pub(crate) fn is_same_file(&self, other: &Nature) -> bool {
        (self.kind, other.kind) == (Kind::File, Kind::File) && self.identity == other.identity
    }
}

/// Whether the owner knows it to be a stream socket. Only there does a short read say that there is no more.
#[inline(always)]
pub(crate) fn is_stream_socket(fd: PollFd<'_>) -> bool {
    fd.is_socket() && fd.is_stream()
}

/// Whether it is a socket that is known to keep the boundaries of messages.
#[inline(always)]
pub(crate) fn is_message_socket(fd: PollFd<'_>) -> bool {
    fd.is_socket() && !fd.is_stream()
}

fn of_stat(fd: BorrowedFd<'_>, stat: &Stat) -> Result<Kind, Errno> {
    Ok(match stat.kind {
        FileType::RegularFile => Kind::File,
        FileType::Socket => of_socket(fd)?,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice if stat.device == (1, 3) => Kind::Null,
        _ => Kind::Other,
    })
}

fn of_socket(fd: BorrowedFd<'_>) -> Result<Kind, Errno> {
    Ok(match sys::protocol(fd)? {
        Protocol::Tcp => Kind::Tcp,
        Protocol::Mptcp => Kind::Mptcp,
        Protocol::OtherStream => Kind::StreamSocket,
        Protocol::Messages => Kind::Messages,
    })
}
