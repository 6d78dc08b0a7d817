//! The two ends of a copy, as std's own types.

use std::fs::File;
use std::io::{self, Seek};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// One end of a copy.
#[derive(Debug)]
pub enum End {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// A regular file, a FIFO, or a device.
    File(File),
    /// Nowhere. It has no descriptor, and is only copied into.
    Sink(io::Sink),
}

impl End {
    /// Sets non-blocking mode, if it is a socket. Files have no such mode.
    ///
    /// # Errors
    ///
    /// Those of ioctl(2).
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            End::Tcp(stream) => stream.set_nonblocking(true),
            End::Unix(stream) => stream.set_nonblocking(true),
            End::File(_) | End::Sink(_) => Ok(()),
        }
    }

    /// Goes back to the start, if it is a file.
    ///
    /// # Errors
    ///
    /// Those of lseek(2).
    pub fn rewind(&mut self) -> io::Result<()> {
        match self {
            End::File(file) => match file.rewind() {
                // A FIFO has no start.
                Err(error) if error.kind() == io::ErrorKind::NotSeekable => Ok(()),
                answer => answer,
            },
            _ => Ok(()),
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Tcp(stream) => stream.as_fd(),
            End::Unix(stream) => stream.as_fd(),
            End::File(file) => file.as_fd(),
            End::Sink(_) => unreachable!("the loops that can do this cell ask for none"),
        }
    }
}

/// Evaluates an expression with both ends as their own types, so that subjects and std's specialisations see these.
macro_rules! with_ends {
    ($from:expr, $to:expr, |$f:ident, $t:ident| $body:expr) => {{
        use $crate::ends::End;
        match ($from, $to) {
            (End::Tcp($f), End::Tcp($t)) => $body,
            (End::Tcp($f), End::Unix($t)) => $body,
            (End::Tcp($f), End::File($t)) => $body,
            (End::Tcp($f), End::Sink($t)) => $body,
            (End::Unix($f), End::Tcp($t)) => $body,
            (End::Unix($f), End::Unix($t)) => $body,
            (End::Unix($f), End::File($t)) => $body,
            (End::File($f), End::Tcp($t)) => $body,
            (End::File($f), End::Unix($t)) => $body,
            (End::File($f), End::File($t)) => $body,
            (from, to) => unreachable!("no cell is from {from:?} to {to:?}"),
        }
    }};
}
pub(crate) use with_ends;
