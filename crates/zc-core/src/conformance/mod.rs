//! A test kit for [`Source`] and [`Sink`] types of your own (feature `conformance`).
//!
//! A wrapper that says `Upstream::through(&mut self.inner)` promises that nothing is lost when bytes
//! are taken past its `read`. The types ensure much of that promise, but not all of it. A wrapper
//! may have a buffer that it does not show, or a limit that it does not state. Then a copy sends
//! bytes in the wrong order, or too many of them, and only when the kernel takes part. The kit finds
//! out in a test:
//!
//! ```
//! use std::io::{self, Read};
//! use zc_core::{Source, Upstream, conformance};
//!
//! /// Hands on `left` bytes at most.
//! struct AtMost<S> {
//!     inner: S,
//!     left: u64,
//! }
//!
//! impl<S: Read> Read for AtMost<S> {
//!     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
//!         if self.left == 0 {
//!             return Ok(0);
//!         }
//!         let room = self.left.min(buf.len() as u64) as usize;
//!         let n = self.inner.read(&mut buf[..room])?;
//!         self.left -= n as u64;
//!         Ok(n)
//!     }
//! }
//!
//! impl<S: Source> Source for AtMost<S> {
//!     fn upstream(&mut self) -> Upstream<'_> {
//!         Upstream::through(&mut self.inner).limit(self.left)
//!     }
//!     fn taken(&mut self, n: u64) {
//!         self.left -= n;
//!     }
//! }
//!
//! // In a `#[test]`:
//! conformance::assert_source(|stream| AtMost { inner: stream, left: 1000 });
//! ```
//!
//! Without the call of `limit` the same line panics:
//!
//! ```text
//! limit: bytes came past `read` where reading ends after 1000 bytes: state the limit with
//! `Upstream::limit`, and let it fall in `taken`
//! at byte 1000 of schedule 2 (never blocked), after: 29 more, past 2 x 7, past 3 x 21, past 19, …
//! ```
//!
//! # How it works
//!
//! The kit builds the type many times over one end of a socket pair, and feeds the same [`LEN`] known
//! bytes into the other. First it reads to the end with `read` alone. The result is the reference, so
//! there is nothing to declare: a type that ends after 1000 bytes has a limit of 1000. Then it
//! follows many fixed schedules that mix reads of all sizes with steps past `read`, made just as an
//! engine makes them, by way of [`driver`](crate::driver) and the descriptor. The input is all there
//! in some of them; in others it trickles in and the stream is non-blocking. Into a sink a few write more than its
//! stream has room for, and so a part of it. In every mix these must hold:
//!
//! | property | a source | a sink |
//! |---|---|---|
//! | [`Order`](Property::Order) | the bytes are those that reading gives | … that writing delivers |
//! | [`Limit`](Property::Limit) | as many as reading gives; as much of the input is left | no more than writing delivers |
//! | [`Buffered`](Property::Buffered) | bytes read ahead are shown, and fall by what was consumed | bytes held back go out first |
//! | [`Count`](Property::Count) | `taken` is counted like `read` | `delivered` is counted like `write` |
//! | [`State`](Property::State) | what is observed of it is as after reading | … as after writing |
//! | [`End`](Property::End) | it ends, or fails, where reading does, and stays ended | |
//! | [`Errors`](Property::Errors) | `WouldBlock` loses nothing | `WouldBlock` takes nothing |
//! | [`Empty`](Property::Empty) | an empty `read` does nothing | nor does an empty `write` |
//!
//! Schedules are the same in every run. The kit starts no thread and waits for nothing. A type
//! whose own `read` waits for more than the stream has now, by spinning on `WouldBlock`, makes it
//! hang.
//!
//! Limits and buffers only show if they are smaller than [`LEN`]: build the type accordingly.
//!
//! # A type that wants a `TcpStream`
//!
//! The kit's streams are Unix sockets. A type that is not generic takes one under another name, since
//! std reads and writes both alike:
//!
//! ```
//! use std::io::{BufReader, Read};
//! use std::net::TcpStream;
//! use std::os::fd::OwnedFd;
//! use zc_core::conformance;
//!
//! fn body(stream: TcpStream) -> std::io::Take<BufReader<TcpStream>> {
//!     BufReader::with_capacity(300, stream).take(5000)
//! }
//!
//! conformance::assert_source(|stream| body(TcpStream::from(OwnedFd::from(stream))));
//! ```

mod access;
mod failure;
mod observe;
mod script;
mod sink;
mod source;
mod wire;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::{Sink, Source};

/// For sibling crates, whose types are read and written in another way.
#[doc(hidden)]
pub use access::{AtSink, AtSource, SinkAccess, SourceAccess};
pub use failure::{Failure, Property};
pub use sink::SinkKit;
pub use source::SourceKit;
pub use wire::LEN;

/// What a type counts, asked of it by the kit.
type Count<'k, S> = Box<dyn Fn(&S) -> u64 + 'k>;

/// Checks the source that `make` builds over a stream.
///
/// To check its counting and its own state as well, see [`SourceKit::count`] and [`SourceKit::observe`].
///
/// # Errors
///
/// The first property that was found not to hold.
///
/// ```
/// use std::io::{BufReader, Read};
/// use zc_core::conformance;
///
/// conformance::source(|stream| BufReader::with_capacity(300, stream).take(5000))?;
/// # Ok::<(), conformance::Failure>(())
/// ```
pub fn source<S: Read + Source>(make: impl FnMut(UnixStream) -> S) -> Result<(), Failure> {
    SourceKit::new(make).check()
}

/// Checks the sink that `make` builds over a stream.
///
/// To check its counting and its own state as well, see [`SinkKit::count`] and [`SinkKit::observe`].
///
/// # Errors
///
/// The first property that was found not to hold.
///
/// ```
/// use std::io::BufWriter;
/// use zc_core::conformance;
///
/// conformance::sink(|stream| BufWriter::with_capacity(300, stream))?;
/// # Ok::<(), conformance::Failure>(())
/// ```
pub fn sink<S: Write + Sink>(make: impl FnMut(UnixStream) -> S) -> Result<(), Failure> {
    SinkKit::new(make).check()
}

/// [`source()`], for tests.
///
/// # Panics
///
/// If a property does not hold; the message says which, and where it showed.
#[track_caller]
pub fn assert_source<S: Read + Source>(make: impl FnMut(UnixStream) -> S) {
    failure::raise(source(make));
}

/// [`sink()`], for tests.
///
/// # Panics
///
/// If a property does not hold; the message says which, and where it showed.
#[track_caller]
pub fn assert_sink<S: Write + Sink>(make: impl FnMut(UnixStream) -> S) {
    failure::raise(sink(make));
}
