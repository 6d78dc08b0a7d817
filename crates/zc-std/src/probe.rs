//! Libraries with a `Read` bound.
//!
//! A library that says `R: Read` in its public functions is called with a `File` today and with a decompressor
//! tomorrow. Rust tells it nothing more about an `R`, so it cannot find the descriptor below. What it can do, and
//! what each choice costs the signature:
//!
//! | the signature says | moved by the kernel | the price |
//! |---|---|---|
//! | `R: Read`, the body `copy(&mut Opaque(r), …)` | nothing | none |
//! | `R: Read + 'static`, the body [`probe::copy`](copy()) | std's types and their stacks | a caller that hands in a *borrowed* reader (`&file`, `&mut stream` for a parameter taken by value) no longer compiles; zc does not show |
//! | `reader: &mut R` where `R: Read + 'static` | the same | the reference may be short-lived, only what it refers to must be `'static`: most callers compile as before |
//! | [`R: ReadSource`](ReadSource) | all that has opted in, the callers' own types too | a caller with any other reader wraps it in [`Opaque`]; zc is part of the public API, and its next major version is one of yours |
//! | both: `save(impl Read)` and `save_from(impl ReadSource)` | by the second | two names for one thing |
//! | a macro of yours around [`copy!`](crate::copy!) | all that has opted in | the types must be concrete where it is called |
//!
//! For a library without users yet, take `ReadSource`. For one that has users, a probe adds no type of zc's to the
//! API, and can be added in a minor version where the bound is `'static` already:
//!
//! ```
//! use std::fs::File;
//! use std::io::{self, Read};
//!
//! /// Stores what `reader` yields. (A public function of some library.)
//! pub fn save<R: Read + 'static>(mut reader: R, to: &mut File) -> io::Result<u64> {
//!     zc_std::probe::copy(&mut reader, to)
//! }
//!
//! let (mut client, stream) = std::os::unix::net::UnixStream::pair()?;
//! io::Write::write_all(&mut client, b"hello")?;
//! drop(client);
//! assert_eq!(save(io::BufReader::new(stream.take(100)), &mut tempfile::tempfile()?)?, 5);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What a probe knows
//!
//! - Sources: `File`, `TcpStream` and `UnixStream`, boxed or not; `PipeReader`, `ChildStdout`, `ChildStderr`,
//!   `Arc<File>`, [`Fd<OwnedFd>`](Fd), [`FileAt<File>`](FileAt), `Box<dyn ReadSource>`. Around each of
//!   them a `Take`, a `BufReader`, or one of each in either order.
//! - Sinks: `File`, `Arc<File>`, `TcpStream`, `UnixStream`, `PipeWriter`, `ChildStdin`, `Stdout`, `Fd<OwnedFd>`,
//!   `FileAt<File>`, `Box<dyn WriteSink>`; boxed or not, in a `BufWriter` or not.
//!
//! It goes by the type alone ([`TypeId`]), calls nothing, and takes 0.2 µs at the most. It makes a program some 300
//! KiB larger, because every type of the list is compiled in. A `Box<dyn Read>` hides what is in it; a `Box<dyn
//! ReadSource>` does not. There is no registry for types of your own: what a copy does would depend on which crate
//! registered a type first.

use std::any::{Any, TypeId};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, PipeReader, PipeWriter, Read, Stdout, Take, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;

use crate::{Fd, FileAt, Opaque, ReadSource, Sink, Source, WriteSink};

/// Copies all of `reader` into `writer`, as [`crate::copy()`] does. A type that a probe knows is copied as the source
/// or sink that it is, any other by its `read` or `write`.
///
/// # Errors
///
/// Those of [`crate::copy()`].
pub fn copy<R: Read + 'static, W: Write + 'static>(
    reader: &mut R,
    writer: &mut W,
) -> io::Result<u64> {
    match (source(reader), sink(writer)) {
        (Ok(source), Ok(sink)) => crate::copy(source, sink),
        (Ok(source), Err(writer)) => crate::copy(source, &mut Opaque(writer)),
        (Err(reader), Ok(sink)) => crate::copy(&mut Opaque(reader), sink),
        (Err(reader), Err(writer)) => crate::copy(&mut Opaque(reader), &mut Opaque(writer)),
    }
}

