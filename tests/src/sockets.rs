//! Connected stream sockets, both ends in this process.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

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

fn tcp(any_port: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_port).expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (server, _) = listener.accept().expect("connected");
    for end in [&client, &server] {
        end.set_nodelay(true).expect("TCP");
    }
    (client, server)
}

/// Closes with a reset instead of an end.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
    drop(stream);
}
