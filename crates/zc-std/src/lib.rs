//! Zero-copy I/O for std's types: `file.read_from(stream.take(n))`, moved by the kernel.
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::Read;
//! use std::net::TcpListener;
//! use zc_std::ReadFrom;
//!
//! let listener = TcpListener::bind("127.0.0.1:8080")?;
//! let (stream, _) = listener.accept()?;
//! let mut file = File::create("upload")?;
//! let n = file.read_from(stream.take(1 << 30))?;
//! println!("{n} bytes");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`ReadFrom::read_from`] and [`copy()`] copy until the end of input, or a limit.
//! - [`copy_exact`] fails if fewer bytes come, and [`copy_limited`] if more do: a peer that dies ends its
//!   connection just as one that has finished.
//! - [`copy!`] takes types that have not opted in, too, and [`probe`] is for libraries that say `R: Read`.
//! - [`Copier`] is the stateful form: options, a [`Report`] of what was done, and copies that can be
//!   resumed where an error left them.
//! - [`Progress`] reports bytes as the kernel moves them; [`Paced`] limits how fast it does. [`Opaque`] lets any
//!   `Read` or `Write` take part; [`Fd`] lets any descriptor. [`FileAt`] is a file from an offset of its own on.
//! - [`Transfer`] is what is under these: a state machine for event loops. On descriptors in
//!   non-blocking mode no step waits.
//! - [`Source`] and [`Sink`] are for types of your own.
//! - `hook` and `conformance`, each behind the feature of that name, are for your tests.
//!
//! # Systems
//!
//! Linux and Android have the engine. On other Unixes (macOS, FreeBSD) the same calls copy by read and write. What is
//! the engine's own (`Transfer`, `pool`, `route`, `hook`) is not there, and options that only it heeds have no
//! effect.
//!
//! # What moves what
//!
//! | from \\ to | regular file | TCP, Unix stream | pipe | /dev/null | anything else |
//! |---|---|---|---|---|---|
//! | regular file | copy_file_range, then splice through a pipe | sendfile | read/write; splice with `PageSharing::Always` | sendfile | read/write |
//! | TCP | splice through a pipe | splice through a pipe | splice through a pipe | discard | read/write |
//! | Unix stream | splice through a pipe | splice through a pipe | splice through a pipe | splice through a pipe | read/write |
//! | pipe, FIFO | splice through a pipe | splice through a pipe | splice | splice | read/write |
//! | anything else (tty, procfs, device, datagram, any `Read`) | read/write | read/write | read/write | read/write | read/write |
//!
//! Every cell ends in read/write: when a mechanism refuses, the next one continues from the same byte. To discard
//! is to receive with `MSG_TRUNC`: TCP drops the bytes, and copies none. [`std::io::sink()`] as a destination
//! discards what TCP has, too, and has all else read. Either of them drains a request's body. "Through a pipe" is
//! through one of our own, so no call waits while it holds something that another process needs. Where read/write
//! is known to be cheaper, a copy uses that instead; [`Copier::adaptive`] turns it off.
//!
//! # Rules that keep bytes safe
//!
//! - After an error, what was taken has either arrived ([`CopyError::moved`]) or is in [`CopyError::residue`]:
//!   deliver that before anything else. A [`Copier`] keeps it instead, and delivers it first when it copies again.
//! - `Ok` means that the source ended or a limit was reached, and not that the sender was done. If you know the
//!   length, use [`copy_exact`].
//! - A wrapper names the layer that it wraps (`Upstream::through(&mut self.inner)`), never one below it, whose buffer
//!   or limit would be left out. The feature `conformance` tests that.
//! - A `BufWriter` that a copy wrote to, because it could not bypass it, still needs its own flush.
//! - A file's pages may be lent to a socket: do not write to the file until the peer has read them, or set
//!   [`PageSharing::Never`].
//! - `Ok` says that the socket or file has accepted the bytes. Whether the peer has read them only the peer can say,
//!   and a file is on the disk after its `sync_all`.
//!
//! # Cancelling
//!
//! To stop a copy that waits for a socket, shut the socket down, from any thread: the copy returns at once. Nothing
//! else wakes it. A copy that keeps moving bytes ends when its source says so ([`copy()`] shows one). It gives up by
//! itself at a [deadline](Copier::deadline), or on [too slow a source](Copier::min_rate). In every case what has been
//! taken is delivered, or handed back. Under tokio a dropped future is enough: `zc-tokio` is cancel-safe.
//!
//! # Limits
//!
//! | of | by |
//! |---|---|
//! | how much | `take(n)`, [`copy_exact`], [`copy_limited`] |
//! | how fast | [`Paced`] |
//! | how long, how slow | [`Copier::deadline`], [`Copier::min_rate`] |
//! | which part of a file | [`FileAt`] |
//! | memory | 256 KiB a thread, and 32 pipes of 1 MiB a process ([`pool`]); see [`Copier::pipe_size`] |
//!
//! # Coming from elsewhere
//!
//! The project's docs have a page for those who come from
//! [`std::io::copy`](https://github.com/zc-rs/zc/blob/main/docs/from-std.md), and one for those who come from
//! [Go](https://github.com/zc-rs/zc/blob/main/docs/from-go.md). [`Fd`] lists what to do with types of other crates,
//! and [`probe`] with functions that say `R: Read`.
//!
//! # SIGPIPE
//!
//! A copy into a socket or pipe whose reader is gone may raise SIGPIPE, even where std's own
//! `TcpStream::write` would not. That calls send(2) with `MSG_NOSIGNAL`, as a copy does too; but
//! splice and sendfile, which a copy may call instead, have no such flag. Rust programs ignore that
//! signal unless they ask otherwise, and then the copy fails with `BrokenPipe` as it should.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the pages for newcomers.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-std.md")]
struct FromStd;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-go.md")]
struct FromGo;

// What moves the bytes; the rest of the crate does not know which it is.
#[cfg(any(not(any(target_os = "linux", target_os = "android")), zc_portable))]
#[path = "portable/mod.rs"]
mod engine;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(zc_portable)))]
use zc_linux as engine;

mod copier;
mod copy;
mod copy_macro;
mod exact;
mod fd;
mod file_at;
mod opaque;
mod paced;
#[doc(hidden)]
pub mod pick;
pub mod probe;
mod progress;
mod read_from;

pub use copier::Copier;
pub use copy::copy;
pub use exact::{copy_exact, copy_limited};
pub use fd::Fd;
pub use file_at::FileAt;
pub use opaque::Opaque;
pub use paced::Paced;
pub use progress::Progress;
pub use read_from::Kernel;

pub use engine::{Kind, Mechanism, Options, PageSharing, Report};
#[cfg(feature = "conformance")]
pub use zc_core::conformance;
pub use zc_core::{
    AsRawPollFd, CopyError, Custom, Downstream, End, IsStream, Pace, PollFd, ReadFrom, ReadSource,
    Side, Sink, Source, StdIo, Upstream, WriteSink, driver,
};
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(zc_portable),
    feature = "hook"
))]
pub use zc_linux::hook;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(zc_portable)))]
pub use zc_linux::{Transfer, pool, route};
