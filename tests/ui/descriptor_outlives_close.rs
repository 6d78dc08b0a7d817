//! … nor be closed, nor given away.

use std::net::TcpStream;

use zc_std::AsRawPollFd;

fn main() {
    let stream = TcpStream::connect("127.0.0.1:80").unwrap();
    let fd = stream.as_raw_poll_fd();
    drop(stream);
    println!("{fd:?}");
}
