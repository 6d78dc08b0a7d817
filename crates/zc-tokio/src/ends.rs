//! What a copy asks of its two ends.

use std::io;
use std::os::fd::RawFd;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Registered, Sink, Source, TokioIo};

/// Where a copy waits for its source.
///
/// The [`Source`] says which descriptor the next bytes come from; this says how to wait for it. A type that
/// owns a descriptor answers with its [`Registered`]; a wrapper asks what it wraps. With the default the
/// source is read by `poll_read`: always correct, never by the kernel alone.
///
/// ```
/// use std::os::fd::RawFd;
/// use zc_tokio::{ReadReady, Registered, Source, Upstream};
///
/// /// Counts what is read through it.
/// struct Metered<S> {
///     inner: S,
///     bytes: u64,
/// }
///
/// impl<Io, S: Source<Io>> Source<Io> for Metered<S> {
///     fn upstream(&mut self) -> Upstream<'_, Io> {
///         Upstream::through(&mut self.inner)
///     }
///     fn taken(&mut self, n: u64) {
///         self.bytes += n;
///     }
/// }
///
/// impl<S: ReadReady> ReadReady for Metered<S> {
///     fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
///         self.inner.read_ready(fd)
///     }
/// }
/// ```
pub trait ReadReady {
    /// The descriptor `fd`, if it is at the bottom of this source.
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        let _ = fd;
        None
    }

    /// Completes what the file below has in progress, and says whether it has read nothing ahead, so that the
    /// kernel may bypass it. `false`, the default: it may not. A wrapper asks what it wraps. Only asked for
    /// files.
    ///
    /// # Errors
    ///
    /// Those of what the file has in progress.
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        let _ = (cx, settling);
        Poll::Ready(Ok(false))
    }
}

/// Where a copy waits for its sink, as [`ReadReady`] is for its source.
pub trait WriteReady {
    /// The descriptor `fd`, if it is at the bottom of this sink.
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        let _ = fd;
        None
    }

    /// As [`ReadReady::settle_source`].
    ///
    /// # Errors
    ///
    /// Those of what the file has in progress.
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        let _ = (cx, settling);
        Poll::Ready(Ok(false))
    }
}

/// How far a file has settled.
#[derive(Debug, Default)]
pub struct Settling(#[cfg_attr(not(feature = "fs"), allow(dead_code))] pub(crate) bool);

/// A source of a copy: every type that is all of these is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of a zc-tokio copy",
    label = "lacks `AsyncRead`, `Source<TokioIo>`, `ReadReady` or `Unpin`",
    note = "a descriptor in non-blocking mode, whatever crate it is from, can be copied from as `zc_tokio::Fd`",
    note = "any `AsyncRead` can be copied from as `zc_tokio::Opaque(reader)`, always correct, never offloaded"
)]
pub trait AsyncSource: AsyncRead + Source<TokioIo> + ReadReady + Unpin {}

impl<T: AsyncRead + Source<TokioIo> + ReadReady + Unpin + ?Sized> AsyncSource for T {}

/// A sink of a copy: every type that is all of these is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink of a zc-tokio copy",
    label = "lacks `AsyncWrite`, `Sink<TokioIo>`, `WriteReady` or `Unpin`",
    note = "a descriptor in non-blocking mode, whatever crate it is from, can be copied into as `zc_tokio::Fd`",
    note = "any `AsyncWrite` can be copied into as `zc_tokio::Opaque(writer)`, always correct, never offloaded"
)]
pub trait AsyncSink: AsyncWrite + Sink<TokioIo> + WriteReady + Unpin {}

impl<T: AsyncWrite + Sink<TokioIo> + WriteReady + Unpin + ?Sized> AsyncSink for T {}

/// An end of a relay, which is both.
pub trait AsyncStream: AsyncSource + AsyncSink {}

impl<T: AsyncSource + AsyncSink + ?Sized> AsyncStream for T {}

macro_rules! forward {
    ($($ty:ty),*) => {$(
        impl<S: ReadReady + ?Sized> ReadReady for $ty {
            fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
                (**self).read_ready(fd)
            }
            fn settle_source(
                &mut self,
                cx: &mut Context<'_>,
                settling: &mut Settling,
            ) -> Poll<io::Result<bool>> {
                (**self).settle_source(cx, settling)
            }
        }
        impl<S: WriteReady + ?Sized> WriteReady for $ty {
            fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
                (**self).write_ready(fd)
            }
            fn settle_sink(
                &mut self,
                cx: &mut Context<'_>,
                settling: &mut Settling,
            ) -> Poll<io::Result<bool>> {
                (**self).settle_sink(cx, settling)
            }
        }
    )*};
}

forward!(&mut S, Box<S>);

/// Waits where what `get_ref` and `get_mut` give does.
macro_rules! ready_as_inner {
    ($($trait:ident::$method:ident, $settle:ident: [$($bound:ident)*] $ty:ident;)*) => {$(
        impl<T: $($bound +)* $trait> $trait for $ty<T> {
            fn $method(&self, fd: std::os::fd::RawFd) -> Option<$crate::Registered<'_>> {
                self.get_ref().$method(fd)
            }
            fn $settle(
                &mut self,
                cx: &mut std::task::Context<'_>,
                settling: &mut $crate::Settling,
            ) -> std::task::Poll<std::io::Result<bool>> {
                self.get_mut().$settle(cx, settling)
            }
        }
    )*};
}

pub(crate) use ready_as_inner;
