//! Where bytes come from.

use std::io::Read;
use std::time::Instant;

use crate::{End, PollFd};

/// Marks `Source` and `Sink` impls for types that implement std's `Read` and `Write`. It is their
/// default parameter.
#[derive(Debug)]
pub enum StdIo {}

/// A source of bytes that says how the kernel may take them past its own `Read`.
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
///
/// # The parameter
///
/// `Io` says by which `read` the type is read where the kernel cannot help: left out, by std's [`Read`].
/// It is there because of Rust's orphan rule. A crate for another kind of I/O, `AsyncRead` for example,
/// may implement this trait for foreign types only if one of its own types is among the trait's
/// parameters. A wrapper that says `impl<Io, S: Source<Io>> Source<Io> for Metered<S>` serves all of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not opted in as a source of a copy",
    label = "not a `Source`",
    note = "a type with a descriptor (`AsFd`), whatever crate it is from, can be copied from as `zc_std::Fd::new(it)?`",
    note = "any `Read` can be copied from as `zc_std::Opaque(reader)`, always correct, never offloaded",
    note = "a type of your own opts in with `impl Source for …`; a wrapper says `Upstream::through(&mut self.inner)`"
)]
pub trait Source<Io = StdIo> {
    /// Where this source's bytes come from, once [`buffered`](Source::buffered) is empty.
    ///
    /// Called before every step of a copy, so it should be cheap; it must not do I/O. Its answer may
    /// change whenever bytes are taken or read (a limit falls, a header has been read, the next file
    /// begins), and not in between.
    fn upstream(&mut self) -> Upstream<'_, Io> {
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

    /// The engine took `n` bytes through this layer without calling its `read`.
    ///
    /// Each layer is told; a wrapper does not forward it. Limits fall here, meters count here.
    fn taken(&mut self, n: u64) {
        let _ = n;
    }
}

/// A source that can also be read: what a trait object needs, and every type that is both has.
///
/// ```
/// use zc_core::ReadSource;
///
/// let mut sources: Vec<Box<dyn ReadSource>> = vec![Box::new(&b"abc"[..]), Box::new(std::io::empty())];
/// let mut out = Vec::new();
/// for source in &mut sources {
///     zc_core::generic::copy(source, &mut out)?;
/// }
/// assert_eq!(out, b"abc");
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub trait ReadSource: Read + Source {}

impl<S: Read + Source + ?Sized> ReadSource for S {}

/// Where a [`Source`]'s bytes come from.
pub struct Upstream<'a, Io = StdIo> {
    pub(crate) origin: Origin<'a, Io>,
    /// At most this many bytes may be taken; `u64::MAX` for no limit.
    pub(crate) limit: u64,
    /// At most this many bytes may be taken by the next step; `u32::MAX` for no limit. (No step takes as
    /// many.)
    pub(crate) step_limit: u32,
    /// Nothing may be taken before this time.
    pub(crate) not_before: Option<Instant>,
    /// Once it has ended, it never yields another byte.
    pub(crate) ends_for_good: bool,
}

pub(crate) enum Origin<'a, Io> {
    Opaque,
    Spent,
    Fd(End<'a>),
    Through(&'a mut (dyn Source<Io> + 'a)),
    Then(&'a mut (dyn Source<Io> + 'a), &'a mut (dyn Source<Io> + 'a)),
}

impl<Io> std::fmt::Debug for Upstream<'_, Io> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origin = match self.origin {
            Origin::Opaque => "Opaque",
            Origin::Spent => "Spent",
            Origin::Fd(_) => "Fd",
            Origin::Through(_) => "Through",
            Origin::Then(..) => "Then",
        };
        f.debug_struct("Upstream")
            .field("origin", &format_args!("{origin}"))
            .field("limit", &self.limit)
            .field("step_limit", &self.step_limit)
            .field("not_before", &self.not_before)
            .field("ends_for_good", &self.ends_for_good)
            .finish()
    }
}

impl<'a, Io> Upstream<'a, Io> {
    #[inline]
    fn new(origin: Origin<'a, Io>) -> Self {
        Upstream {
            origin,
            limit: u64::MAX,
            step_limit: u32::MAX,
            not_before: None,
            ends_for_good: false,
        }
    }

    /// Only `read` knows: the kernel may not bypass it.
    #[inline]
    pub fn opaque() -> Self {
        Self::new(Origin::Opaque)
    }

    /// A source that is all in memory: nothing comes after the [buffered](Source::buffered) bytes.
    #[inline]
    pub fn spent() -> Self {
        Self::new(Origin::Spent).ends_for_good()
    }

    /// A descriptor: reading from it is the same as calling `read`.
    #[inline]
    pub fn fd(fd: PollFd<'a>) -> Self {
        Self::new(Origin::Fd(fd.into()))
    }

    /// A file from `offset` on, in bytes, as pread(2) reads it: the file's own offset is neither used nor
    /// moved. The layer that says so moves `offset` on as bytes are [taken](Source::taken).
    #[inline]
    pub fn fd_at(fd: PollFd<'a>, offset: u64) -> Self {
        Self::new(Origin::Fd(End { fd, offset: Some(offset) }))
    }

    /// Another source, whose bytes pass through unchanged.
    #[inline]
    pub fn through<S: Source<Io>>(inner: &'a mut S) -> Self {
        Self::new(Origin::Through(inner))
    }

    /// All of `first`, then all of `second`.
    ///
    /// The kernel bypasses the chain only where `first` [ends for good](Upstream::ends_for_good). The
    /// chain knows whether its first half has ended; a copy that starts later does not.
    ///
    /// A copy counts the links that have ended in it. So a chain may drop one of them in its own `read`, or when the
    /// last bytes of that link are [taken](Source::taken); but not later, while its bytes bypass it.
    #[inline]
    pub fn then<A: Source<Io>, B: Source<Io>>(first: &'a mut A, second: &'a mut B) -> Self {
        Self::new(Origin::Then(first, second))
    }

    /// No more than `n` bytes of it.
    #[must_use]
    #[inline]
    pub fn limit(mut self, n: u64) -> Self {
        self.limit = self.limit.min(n);
        self
    }

    /// No more than `n` bytes by the next step, at least 1: half of a rate limit, of which
    /// [`not_before`](Upstream::not_before) is the other. See [`Pace`](crate::Pace).
    ///
    /// Unlike [`limit`](Upstream::limit) it does not make a copy a small one: the kernel moves its bytes from
    /// the first on. Set it beside a `not_before`, too, whose time may have come when the engine looks. A
    /// message is still taken whole.
    #[must_use]
    #[inline]
    pub fn step_limit(mut self, n: u64) -> Self {
        self.step_limit =
            u32::try_from(n.max(1)).map_or(self.step_limit, |n| n.min(self.step_limit));
        self
    }

    /// Nothing before `time`: a rate limit. A blocking copy sleeps until then.
    #[must_use]
    #[inline]
    pub fn not_before(mut self, time: Instant) -> Self {
        self.not_before = self.not_before.max(Some(time));
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
        fn upstream(&mut self) -> Upstream<'_, Io> {
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

impl<Io, S: Source<Io> + ?Sized> Source<Io> for &mut S {
    forward_source!();
}

impl<Io, S: Source<Io> + ?Sized> Source<Io> for Box<S> {
    forward_source!();
}
