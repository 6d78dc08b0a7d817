//! What kind of thing a descriptor is.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketType};

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A TCP connection.
    Tcp,
    /// Another stream socket: a Unix one, as a rule.
    StreamSocket,
    /// A pipe or FIFO.
    Pipe,
    /// A socket that keeps message boundaries.
    Messages,
    /// Anything else: a tty, another device, a directory.
    Other,
}

impl Kind {
    /// Asks the kernel what `fd` is.
    ///
    /// # Errors
    ///
    /// Those of fstat(2), getsockopt(2) and getsockname(2).
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Kind> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Fifo => Kind::Pipe,
            FileType::Socket if rustix::net::sockopt::socket_type(fd)? != SocketType::STREAM => {
                Kind::Messages
            }
            FileType::Socket => match rustix::net::getsockname(fd)?.address_family() {
                AddressFamily::INET | AddressFamily::INET6 => Kind::Tcp,
                _ => Kind::StreamSocket,
            },
            _ => Kind::Other,
        })
    }

    /// Whether it is a socket.
    pub fn is_socket(self) -> bool {
        matches!(self, Kind::Tcp | Kind::StreamSocket | Kind::Messages)
    }
}
