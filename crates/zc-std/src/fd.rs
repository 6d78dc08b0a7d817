//! Any descriptor.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::{AsRawPollFd, Downstream, IsStream, Kind, Sink, Source, Upstream};

/// Makes a source and a sink of any descriptor: an `OwnedFd`, raw standard input, a datagram
/// socket, another crate's socket.
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
/// KiB at a time, or up to its limit if that is less. That is enough for any UDP datagram, but not
/// for a longer Unix datagram: of one, that much is taken, and then the copy fails with `EMSGSIZE`. A message of no
/// bytes looks like the end of input.
///
/// # Types of other crates
///
/// | crate, type | as a source or sink |
/// |---|---|
/// | socket2 `Socket`; mio `TcpStream`, `UnixStream`, `pipe::Receiver`, `pipe::Sender` | `Fd::new(socket)?` |
/// | os_pipe `PipeReader`, `PipeWriter` | `Fd::new(pipe)?` |
/// | tempfile `tempfile()` | a `File`, as it is; `NamedTempFile`: `Fd::new(&file)?`, or `file.as_file()` |
/// | nix, rustix: `OwnedFd` | `Fd::new(fd)?` |
/// | tar `Entry`, zip `ZipFile` | [`Opaque`](crate::Opaque): the reader is somewhere in its archive. Of an entry that is stored as it is, the range by [`FileAt`](crate::FileAt): `FileAt::new(&archive, entry.raw_file_position())?.take(entry.size())`; zip: `data_start()` |
/// | flate2, zstd, rustls, native-tls | `Opaque`: what they yield is computed |
/// | hyper, axum bodies | not by this crate: after an upgrade hyper gives back the stream and what it has read ahead (`Upgraded::downcast`), for `zc_tokio::Rewind` |
/// | tokio | `zc-tokio`, which has an `Fd` of its own |
///
/// Descriptors in non-blocking mode, as mio's are, stop a copy with `WouldBlock`. [`Transfer`](crate::Transfer) is
/// for event loops; [`Copier::deadline`](crate::Copier::deadline) waits.
///
/// `Fd` does not see what its owner has read ahead or holds back. So wrap a `BufReader<Socket>` from the inside:
/// `BufReader::new(Fd::new(socket)?)`.
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
    /// Takes the descriptor of `owner`, and bypasses what `owner` buffers. Asks the kernel what
    /// kind it is, and transfers nothing.
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

    /// The descriptor's owner, mutably: to register it with an event loop, for example. A copy does not see
    /// bytes that it reads ahead into a buffer of its own.
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
    fn is_tcp(&self) -> bool {
        self.kind == Kind::Tcp
    }
}

impl<T: AsFd> Read for Fd<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        crate::engine::fd::read(self.as_fd(), buf)
    }
}

impl<T: AsFd> Write for Fd<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        crate::engine::fd::write(self.as_fd(), buf)
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
