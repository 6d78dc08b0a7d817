//! `dst.read_from(src)`.

use std::io::{self, Read};

use crate::Source;

/// A destination that reads all of a source into itself: Go's `io.ReaderFrom`.
///
/// `zc-std` implements it for std's types, where the kernel moves the bytes if it can. A
/// destination of your own implements it by passing the source on:
///
/// ```
/// use std::io::{self, Read};
/// use zc_core::{ReadFrom, Source};
///
/// struct Upload<W> {
///     file: W,
///     received: u64,
/// }
///
/// impl<By, W: ReadFrom<By>> ReadFrom<By> for Upload<W> {
///     fn read_from<S: Read + Source>(&mut self, source: S) -> io::Result<u64> {
///         let n = self.file.read_from(source)?;
///         self.received += n;
///         Ok(n)
///     }
/// }
/// ```
///
/// # The parameter
///
/// `By` says who carries out the copy, and is always inferred; a type of your own leaves it out
/// (`impl ReadFrom for Upload`). It is there because of Rust's orphan rule. This crate knows no
/// engine. `zc-std` may implement this trait for std's types only if one of its own types is among
/// the trait's parameters.
///
/// A function generic over destinations names it once, as with axum's `Handler`: `fn store<By>(to:
/// &mut impl ReadFrom<By>)`. Left out there, it silently means [`Custom`], and the function rejects
/// `File`. Generic code does better to take `W: Write + Sink` and call `zc_std::copy`, which has no
/// such parameter and accepts trait objects too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read from a source",
    label = "not a `ReadFrom`",
    note = "std's files, sockets and pipes can, with `use zc_std::ReadFrom`; a type of your own implements it by calling `self.file.read_from(source)`",
    note = "a function generic over destinations names the parameter: `fn f<By>(to: &mut impl ReadFrom<By>)`"
)]
pub trait ReadFrom<By = Custom> {
    /// Copies `source` into `self` until its end or its limit, and returns how many bytes moved.
    ///
    /// Blocks as the descriptors do: where one is in non-blocking mode, or has a timeout set, the
    /// copy stops with `WouldBlock`.
    ///
    /// # Errors
    ///
    /// The error holds a [`CopyError`](crate::CopyError) with the count so far and the bytes taken
    /// but not delivered; [`CopyError::from_io`](crate::CopyError::from_io) finds it. Its own
    /// `raw_os_error()` is `None`; the `CopyError` has the errno.
    fn read_from<S: Read + Source>(&mut self, source: S) -> io::Result<u64>;
}

/// Marks [`ReadFrom`] impls of types of your own. It is the default parameter.
#[derive(Debug)]
pub enum Custom {}

impl<By, W: ReadFrom<By> + ?Sized> ReadFrom<By> for &mut W {
    fn read_from<S: Read + Source>(&mut self, source: S) -> io::Result<u64> {
        (**self).read_from(source)
    }
}

impl<By, W: ReadFrom<By> + ?Sized> ReadFrom<By> for Box<W> {
    fn read_from<S: Read + Source>(&mut self, source: S) -> io::Result<u64> {
        (**self).read_from(source)
    }
}
