//! The traits and types of zc, by which a source and a sink of bytes say what the kernel needs to move the bytes
//! between them without their `Read` and `Write`.
//!
//! This crate makes no system call and depends on nothing. It holds
//!
//! - [`Source`] and [`Sink`]: what the kernel needs to bypass a type's `Read` and `Write`;
//! - [`PollFd`], [`IsStream`] and [`AsRawPollFd`]: a borrowed descriptor, and whether it is a byte
//!   stream;
//! - [`ReadFrom`]: `dst.read_from(src)`, what users call and custom destinations implement;
//! - [`Pace`]: how fast bytes may pass, for layers that limit it;
//! - [`CopyError`]: how far a failed copy got, and the bytes it could not deliver;
//! - [`generic`]: the read/write copy that every chain of mechanisms ends in;
//! - [`driver`]: what engines and drivers need, and users do not.
//!
//! The impls of these traits for std's types live here too, in `foreign`: only the crate of the trait, or
//! that of the type, may have them. What needs the kernel, the impls of [`ReadFrom`] among them, is in
//! `zc-std`, which is the crate to depend on. Everything here compiles on any Unix.
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

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// The `cfg` of each module keeps this the only error.
#[cfg(not(unix))]
compile_error!(
    "zc copies between descriptors, and so needs a Unix: Linux, Android, macOS, FreeBSD"
);

#[cfg(all(unix, feature = "conformance"))]
pub mod conformance;
#[cfg(unix)]
pub mod driver;
#[cfg(unix)]
mod end;
#[cfg(unix)]
mod error;
#[cfg(unix)]
mod foreign;
#[cfg(unix)]
pub mod generic;
#[cfg(unix)]
mod pace;
#[cfg(unix)]
mod poll_fd;
#[cfg(unix)]
mod read_from;
#[cfg(unix)]
mod side;
#[cfg(unix)]
mod sink;
#[cfg(unix)]
mod source;

#[cfg(unix)]
pub use end::End;
#[cfg(unix)]
pub use error::CopyError;
#[cfg(unix)]
pub use pace::Pace;
#[cfg(unix)]
pub use poll_fd::{AsRawPollFd, IsStream, PollFd};
#[cfg(unix)]
pub use read_from::{Custom, ReadFrom};
#[cfg(unix)]
pub use side::Side;
#[cfg(unix)]
pub use sink::{Downstream, Sink, WriteSink};
#[cfg(unix)]
pub use source::{ReadSource, Source, StdIo, Upstream};
