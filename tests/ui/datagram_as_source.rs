//! … and is no source either.

use std::fs::File;
use std::net::UdpSocket;

use zc_std::ReadFrom;

fn main() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    File::create("datagrams").unwrap().read_from(socket).unwrap();
}
