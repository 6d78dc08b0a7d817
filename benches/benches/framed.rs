//! Copies of a few bytes each, one after the other on one connection.

mod common;

fn main() {
    common::rounds(&["framed"]);
}
