//! Ends that lie under one layer at the most: a descriptor, or a `Take` of one.
//!
//! [`walk_source`](super::walk_source) goes down through any number of layers, by virtual calls. These
//! functions see one layer by its type, for an engine to which a frame of a few bytes matters.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//! use zc_core::driver::one_layer;
//!
//! let (mut client, stream) = UnixStream::pair()?;
//! client.write_all(b"one frame, and more")?;
//!
//! let (mut source, mut sink) = ((&stream).take(9), std::fs::File::create("/dev/null")?);
//! let (from, limit) = one_layer::source(&mut source).expect("one layer over a descriptor");
//! assert!(limit == 9 && from.fd.is_socket() && one_layer::sink(&mut sink).is_some());
//! // … an engine moves 9 bytes from descriptor to descriptor …
//! one_layer::tell(&mut source, &mut sink, 9, 9);
//! assert_eq!(source.limit(), 0);
//! # Ok::<(), std::io::Error>(())
//! ```

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use super::in_drop;
use crate::End;
use crate::sink::{Downstream, Drain, Sink};
use crate::source::{Origin, Source, Upstream};

/// The descriptor that `source` comes down to, and how many bytes its limits let through; `None` if there
/// are more layers, bytes buffered, or a rate to keep to.
#[inline(always)]
pub fn source<S: Source>(source: &mut S) -> Option<(End<'_>, u64)> {
    if !source.buffered().is_empty() {
        return None;
    }
    let Upstream { origin, limit, step_limit: u32::MAX, not_before: None, .. } = source.upstream()
    else {
        return None;
    };
    match origin {
        Origin::Fd(end) => Some((end, limit)),
        Origin::Through(inner) if inner.buffered().is_empty() => {
            let Upstream {
                origin: Origin::Fd(end),
                limit: own,
                step_limit: u32::MAX,
                not_before: None,
                ..
            } = inner.upstream()
            else {
                return None;
            };
            Some((end, limit.min(own)))
        }
        _ => None,
    }
}

/// The descriptor that `sink` comes down to; `None` if there is a layer over it, or a limit.
#[inline(always)]
pub fn sink<S: Sink>(sink: &mut S) -> Option<End<'_>> {
    match sink.downstream() {
        Downstream { drain: Drain::Fd(end), flush_first: false, limit: u64::MAX } => Some(end),
        _ => None,
    }
}

/// Whether `sink` is nothing but a place where bytes are dropped ([`Downstream::nowhere`]).
#[inline(always)]
pub fn is_nowhere<S: Sink>(sink: &mut S) -> bool {
    matches!(
        sink.downstream(),
        Downstream { drain: Drain::Nowhere, flush_first: false, limit: u64::MAX }
    )
}

/// `taken` bytes were taken at the bottom of such a source, and `delivered` of them delivered to such a
/// sink: tells every layer of both.
///
/// Every layer is told even if one of them panics.
#[inline(always)]
pub fn tell<R: Source, W: Sink>(source: &mut R, sink: &mut W, taken: u64, delivered: u64) {
    struct Taken<'a, S: Source + ?Sized>(&'a mut S, u64);
    impl<S: Source + ?Sized> Drop for Taken<'_, S> {
        #[inline(always)]
        fn drop(&mut self) {
            if self.1 > 0 {
                in_drop(|| self.0.taken(self.1));
            }
        }
    }
    struct Given<'a, S: Sink + ?Sized>(&'a mut S, u64);
    impl<S: Sink + ?Sized> Drop for Given<'_, S> {
        #[inline(always)]
        fn drop(&mut self) {
            if self.1 > 0 {
                in_drop(|| self.0.delivered(self.1));
            }
        }
    }

    // Dropped in the opposite order: the source's layers are told from the inside out, then the sink.
    let _given = Given(sink, delivered);
    let outer = Taken(source, taken);
    if let Origin::Through(inner) = outer.0.upstream().origin {
        drop(Taken(inner, taken));
    }
}
