//! Connected stream sockets, both ends in this process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};
use zc_std::{AsRawPollFd, Downstream, IsStream, Sink, Source, Upstream};

/// One end of a connection, TCP or Unix, as one type.
#[derive(Debug)]
pub enum Socket {
    /// Of a TCP connection.
    Tcp(TcpStream),
    /// Of a Unix one.
    Unix(UnixStream),
}

/// Both ends of a TCP connection over IPv4 loopback, without Nagle's delay.
pub fn tcp_v4() -> (TcpStream, TcpStream) {
    tcp((Ipv4Addr::LOCALHOST, 0).into())
}

/// Both ends of a TCP connection over IPv6 loopback, without Nagle's delay.
pub fn tcp_v6() -> (TcpStream, TcpStream) {
    tcp((Ipv6Addr::LOCALHOST, 0).into())
}

/// Both ends of a Unix stream connection.
pub fn unix() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a socket pair")
}

/// A listener with room for one connection that is not accepted.
pub fn unix_queue_for_one(path: &Path) -> UnixListener {
    let socket = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        // The kernel adds one.
        rustix::net::listen(&socket, 0)?;
        Ok::<_, io::Error>(socket)
    };
    socket().expect("a free path").into()
}

fn tcp(any_port: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port).expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (server, _) = listener.accept().expect("connected");
    for end in [&client, &server] {
        end.set_nodelay(true).expect("TCP");
    }
    (client, server)
}

/// Both ends of an MPTCP connection over loopback; `None` if the kernel has none.
#[must_use]
pub fn mptcp() -> Option<(OwnedFd, OwnedFd)> {
    const MPTCP: u32 = 262;
    let protocol = rustix::net::Protocol::from_raw(MPTCP.try_into().ok()?);
    let socket = || {
        let flags = SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(protocol)).ok()
    };
    let (listener, client) = (socket()?, socket()?);
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    rustix::net::bind(&listener, &any).ok()?;
    rustix::net::listen(&listener, 1).ok()?;
    let address = rustix::net::getsockname(&listener).ok()?;
    rustix::net::connect(&client, &address).ok()?;
    Some((client, rustix::net::accept(&listener).ok()?))
}

/// Sockets with small buffers, so that both ends wait again and again. (TCP's have to hold a segment of loopback's 64
/// KiB, or it advances by the ticks of its timers.)
#[must_use]
pub fn tight<S: AsFd>((a, b): (S, S)) -> (S, S) {
    let tcp = sockopt::socket_domain(&a) != Ok(AddressFamily::UNIX);
    for end in [&a, &b] {
        let size = if tcp { 128 * 1024 } else { 1 };
        sockopt::set_socket_send_buffer_size(end, size).expect("a socket");
        sockopt::set_socket_recv_buffer_size(end, size).expect("a socket");
    }
    (a, b)
}

/// Closes with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
    drop(stream);
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buf),
            Socket::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(buf),
            Socket::Unix(stream) => stream.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

/// As std's own types do.
impl IsStream for Socket {
    fn is_socket(&self) -> bool {
        true
    }
}

impl Source for Socket {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd(self.as_raw_poll_fd()).ends_for_good()
    }
}

impl Sink for Socket {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::fd(self.as_raw_poll_fd())
    }
}
