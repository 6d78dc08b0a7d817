//! zc-tokio, on real sockets: a module a behaviour.

/// What tokio's own tests of `copy`, `copy_buf` and `copy_bidirectional` ask of these, asked of ours.
mod as_tokio;
/// Bytes of a bulk sender wait for more to come, and for nothing else.
mod coalescing;
/// A future that is dropped at any of its awaits loses nothing.
mod drops;
/// Readiness is edge-triggered.
mod edges;
/// Every type that the kernel is to bypass is bypassed, as the recorder sees it.
mod fast;
/// What breaks in other relays.
mod faults;
/// Uploads into files and downloads from them.
mod files;
/// What a relay holds, for how long, and who may look and stop it.
mod holding;
/// A runtime for one test, and ends for it.
mod kit;
/// What lies between a copy and its descriptors.
mod layers;
/// Every kind of source with every kind of sink, its future dropped after every poll.
mod matrix;
/// Copies of which nothing is kept.
mod nowhere;
/// Pipes, children and other descriptors.
mod pipes;
/// Ranges of one open file, each with an offset of its own.
mod ranges;
/// What a relay and a copy move, between every pair of streams.
mod relays;
/// A reset is passed on as one, and nothing that was delivered goes with it.
mod resets;
/// A sink that has a limit is given no byte more.
mod sink_limits;
/// Every timer, by a clock that the tests move.
mod timeouts;
