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
//! - [`Copier`] and [`Relay`] are the stateful forms, one way and two ways. They own all that is in flight and
//!   are **cancel-safe**; they have [`Options`] with timeouts and limits, a [`Handle`] for other tasks, and an
//!   [`Error`] that says which way, which side and what.
//! - [`Rewind`] puts bytes that were read ahead in front of a stream; [`Opaque`] lets any `AsyncRead` or
//!   `AsyncWrite` take part, a TLS stream for example; [`Fd`] lets any descriptor, a child's standard output
//!   for example; [`Paced`] limits how fast bytes pass.
//! - With the feature `fs`, `tokio::fs::File` is a source and a sink, too: an upload is spliced, and only the file's
//!   half of it leaves the worker.
//! - [`Source`] and [`Sink`], with [`ReadReady`] and [`WriteReady`], are for types of your own.
//!
//! Linux only.
//!
//! # What moves what
//!
//! Between `TcpStream`, `UnixStream`, their halves and pipes, bytes are spliced, through a pipe of a pool where
//! neither end is one, or read and written, with large buffers, where that is cheaper. `Take`, `Chain`,
//! `BufReader`, `BufWriter`, `Join` and [`Rewind`] are gone through: what a reader holds goes first, and what
//! a writer holds back is flushed before the kernel goes past it, and whenever the source stalls. Everything
//! else is read and written by its own `poll_read` and `poll_write`.
//!
//! # What it holds
//!
//! No pipe and no buffer while it waits for its source: a relay's future is two KiB. It keeps a pipe only while
//! there are bytes in it, and once its sink has been full it takes no more than 64 KiB at a time.

#![forbid(unsafe_code)]

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod away;
mod copier;
mod copy;
mod ends;
mod error;
mod fd;
mod flat;
mod flow;
mod foreign;
mod handle;
mod marker;
mod opaque;
mod options;
mod paced;
mod registered;
mod relay;
mod rewind;
mod session;
mod timer;

pub use copier::Copier;
pub use copy::{copy, copy_bidirectional};
pub use ends::{AsyncSink, AsyncSource, AsyncStream, ReadReady, Settling, WriteReady};
pub use error::{Direction, Error, Operation};
pub use fd::Fd;
pub use handle::Handle;
pub use marker::TokioIo;
pub use opaque::Opaque;
pub use options::{EndPolicy, Options};
pub use paced::Paced;
pub use registered::Registered;
pub use relay::{Relay, RelayEnd};
pub use rewind::Rewind;

pub use zc_core::{Downstream, IsStream, Pace, PollFd, Side, Sink, Source, Upstream};
pub use zc_linux::{Kind, Mechanism, PageSharing, Report, pool};
