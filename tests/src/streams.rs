//! Byte streams of every kind, as descriptors: the sockets and pipes of the chain table.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_domain};
use rustix::pipe::SpliceFlags;

use crate::pipes;
use crate::sockets::{self, Socket};

/// A kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A TCP connection over loopback.
    Tcp,
    /// A Unix stream connection.
    Unix,
    /// A pipe.
    Pipe,
    /// A FIFO.
    Fifo,
}

impl Stream {
    /// All of them.
    pub const ALL: [Stream; 4] = [Stream::Tcp, Stream::Unix, Stream::Pipe, Stream::Fifo];
    /// Those that are sockets.
    pub const SOCKETS: [Stream; 2] = [Stream::Tcp, Stream::Unix];
    /// Those that are pipes.
    pub const PIPES: [Stream; 2] = [Stream::Pipe, Stream::Fifo];

    /// Whether it is a socket.
    pub fn is_socket(self) -> bool {
        Stream::SOCKETS.contains(&self)
    }

    /// Both ends of a new connection.
    ///
    /// # Panics
    ///
    /// If it is no socket.
    pub fn sockets(self) -> (Socket, Socket) {
        match self {
            Stream::Tcp => {
                let (one, other) = sockets::tcp_v4();
                (Socket::Tcp(one), Socket::Tcp(other))
            }
            Stream::Unix => {
                let (one, other) = sockets::unix();
                (Socket::Unix(one), Socket::Unix(other))
            }
            Stream::Pipe | Stream::Fifo => panic!("{self:?} is no socket"),
        }
    }

    /// A new stream: the end to write to, and the end to read from.
    pub fn open(self) -> (OwnedFd, OwnedFd) {
        match self {
            Stream::Tcp => {
                let (to, from) = sockets::tcp_v4();
                (to.into(), from.into())
            }
            Stream::Unix => {
                let (to, from) = sockets::unix();
                (to.into(), from.into())
            }
            Stream::Pipe => {
                let (from, to) = pipes::pipe();
                (to.into(), from.into())
            }
            Stream::Fifo => {
                let (from, to) = pipes::fifo();
                (to.into(), from.into())
            }
        }
    }
}

/// Puts a descriptor in non-blocking mode.
pub fn nonblocking<T: AsFd>(fd: T) -> T {
    rustix::io::ioctl_fionbio(&fd, true).expect("an open descriptor");
    fd
}

/// A descriptor that is read and written by read(2) and write(2) alone.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T: AsFd> Read for Plain<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buf)?)
    }
}

impl<T: AsFd> Write for Plain<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, buf)?)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a socket's send buffer small, so that it is soon full. A pipe stays as it is.
pub fn narrow(to: impl AsFd) {
    // With less than a few segments in flight TCP waits for its timers.
    let size = match socket_domain(&to) {
        Ok(AddressFamily::UNIX) => 16 << 10,
        Ok(_) => 64 << 10,
        Err(_) => return,
    };
    set_socket_send_buffer_size(to, size).expect("a socket");
}

/// Writes to a stream until it takes no more, and leaves its mode as it is. Returns how many bytes it took.
pub fn fill(to: impl AsFd) -> usize {
    let was = rustix::fs::fcntl_getfl(&to).expect("an open descriptor");
    let to = nonblocking(to);
    let (mut filled, mut unacknowledged, mut quiet) = (0, None, 0);
    while quiet < 5 {
        let before = filled;
        // A page at first, then single bytes: a socket that refuses a page may take these.
        for piece in [4096, 1] {
            while let Some(n) = taken(rustix::io::write(&to, &vec![b'.'; piece])) {
                filled += n;
            }
        }
        // Before Linux 6.5 a Unix socket that takes no write may still take a splice.
        while let Some(n) = splice_a_page(&to) {
            filled += n;
        }
        if !is_tcp(&to) {
            if filled == before {
                break;
            }
            continue;
        }
        // TCP goes on sending, which makes room. It is full once nothing has moved for a while.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = zc_linux::fd::unsent(to.as_fd()).ok();
        quiet = if filled == before && now == unacknowledged { quiet + 1 } else { 0 };
        unacknowledged = now;
    }
    rustix::fs::fcntl_setfl(&to, was).expect("an open descriptor");
    filled
}

/// `None` where there was no room.
fn taken(answer: Result<usize, Errno>) -> Option<usize> {
    match answer {
        Err(Errno::AGAIN) => None,
        answer => Some(answer.expect("a stream that takes bytes")),
    }
}

fn splice_a_page(to: &impl AsFd) -> Option<usize> {
    let (from, page) = io::pipe().expect("two descriptors");
    rustix::io::write(&page, &[b'.'; 4096]).expect("room in a new pipe");
    taken(rustix::pipe::splice(from, None, to, None, 4096, SpliceFlags::NONBLOCK))
}

fn is_tcp(to: &impl AsFd) -> bool {
    matches!(socket_domain(to), Ok(AddressFamily::INET | AddressFamily::INET6))
}

/// How many bytes there are to read.
pub fn waiting(from: impl AsFd) -> usize {
    let n = rustix::io::ioctl_fionread(from).expect("a stream");
    usize::try_from(n).expect("a number of bytes")
}

/// Waits until there are `n` bytes to read: over loopback TCP delivers a moment later.
///
/// # Panics
///
/// If there are more, or it takes 5 seconds.
#[track_caller]
pub fn until_waiting(from: impl AsFd, n: usize) {
    for _ in 0..5_000 {
        if waiting(&from) >= n {
            assert_eq!(waiting(&from), n, "bytes to read");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} bytes to read, of {n}", waiting(&from));
}
