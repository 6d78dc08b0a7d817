//! Benches of zc.
