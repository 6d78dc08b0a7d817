//! Where bytes come from.

use std::io::Read;

use crate::PollFd;

/// `Read`, plus what the kernel needs to take bytes past it.
///
/// Every method has a default, and with the defaults a source is simply read: correct, never
/// offloaded. Three kinds of type say more:
///
/// - one that owns a descriptor: [`Upstream::fd`];
/// - a wrapper that hands on another source's bytes unchanged: [`Upstream::through`], which brings
///   along the descriptor, the buffers and the limits of all that is below;
/// - one that has read ahead: [`buffered`](Source::buffered) and
///   [`consume_buffered`](Source::consume_buffered).
///
/// A wrapper names the *source* it wraps, never that source's descriptor, and so cannot hide the
/// buffers and limits of what it wraps. What the types do not rule out (a wrapper with a buffer of
/// its own that it does not mention), `zc_core::conformance` catches in a test.
///
/// ```
/// use std::io::{self, Read};
/// use zc_core::{Source, Upstream};
///
/// /// Counts what is read through it.
/// struct Metered<S> {
///     inner: S,
///     bytes: u64,
/// }
///
/// impl<S: Read> Read for Metered<S> {
///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         let n = self.inner.read(buf)?;
///         self.bytes += n as u64;
///         Ok(n)
///     }
/// }
///
/// impl<S: Source> Source for Metered<S> {
///     fn upstream(&mut self) -> Upstream<'_> {
///         Upstream::through(&mut self.inner)
///     }
///     fn taken(&mut self, n: u64) {
///         self.bytes += n;
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not opted in as a source of a copy",
    label = "not a `Source`",
    note = "any `Read` can be copied from as `zc_std::Opaque(reader)`, always correct, never offloaded",
    note = "any descriptor, a datagram socket's too, can be copied from as `zc_std::Fd::new(owner)?`",
    note = "a type of your own opts in with `impl Source for …`; a wrapper says `Upstream::through(&mut self.inner)`"
)]
pub trait Source: Read {
    /// Where this source's bytes come from, once [`buffered`](Source::buffered) is empty.
    ///
    /// Called before every step of a copy, so it should be cheap; it must not do I/O. Its answer may
    /// change whenever bytes are taken or read (a limit falls, a header has been read, the next file
    /// begins), and not in between.
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::opaque()
    }

    /// Bytes that this layer itself has read ahead and not given out yet.
    ///
    /// They go out before anything is taken from upstream. Must not do I/O. Layers below answer for
    /// themselves.
    fn buffered(&self) -> &[u8] {
        &[]
    }

    /// The first `n` of the [`buffered`](Source::buffered) bytes went out; forget them.
    ///
    /// `n` is at most the number buffered, which must fall by exactly `n`: a copy checks it, and
    /// fails with `InvalidData` rather than send bytes twice.
    fn consume_buffered(&mut self, n: usize) {
        debug_assert_eq!(n, 0, "a source that buffers must implement consume_buffered");
    }

    /// `n` bytes passed through this layer on their way from upstream, without `read` being called.
    ///
    /// Each layer is told; a wrapper does not forward it. Limits fall here, meters count here.
    fn taken(&mut self, n: u64) {
        let _ = n;
    }
}

/// Where a [`Source`]'s bytes come from.
#[derive(Debug)]
pub struct Upstream<'a> {
    pub(crate) origin: Origin<'a>,
    /// At most this many bytes may be taken; `u64::MAX` for no limit.
    pub(crate) limit: u64,
    /// Once it has ended, it never yields another byte.
    pub(crate) ends_for_good: bool,
}

pub(crate) enum Origin<'a> {
    Opaque,
    Spent,
    Fd(PollFd<'a>),
    Through(&'a mut (dyn Source + 'a)),
    Then(&'a mut (dyn Source + 'a), &'a mut (dyn Source + 'a)),
}

impl std::fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Origin::Opaque => "Opaque",
            Origin::Spent => "Spent",
            Origin::Fd(_) => "Fd",
            Origin::Through(_) => "Through",
            Origin::Then(..) => "Then",
        })
    }
}

impl<'a> Upstream<'a> {
    #[inline]
    fn new(origin: Origin<'a>) -> Self {
        Upstream { origin, limit: u64::MAX, ends_for_good: false }
    }

    /// Only `read` knows: the kernel may not go past it.
    #[inline]
    pub fn opaque() -> Self {
        Self::new(Origin::Opaque)
    }

    /// Nothing comes after the buffered bytes: a source that is all in memory.
    #[inline]
    pub fn spent() -> Self {
        Self::new(Origin::Spent).ends_for_good()
    }

    /// A descriptor: reading from it is the same as calling `read`.
    #[inline]
    pub fn fd(fd: PollFd<'a>) -> Self {
        Self::new(Origin::Fd(fd))
    }

    /// Another source, whose bytes pass through unchanged.
    #[inline]
    pub fn through<S: Source>(inner: &'a mut S) -> Self {
        Self::new(Origin::Through(inner))
    }

    /// All of `first`, then all of `second`.
    ///
    /// The kernel goes past it only where `first` [ends for good](Upstream::ends_for_good): whoever
    /// chains them knows whether the first has ended already, but a copy that starts later cannot.
    #[inline]
    pub fn then<A: Source, B: Source>(first: &'a mut A, second: &'a mut B) -> Self {
        Self::new(Origin::Then(first, second))
    }

    /// No more than `n` bytes of it.
    #[must_use]
    #[inline]
    pub fn limit(mut self, n: u64) -> Self {
        self.limit = self.limit.min(n);
        self
    }

    /// Once it has ended it never yields another byte: true of a connected stream socket, and not of a
    /// file, which may grow.
    #[must_use]
    #[inline]
    pub fn ends_for_good(mut self) -> Self {
        self.ends_for_good = true;
        self
    }
}

macro_rules! forward_source {
    () => {
        #[inline]
        fn upstream(&mut self) -> Upstream<'_> {
            (**self).upstream()
        }
        #[inline]
        fn buffered(&self) -> &[u8] {
            (**self).buffered()
        }
        #[inline]
        fn consume_buffered(&mut self, n: usize) {
            (**self).consume_buffered(n);
        }
        #[inline]
        fn taken(&mut self, n: u64) {
            (**self).taken(n);
        }
    };
}

impl<S: Source + ?Sized> Source for &mut S {
    forward_source!();
}

impl<S: Source + ?Sized> Source for Box<S> {
    forward_source!();
}
