//! The traits and types of zc: what a source and a sink of bytes must say about themselves so that the
//! kernel can move the bytes between them, past their `Read` and `Write`.
//!
//! This crate makes no system call and depends on nothing. It holds
//!
//! - [`PollFd`], [`IsStream`] and [`AsRawPollFd`]: a borrowed descriptor, and whether it is a byte
//!   stream;
//! - [`Source`] and [`Sink`]: `Read` and `Write`, plus what the kernel needs to go past them;
//! - [`Inlet`] and [`Outlet`]: the same two seen through every layer of wrappers, for engines;
//! - [`ReadFrom`]: `dst.read_from(src)`, what users call and custom destinations implement;
//! - [`CopyError`]: how far a failed copy got, and the bytes it could not deliver;
//! - [`generic`]: the read/write copy that every chain of mechanisms ends in.
//!
//! The impls of these traits for std's types live here too, in `foreign`: Rust lets only the crate
//! that owns a trait, or the one that owns the type, implement it. What needs the kernel, the impls
//! of [`ReadFrom`] among them, is in `zc-std`, which is the crate to depend on.
//!
//! # A wrapper of your own
//!
//! A wrapper says once that bytes pass through it unchanged. The engine then finds the descriptor,
//! buffers and limits below it; the wrapper repeats none of them:
//!
//! ```
//! use std::io::{self, Read};
//! use zc_core::{Source, Upstream};
//!
//! /// Counts what is read through it.
//! struct Metered<S> {
//!     inner: S,
//!     bytes: u64,
//! }
//!
//! impl<S: Read> Read for Metered<S> {
//!     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
//!         let n = self.inner.read(buf)?;
//!         self.bytes += n as u64;
//!         Ok(n)
//!     }
//! }
//!
//! impl<S: Source> Source for Metered<S> {
//!     fn upstream(&mut self) -> Upstream<'_> {
//!         Upstream::through(&mut self.inner)
//!     }
//!     fn taken(&mut self, n: u64) {
//!         self.bytes += n;
//!     }
//! }
//! # let mut m = Metered { inner: &b"abc"[..], bytes: 0 };
//! # let mut out = Vec::new();
//! # zc_core::generic::copy(&mut m, &mut out).unwrap();
//! # assert_eq!((m.bytes, &out[..]), (3, &b"abc"[..]));
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod foreign;
pub mod generic;
mod held;
mod inlet;
mod outlet;
mod poll_fd;
mod read_from;
pub mod shallow;
mod sink;
mod source;
mod step;

pub use error::{CopyError, End};
pub use held::Held;
pub use inlet::{Bottom, Inlet, Reach};
pub use outlet::Outlet;
pub use poll_fd::{AsRawPollFd, IsStream, PollFd};
pub use read_from::{Custom, ReadFrom};
pub use sink::{Downstream, Sink};
pub use source::{Source, Upstream};
pub use step::{Fault, Next, Step};
