//! From files, to sockets and to files.

mod common;

fn main() {
    common::rounds(&["file to socket", "file to file"]);
}
