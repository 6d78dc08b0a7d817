//! zc-tokio, on real sockets: a module a behaviour.

/// What tokio's own tests ask of its `copy`, `copy_buf` and `copy_bidirectional`, asked of zc-tokio's.
mod as_tokio;
/// What a relay that closes with its first end delivers before.
mod closing;
/// A relay waits until more bytes of a bulk sender have come, and for nothing else.
mod coalescing;
/// A future that is dropped at any of its awaits loses nothing.
mod drops;
/// An edge of readiness that comes at the wrong moment is not forgotten.
mod edges;
/// The kernel moves the bytes of every type that it can, as the recorder sees it.
mod fast;
/// Cases that break other relays.
mod faults;
/// Uploads into files and downloads from them.
mod files;
/// What a relay holds, for how long, and how other tasks see and stop it.
mod holding;
/// A runtime for one test, and ends for it.
mod kit;
/// Limits, buffers and wrappers between a copy and its descriptors.
mod layers;
/// Every kind of source with every kind of sink, its future dropped after every poll.
mod matrix;
/// Sockets that keep the boundaries of messages.
mod messages;
/// Copies into nowhere.
mod nowhere;
/// Other ends, while a file's step for the old ones is still under way.
mod other_ends;
/// Pipes, children and other descriptors.
mod pipes;
/// Ranges of one open file, each with an offset of its own.
mod ranges;
/// What a relay and a copy move, between every pair of streams.
mod relays;
/// A reset is passed on as one, and no delivered byte is lost by it.
mod resets;
/// More than one runtime, and one that is gone.
mod runtimes;
/// A file copied into itself.
mod same_file;
/// A sink with a limit gets no byte more.
mod sink_limits;
/// Every timer, by a clock that the tests move.
mod timeouts;
