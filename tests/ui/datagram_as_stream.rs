//! A datagram socket keeps message boundaries: its descriptor is no byte stream.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use zc_std::PollFd;

fn main() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _ = PollFd::of(&udp);

    let (unix, _) = UnixDatagram::pair().unwrap();
    let _ = PollFd::of(&unix);
}
