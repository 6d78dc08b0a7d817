//! zc.
fn main() {}
