//! The benches: cells × subjects.
//!
//! - a [cell](cells) is a kind of copy: its source, its sink, and the size of its pieces;
//! - a [subject](subjects) does it: zc, `std::io::copy`, a generic loop, Go's `io.Copy`, and the bare loops, the best
//!   of which is a cell's *floor*;
//! - the [arena] sets a cell up, has a subject do it once, and takes the time;
//! - a [peer] is the process at the far end of a socket or pipe. It is never counted: both wall and
//!   CPU time are those of the copying side alone.
//! - [latency] is how long the last byte of a burst takes, and [links] are other than loopback;
//! - [relays] have cells and subjects of their own: whole processes that carry connections on.
//!
//! `cargo xtask bench` runs all of it and writes the report; the criterion benches in `benches/`
//! run the same cells through criterion's statistics.

pub mod alloc;
pub mod arena;
pub mod cells;
pub mod clock;
pub mod ends;
pub mod latency;
pub mod links;
pub mod peer;
pub mod relays;
pub mod scale;
pub mod subjects;
