//! Where bytes go to.

use std::io::Write;

use crate::{End, PollFd, StdIo};

/// A sink of bytes that says how the kernel may put them past its own `Write`.
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
///     fn delivered(&mut self, n: u64) {
///         self.bytes += n;
///     }
/// }
/// ```
///
/// Its parameter is that of [`Source`](crate::Source#the-parameter).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not opted in as a sink of a copy",
    label = "not a `Sink`",
    note = "a type with a descriptor (`AsFd`), whatever crate it is from, can be copied into as `zc_std::Fd::new(it)?`",
    note = "any `Write` can be copied into as `zc_std::Opaque(writer)`, always correct, never offloaded",
    note = "a type of your own opts in with `impl Sink for …`; a wrapper says `Downstream::through(&mut self.inner)`"
)]
pub trait Sink<Io = StdIo> {
    /// Where the bytes written to this sink go, once it holds none back.
    ///
    /// Called before every step of a copy, so it should be cheap; it must not do I/O.
    fn downstream(&mut self) -> Downstream<'_, Io> {
        Downstream::opaque()
    }

    /// The engine delivered `n` bytes through this layer without calling its `write`.
    ///
    /// Each layer is told; a wrapper does not forward it.
    fn delivered(&mut self, n: u64) {
        let _ = n;
    }
}

/// A sink that can also be written to: what a trait object needs, and every type that is both has.
///
/// ```
/// use zc_core::WriteSink;
///
/// let mut sink: Box<dyn WriteSink> = Box::new(std::io::sink());
/// assert_eq!(zc_core::generic::copy(&mut &b"abc"[..], &mut sink)?, 3);
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub trait WriteSink: Write + Sink {}

impl<S: Write + Sink + ?Sized> WriteSink for S {}

/// Where a [`Sink`]'s bytes go to.
pub struct Downstream<'a, Io = StdIo> {
    pub(crate) drain: Drain<'a, Io>,
    pub(crate) flush_first: bool,
    /// At most this many bytes may go into it; `u64::MAX` for no limit.
    pub(crate) limit: u64,
}

pub(crate) enum Drain<'a, Io> {
    Opaque,
    Nowhere,
    Fd(End<'a>),
    Through(&'a mut (dyn Sink<Io> + 'a)),
}

impl<Io> std::fmt::Debug for Downstream<'_, Io> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drain = match self.drain {
            Drain::Opaque => "Opaque",
            Drain::Nowhere => "Nowhere",
            Drain::Fd(_) => "Fd",
            Drain::Through(_) => "Through",
        };
        f.debug_struct("Downstream")
            .field("drain", &format_args!("{drain}"))
            .field("flush_first", &self.flush_first)
            .field("limit", &self.limit)
            .finish()
    }
}

impl<'a, Io> Downstream<'a, Io> {
    #[inline]
    fn new(drain: Drain<'a, Io>) -> Self {
        Downstream { drain, flush_first: false, limit: u64::MAX }
    }

    /// Only `write` knows: the kernel may not bypass it.
    #[inline]
    pub fn opaque() -> Self {
        Self::new(Drain::Opaque)
    }

    /// Nowhere: every byte is taken, and dropped, as by [`std::io::sink`]. So the kernel need not copy them.
    #[inline]
    pub fn nowhere() -> Self {
        Self::new(Drain::Nowhere)
    }

    /// A descriptor: writing to it is the same as calling `write`.
    #[inline]
    pub fn fd(fd: PollFd<'a>) -> Self {
        Self::new(Drain::Fd(fd.into()))
    }

    /// A file from `offset` on, in bytes, as pwrite(2) writes it: the file's own offset is neither used nor moved.
    /// The layer that says so moves `offset` on as bytes are [delivered](Sink::delivered). A copy into a file in
    /// append mode, which Linux would write at its end all the same, fails with `InvalidInput`.
    #[inline]
    pub fn fd_at(fd: PollFd<'a>, offset: u64) -> Self {
        Self::new(Drain::Fd(End { fd, offset: Some(offset) }))
    }

    /// Another sink, which bytes reach unchanged.
    #[inline]
    pub fn through<S: Sink<Io>>(inner: &'a mut S) -> Self {
        Self::new(Drain::Through(inner))
    }

    /// This layer may hold bytes back: the sink is flushed, from the top, before the kernel bypasses it.
    #[must_use]
    #[inline]
    pub fn flush_first(mut self) -> Self {
        self.flush_first = true;
        self
    }

    /// No more than `n` bytes into it: a quota, or the end of a range. `write` has to keep to it, too, and
    /// answer `Ok(0)` once it is reached.
    ///
    /// A copy takes no more from its source than fits. Then it reads one byte more. If there is one, the copy fails
    /// with `WriteZero`, as [`Write::write_all`] does, and the byte is in the error's residue. What a layer above
    /// [holds back](Downstream::flush_first) is flushed before the limit is looked at.
    #[must_use]
    #[inline]
    pub fn limit(mut self, n: u64) -> Self {
        self.limit = self.limit.min(n);
        self
    }
}

macro_rules! forward_sink {
    () => {
        #[inline]
        fn downstream(&mut self) -> Downstream<'_, Io> {
            (**self).downstream()
        }
        #[inline]
        fn delivered(&mut self, n: u64) {
            (**self).delivered(n);
        }
    };
}

impl<Io, S: Sink<Io> + ?Sized> Sink<Io> for &mut S {
    forward_sink!();
}

impl<Io, S: Sink<Io> + ?Sized> Sink<Io> for Box<S> {
    forward_sink!();
}
