//! Any descriptor.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::{AsRawPollFd, Downstream, IsStream, Kind, Sink, Source, Upstream};

/// Any descriptor as a source and sink: an `OwnedFd` from elsewhere, the raw standard input, a
/// datagram socket.
///
/// Reads and writes go straight to the descriptor, and block as it does:
///
/// ```
/// use std::io::{Read, Write};
/// use zc_std::{Fd, ReadFrom};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"from elsewhere")?;
/// drop(writer);
///
/// let owned = std::os::fd::OwnedFd::from(reader);
/// let mut out = Vec::new();
/// assert_eq!(out.read_from(Fd::new(owned)?)?, 14);
/// assert_eq!(out, b"from elsewhere");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Over a socket that keeps message boundaries each read is one message and each write is one
/// message. What does not fit the reader's buffer is lost, as recv(2) says. A copy reads up to 256
/// KiB at a time, or up to its limit if that is less: enough for any UDP datagram, but not for a
/// longer Unix datagram. A message of no bytes looks like the end of input.
///
/// # Standard input
///
/// `std::io::Stdin` reads ahead into a buffer that std hides, so copies from it use read/write. A
/// program that has not read from it yet can use the descriptor instead:
///
/// ```no_run
/// use std::fs::File;
/// use zc_std::{Fd, ReadFrom};
///
/// let stdin = Fd::new(std::io::stdin().lock())?; // the lock keeps other readers out
/// File::create("copy")?.read_from(stdin)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Fd<T> {
    owner: T,
    kind: Kind,
}

impl<T: AsFd> Fd<T> {
    /// Takes the descriptor of `owner`, past whatever `owner` buffers. Asks the kernel what kind it
    /// is, and transfers nothing.
    ///
    /// # Errors
    ///
    /// Those of statx(2), fstat(2) and getsockopt(2), which tell what kind of descriptor it is.
    pub fn new(owner: T) -> io::Result<Self> {
        let kind = Kind::of(owner.as_fd())?;
        Ok(Fd { owner, kind })
    }

    /// The descriptor's owner.
    pub fn get_ref(&self) -> &T {
        &self.owner
    }

    /// The descriptor's owner, mutably: to register it with an event loop, for example. Bytes that it reads
    /// ahead into a buffer of its own are not seen by a copy.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.owner
    }

    /// What stands behind the descriptor.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The descriptor's owner, by value.
    pub fn into_inner(self) -> T {
        self.owner
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owner.as_fd()
    }
}

impl<T: AsFd> IsStream for Fd<T> {
    fn is_stream(&self) -> bool {
        self.kind != Kind::Messages
    }
    fn is_socket(&self) -> bool {
        self.kind.is_socket()
    }
}

impl<T: AsFd> Read for Fd<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        zc_linux::fd::read(self.as_fd(), buf)
    }
}

impl<T: AsFd> Write for Fd<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        zc_linux::fd::write(self.as_fd(), buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: AsFd> Source for Fd<T> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd(self.as_raw_poll_fd())
    }
}

impl<T: AsFd> Sink for Fd<T> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::fd(self.as_raw_poll_fd())
    }
}
