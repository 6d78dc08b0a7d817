//! Where bytes go to.

use std::io::Write;

use crate::PollFd;

/// `Write`, plus what the kernel needs to put bytes past it.
///
/// With the defaults a sink is simply written to. A type with a descriptor says
/// [`Downstream::fd`]; a wrapper that hands bytes on unchanged says [`Downstream::through`]; one
/// that holds bytes back adds [`flush_first`](Downstream::flush_first).
///
/// ```
/// use std::io::{self, Write};
/// use zc_core::{Downstream, Sink};
///
/// /// Counts what is written through it.
/// struct Metered<W> {
///     inner: W,
///     bytes: u64,
/// }
///
/// impl<W: Write> Write for Metered<W> {
///     fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
///         let n = self.inner.write(buf)?;
///         self.bytes += n as u64;
///         Ok(n)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         self.inner.flush()
///     }
/// }
///
/// impl<W: Sink> Sink for Metered<W> {
///     fn downstream(&mut self) -> Downstream<'_> {
///         Downstream::through(&mut self.inner)
///     }
///     fn given(&mut self, n: u64) {
///         self.bytes += n;
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not opted in as a sink of a copy",
    label = "not a `Sink`",
    note = "any `Write` can be copied into as `zc_std::Opaque(writer)`, always correct, never offloaded",
    note = "any descriptor, a datagram socket's too, can be copied into as `zc_std::Fd::new(owner)?`",
    note = "a type of your own opts in with `impl Sink for …`; a wrapper says `Downstream::through(&mut self.inner)`"
)]
pub trait Sink: Write {
    /// Where the bytes written to this sink go, once it holds none back.
    ///
    /// Called before every step of a copy, so it should be cheap; it must not do I/O.
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::opaque()
    }

    /// `n` bytes passed through this layer on their way downstream, without `write` being called.
    ///
    /// Each layer is told; a wrapper does not forward it.
    fn given(&mut self, n: u64) {
        let _ = n;
    }
}

/// Where a [`Sink`]'s bytes go to.
#[derive(Debug)]
pub struct Downstream<'a> {
    pub(crate) drain: Drain<'a>,
    pub(crate) flush_first: bool,
}

pub(crate) enum Drain<'a> {
    Opaque,
    Fd(PollFd<'a>),
    Through(&'a mut (dyn Sink + 'a)),
}

impl std::fmt::Debug for Drain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Drain::Opaque => "Opaque",
            Drain::Fd(_) => "Fd",
            Drain::Through(_) => "Through",
        })
    }
}

impl<'a> Downstream<'a> {
    #[inline]
    fn new(drain: Drain<'a>) -> Self {
        Downstream { drain, flush_first: false }
    }

    /// Only `write` knows: the kernel may not go past it.
    #[inline]
    pub fn opaque() -> Self {
        Self::new(Drain::Opaque)
    }

    /// A descriptor: writing to it is the same as calling `write`.
    #[inline]
    pub fn fd(fd: PollFd<'a>) -> Self {
        Self::new(Drain::Fd(fd))
    }

    /// Another sink, which bytes reach unchanged.
    #[inline]
    pub fn through<S: Sink>(inner: &'a mut S) -> Self {
        Self::new(Drain::Through(inner))
    }

    /// This layer may hold bytes back: its `flush` is called before the kernel goes past it.
    #[must_use]
    #[inline]
    pub fn flush_first(mut self) -> Self {
        self.flush_first = true;
        self
    }
}

macro_rules! forward_sink {
    () => {
        #[inline]
        fn downstream(&mut self) -> Downstream<'_> {
            (**self).downstream()
        }
        #[inline]
        fn given(&mut self, n: u64) {
            (**self).given(n);
        }
    };
}

impl<S: Sink + ?Sized> Sink for &mut S {
    forward_sink!();
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    forward_sink!();
}
