//! Zero-copy relays and uploads for tokio: the kernel moves the bytes, a dropped future loses none.
//!
//! ```no_run
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # async fn f() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:8080").await?;
//! let (mut client, _) = listener.accept().await?;
//! let mut server = TcpStream::connect("127.0.0.1:80").await?;
//! let (up, down) = zc_tokio::copy_bidirectional(&mut client, &mut server).await?;
//! println!("{up} bytes up, {down} down");
//! # Ok(()) }
//! ```
//!
//! - [`copy()`] and [`copy_bidirectional()`] have tokio's parameters and results.
//! - [`Copier`] and [`Relay`] are the stateful forms, one-way and two-way. They own all that is in flight and
//!   are **cancel-safe**. They have [`Options`] with timeouts and limits, and a [`Handle`] for other tasks.
//!   Their [`Error`] says which direction failed, which side, and what.
//! - [`Rewind`] puts bytes that were read ahead in front of a stream. [`Opaque`] lets any `AsyncRead` or
//!   `AsyncWrite` take part, a TLS stream for example; [`Fd`] lets any descriptor, a serial line for example.
//!   [`Paced`] limits how fast bytes pass.
//! - With the feature `fs`, `tokio::fs::File` is a source and a sink, too: uploads and downloads are spliced, and
//!   only the file's half of a step leaves the worker. With the feature `process`, so are a child's standard streams.
//! - [`Source`] and [`Sink`], with [`ReadReady`] and [`WriteReady`], are for types of your own. With the feature
//!   `conformance` there is a test kit for them.
//!
//! Linux only.
//!
//! # What moves what
//!
//! Between `TcpStream`, `UnixStream`, their halves and pipes, bytes are spliced, through a pipe of a pool where
//! neither end is one. Where that is cheaper they are read and written, with large buffers. The kernel bypasses
//! `Take`, `Chain`, `BufReader`, `BufWriter`, `Join` and [`Rewind`]. What a reader has buffered goes first.
//! What a writer holds back is flushed before, and whenever the source stalls. Everything else is read and
//! written by its own `poll_read` and `poll_write`.
//!
//! Two of tokio's types show too little of themselves, and are read and written like that:
//!
//! - `tokio::io::ReadHalf` and `WriteHalf` (of `tokio::io::split`), which hide the stream behind a lock. Use the
//!   stream's own `split` or `into_split`.
//! - `BufStream` as a source, since it does not show what it has read ahead. (As a sink it is bypassed.) Use
//!   `BufReader<BufWriter<S>>`, which is the same and shows it.
//!
//! So is a file in a `Chain`: it would have to say what it has read ahead, and the chain does not know which of its
//! two is meant.
//!
//! # What it holds
//!
//! No pipe and no buffer while it waits for its source: a relay's future is two KiB. It keeps a pipe only while
//! there are bytes in it, and takes at most 64 KiB at a time of what may have to wait for its sink. It takes more
//! into a file, and for a socket that has said that it has room. So a connection whose peer has stalled holds at
//! most 64 KiB, in memory, and no pipe.
//!
//! # Ranges of a file
//!
//! A copy from or into a `tokio::fs::File` goes on where the file's own offset is, which its clones share. `FileAt`
//! is a range of a file, with an offset of its own: for range requests and downloads in parts, any number of them at
//! a time over one open file.
//!
//! # Giving up
//!
//! A whole copy's deadline is `tokio::time::timeout` around it; a [`Copier`] or a [`Relay`] keeps what is in flight,
//! and its counts. [`Options`] has the timeouts that begin anew with every byte, and a minimum rate against sources
//! that give a byte now and then.
//!
//! # Faults in tests
//!
//! With the feature `hook` there are `zc_std`'s hooks and faults: a full disk, calls that fail or fall short. A test
//! on a current-thread runtime meets them on its own thread, files excepted: their half of a step is made on a thread
//! of the blocking pool, which only `hook::every_thread` reaches.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// Data flows one way through these modules:
//
// copy       a copier or a relay, used once
//  └ copier, relay   poll one flow or two, between …
//     ├ session    … two looks at the clock: timeouts, resets to pass on, the handles of other tasks (handle, shared)
//     └ flow       … one direction: a loop around zc-linux's `Transfer`, which waits for …
//        ├ registered … a descriptor that tokio's reactor watches; a type says by `ends` that it has one
//        ├ flat       … two ends without their layers, for the step
//        ├ headroom   how much to take for a sink that may stall
//        └ away       a file's half of a step, on a thread that may wait for the disk
mod away;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copier;
mod copy;
mod direction;
mod ends;
mod error;
mod fd;
#[cfg(feature = "fs")]
mod file_at;
mod flat;
mod flow;
mod foreign;
mod handle;
mod headroom;
mod marker;
mod opaque;
mod options;
mod paced;
mod rate;
mod registered;
mod relay;
mod reset;
mod rewind;
mod session;
mod shared;
mod sync {
    //! The atomics of [`shared`](crate::shared), which a test replaces by loom's.
    pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
}
mod timer;

pub use copier::Copier;
pub use copy::{copy, copy_bidirectional};
pub use direction::{Direction, RelayEnd};
pub use ends::{AsyncSink, AsyncSource, AsyncStream, ReadReady, Settling, WriteReady};
pub use error::{Error, Operation};
pub use fd::Fd;
#[cfg(feature = "fs")]
pub use file_at::FileAt;
pub use handle::Handle;
pub use marker::TokioIo;
pub use opaque::Opaque;
pub use options::{EndPolicy, Options, ResetPolicy};
pub use paced::Paced;
pub use registered::Registered;
pub use relay::Relay;
pub use rewind::Rewind;

pub use zc_core::{Downstream, IsStream, Pace, PollFd, Side, Sink, Source, Upstream};
#[cfg(feature = "hook")]
pub use zc_linux::hook;
pub use zc_linux::{Kind, Mechanism, PageSharing, Report, pool};
