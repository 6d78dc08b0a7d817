//! From sockets, to files and to sockets.

mod common;

fn main() {
    common::rounds(&["socket to file", "socket to new file", "socket to socket"]);
}