/// `reader` as the source that it is.
///
/// # Errors
///
/// `reader` itself, if its type is not one that a [probe knows](self#what-a-probe-knows).
///
/// ```
/// use std::io::{BufReader, Cursor, Read};
/// use zc_std::probe;
///
/// let mut known = BufReader::new(std::fs::File::open("/dev/null")?.take(10));
/// assert!(probe::source(&mut known).is_ok());
/// let mut unknown = std::io::repeat(7);
/// assert!(probe::source(&mut unknown).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn source<R: Read + 'static>(reader: &mut R) -> Result<&mut dyn ReadSource, &mut R> {
    let probe = Probe::new(reader);
    let found = boxed::<File>(probe)
        .or_else(boxed::<TcpStream>)
        .or_else(boxed::<UnixStream>)
        .or_else(in_layers::<PipeReader>)
        .or_else(in_layers::<ChildStdout>)
        .or_else(in_layers::<ChildStderr>)
        .or_else(in_layers::<Arc<File>>)
        .or_else(in_layers::<Fd<OwnedFd>>)
        .or_else(in_layers::<FileAt<File>>)
        .or_else(in_layers::<Box<dyn ReadSource>>)
        .or_else(in_layers::<Box<dyn ReadSource + Send>>);
    found.map_err(Probe::give_back)
}

/// `writer` as the sink that it is.
///
/// # Errors
///
/// `writer` itself, if its type is not one that a [probe knows](self#what-a-probe-knows).
pub fn sink<W: Write + 'static>(writer: &mut W) -> Result<&mut dyn WriteSink, &mut W> {
    let probe = Probe::new(writer);
    let found = in_buffers::<File>(probe)
        .or_else(in_buffers::<TcpStream>)
        .or_else(in_buffers::<UnixStream>)
        .or_else(in_buffers::<PipeWriter>)
        .or_else(in_buffers::<ChildStdin>)
        .or_else(in_buffers::<Stdout>)
        .or_else(in_buffers::<Arc<File>>)
        .or_else(in_buffers::<Fd<OwnedFd>>)
        .or_else(in_buffers::<FileAt<File>>)
        .or_else(in_buffers::<Box<dyn WriteSink>>)
        .or_else(in_buffers::<Box<dyn WriteSink + Send>>);
    found.map_err(Probe::give_back)
}

/// A reader or writer whose type is to be found out.
struct Probe<'a> {
    what: &'a mut dyn Any,
    /// Its type: asked once, for all comparisons.
    id: TypeId,
}

impl<'a> Probe<'a> {
    fn new<T: 'static>(what: &'a mut T) -> Self {
        Probe { what, id: TypeId::of::<T>() }
    }

    /// Itself, if that is what it is.
    fn is<T: 'static>(self) -> Result<&'a mut T, Self> {
        if self.id != TypeId::of::<T>() {
            return Err(self);
        }
        Ok(self.give_back())
    }

    fn give_back<T: 'static>(self) -> &'a mut T {
        self.what.downcast_mut().expect("the type was compared")
    }
}

type FoundSource<'a> = Result<&'a mut dyn ReadSource, Probe<'a>>;
type FoundSink<'a> = Result<&'a mut dyn WriteSink, Probe<'a>>;

/// `S`, boxed or not, in layers.
fn boxed<S: Read + Source + 'static>(probe: Probe<'_>) -> FoundSource<'_> {
    in_layers::<S>(probe).or_else(in_layers::<Box<S>>)
}

/// `S` in the layers that people put around a stream. Each of these types is compiled into the program, with all
/// that it takes to copy from it (some 4 KiB), so that there are no more of them.
fn in_layers<S: Read + Source + 'static>(probe: Probe<'_>) -> FoundSource<'_> {
    bare::<S>(probe)
        .or_else(bare::<Take<S>>)
        .or_else(bare::<BufReader<S>>)
        .or_else(bare::<Take<BufReader<S>>>)
        .or_else(bare::<BufReader<Take<S>>>)
}

fn bare<S: Read + Source + 'static>(probe: Probe<'_>) -> FoundSource<'_> {
    probe.is::<S>().map(|source| source as &mut dyn ReadSource)
}

/// `S`, boxed or not, in a buffer or not.
fn in_buffers<S: Write + Sink + 'static>(probe: Probe<'_>) -> FoundSink<'_> {
    bare_sink::<S>(probe)
        .or_else(bare_sink::<BufWriter<S>>)
        .or_else(bare_sink::<Box<S>>)
        .or_else(bare_sink::<BufWriter<Box<S>>>)
}

fn bare_sink<S: Write + Sink + 'static>(probe: Probe<'_>) -> FoundSink<'_> {
    probe.is::<S>().map(|sink| sink as &mut dyn WriteSink)
}
