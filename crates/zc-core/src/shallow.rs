//! Ends that lie shallow: a descriptor under one layer at the most.
//!
//! [`Inlet`](crate::Inlet) and [`Outlet`](crate::Outlet) go down through any number of layers, by
//! virtual calls. A `Take` over a socket into a file, again and again, is what most frames are, and
//! the calls cost more than the frame's own. These functions see the one layer by its type, so that
//! the compiler sees through it; whatever lies deeper, or has bytes to go first, is left to the
//! others.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//! use zc_core::{Held, generic, shallow};
//!
//! let (mut client, stream) = UnixStream::pair()?;
//! client.write_all(b"one frame, and more")?;
//!
//! let (mut source, mut sink) = ((&stream).take(9), std::fs::File::create("/dev/null")?);
//! let (from, limit) = shallow::source(&mut source).expect("one layer over a descriptor");
//! assert!(limit == 9 && from.is_socket() && shallow::sink(&mut sink).is_some());
//! // … an engine moves 9 bytes from descriptor to descriptor …
//! shallow::tell(&mut source, &mut sink, 9, 9);
//! assert_eq!(source.limit(), 0);
//! # Ok::<(), std::io::Error>(())
//! ```

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use crate::PollFd;
use crate::inlet::in_drop;
use crate::outlet::Given;
use crate::sink::{Downstream, Drain, Sink};
use crate::source::{Origin, Source, Upstream};

/// The descriptor that `source` comes down to, and how many bytes its limits let through; `None` if it
/// does not lie shallow or has bytes buffered.
#[inline(always)]
pub fn source<S: Source>(source: &mut S) -> Option<(PollFd<'_>, u64)> {
    if !source.buffered().is_empty() {
        return None;
    }
    let Upstream { origin, limit, .. } = source.upstream();
    match origin {
        Origin::Fd(fd) => Some((fd, limit)),
        Origin::Through(inner) if inner.buffered().is_empty() => {
            let Upstream { origin: Origin::Fd(fd), limit: own, .. } = inner.upstream() else {
                return None;
            };
            Some((fd, limit.min(own)))
        }
        _ => None,
    }
}

/// The descriptor that `sink` comes down to; `None` if there is a layer over it.
#[inline(always)]
pub fn sink<S: Sink>(sink: &mut S) -> Option<PollFd<'_>> {
    match sink.downstream() {
        Downstream { drain: Drain::Fd(fd), flush_first: false } => Some(fd),
        _ => None,
    }
}

/// `taken` bytes were taken at the bottom of a shallow source, and `given` of them delivered to a
/// shallow sink: tells every layer of both.
///
/// Every layer is told even if one of them panics.
#[inline(always)]
pub fn tell<R: Source, W: Sink>(source: &mut R, sink: &mut W, taken: u64, given: u64) {
    struct Taken<'a, S: Source + ?Sized>(&'a mut S, u64);
    impl<S: Source + ?Sized> Drop for Taken<'_, S> {
        #[inline(always)]
        fn drop(&mut self) {
            if self.1 > 0 {
                in_drop(|| self.0.taken(self.1));
            }
        }
    }

    // Dropped in the opposite order: the source's layers are told from the inside out, then the sink.
    let _given = Given(sink, given);
    let outer = Taken(source, taken);
    if let Origin::Through(inner) = outer.0.upstream().origin {
        drop(Taken(inner, taken));
    }
}
