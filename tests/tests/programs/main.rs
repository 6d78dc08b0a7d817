//! Programs as a new user would write them: short, by the public interface alone, and right at the edges.

/// Types of other crates, each by the wrapper that its documentation names.
mod foreign_types;
/// A library with a `Read` bound, in each of the ways it may go.
mod generic_library;
/// A source that hashes what it passes on: it has to see the bytes, and says so.
mod hashing_tee;
/// A rate that several downloads share, by a source of one's own over `Pace`.
mod rate_limiter;
/// The uses that must compile and stay this short.
mod short_uses;
/// A two-way proxy: two threads, each way's end passed on as it comes.
mod two_way_proxy;
/// An upload server whose disk fills up.
mod upload_server;
