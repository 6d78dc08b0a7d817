//! Programs as a new user would write them: short, by the public interface alone, and right at the edges.

/// Types of other crates, each by the wrapper that its documentation names.
mod foreign_types;
/// A library whose functions have a `Read` bound, in each of the ways that it may go.
mod generic_library;
/// A source that hashes what it passes on. It has to see the bytes, and says so.
mod hashing_tee;
/// A rate that several downloads share, by a source of the program's own over `Pace`.
mod rate_limiter;
/// The uses that must compile and stay this short.
mod short_uses;
/// A two-way proxy: two threads, each passing an end on as it comes.
mod two_way_proxy;
/// An upload server whose disk fills up.
mod upload_server;
