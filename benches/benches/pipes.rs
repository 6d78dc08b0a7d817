//! From and to pipes.

mod common;

fn main() {
    common::rounds(&["pipes"]);
}
