//! A test kit for [`Source`](crate::Source) and [`Sink`](crate::Sink) types of your own, over tokio's streams
//! (feature `conformance`).
//!
//! A wrapper that says `Upstream::through(&mut self.inner)` promises that nothing is lost when bytes are taken past
//! its `poll_read`. The kit finds out in a test. It is zc-core's kit, with the same schedules and properties (read
//! there how it works). It also checks what only async types have:
//!
//! | property | a source | a sink |
//! |---|---|---|
//! | [`Readiness`](Property::Readiness) | `read_ready` finds the descriptor that `upstream` leads to, and no other | the same of `write_ready` and `downstream` |
//! | | who has polled `poll_read` last is woken, when there are bytes, each time | … `poll_write`, when there is room |
//! | | | who waits for `poll_flush` or `poll_shutdown` is woken |
//! | [`Order`](Property::Order) | `poll_read` puts its bytes behind those that the buffer holds | |
//! | [`Errors`](Property::Errors) | no `WouldBlock`, which wakes nobody | nor here |
//! | [`End`](Property::End) | | `poll_shutdown` reaches the stream |
//!
//! ```
//! use std::os::fd::RawFd;
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//!
//! use tokio::io::{AsyncRead, ReadBuf};
//! use zc_tokio::{ReadReady, Registered, Source, Upstream, conformance};
//!
//! /// Counts what is read through it.
//! struct Metered<S> {
//!     inner: S,
//!     bytes: u64,
//! }
//!
//! impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
//!     fn poll_read(
//!         mut self: Pin<&mut Self>,
//!         cx: &mut Context<'_>,
//!         buf: &mut ReadBuf<'_>,
//!     ) -> Poll<std::io::Result<()>> {
//!         let before = buf.filled().len();
//!         let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
//!         self.bytes += (buf.filled().len() - before) as u64;
//!         polled
//!     }
//! }
//!
//! impl<Io, S: Source<Io>> Source<Io> for Metered<S> {
//!     fn upstream(&mut self) -> Upstream<'_, Io> {
//!         Upstream::through(&mut self.inner)
//!     }
//!     fn taken(&mut self, n: u64) {
//!         self.bytes += n;
//!     }
//! }
//!
//! impl<S: ReadReady> ReadReady for Metered<S> {
//!     fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
//!         self.inner.read_ready(fd)
//!     }
//! }
//!
//! // In a `#[test]`, and not in a `#[tokio::test]`: the kit has a runtime of its own.
//! conformance::SourceKit::new(|stream| Metered { inner: stream, bytes: 0 })
//!     .count(|metered| metered.bytes)
//!     .assert();
//! ```
//!
//! The streams are Unix sockets, `tokio::net::UnixStream`. Limits and buffers only show if they are smaller than
//! [`LEN`].
//!
//! What it does not look at: `settle_source` and `settle_sink`, which only files are asked for. A wrapper hands them
//! on to what it wraps.

mod runtime;
mod sink;
mod source;

use tokio::net::UnixStream;

use crate::{AsyncSink, AsyncSource};

pub use sink::SinkKit;
pub use source::SourceKit;
pub use zc_core::conformance::{Failure, LEN, Property};

/// Checks the source that `make` builds over a stream.
///
/// To check its counting as well, see [`SourceKit::count`].
///
/// # Errors
///
/// The first property that was found not to hold.
///
/// ```
/// use tokio::io::{AsyncReadExt, BufReader};
/// use zc_tokio::conformance;
///
/// conformance::source(|stream| BufReader::with_capacity(300, stream).take(5000))?;
/// # Ok::<(), conformance::Failure>(())
/// ```
pub fn source<S: AsyncSource>(make: impl FnMut(UnixStream) -> S) -> Result<(), Failure> {
    SourceKit::new(make).check()
}

/// Checks the sink that `make` builds over a stream.
///
/// To check its counting as well, see [`SinkKit::count`].
///
/// # Errors
///
/// The first property that was found not to hold.
///
/// ```
/// use tokio::io::BufWriter;
/// use zc_tokio::conformance;
///
/// conformance::sink(|stream| BufWriter::with_capacity(300, stream))?;
/// # Ok::<(), conformance::Failure>(())
/// ```
pub fn sink<S: AsyncSink>(make: impl FnMut(UnixStream) -> S) -> Result<(), Failure> {
    SinkKit::new(make).check()
}

/// [`source()`], for tests.
///
/// # Panics
///
/// If a property does not hold; the message says which, and where it showed.
#[track_caller]
pub fn assert_source<S: AsyncSource>(make: impl FnMut(UnixStream) -> S) {
    raise(source(make));
}

/// [`sink()`], for tests.
///
/// # Panics
///
/// If a property does not hold; the message says which, and where it showed.
#[track_caller]
pub fn assert_sink<S: AsyncSink>(make: impl FnMut(UnixStream) -> S) {
    raise(sink(make));
}

#[track_caller]
fn raise(outcome: Result<(), Failure>) {
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
