//! The short way, for a copy that is one read and one write: a frame, a header, a small body.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use zc_core::{Held, Next, shallow};
use zc_linux::{SMALL, relay};

use crate::{CopyError, Sink, Source};

/// How far the short way led.
pub(crate) enum Outcome {
    /// To the copy's end, with this many bytes delivered.
    Done(u64),
    /// Not to the end. This many bytes were delivered, others may be held, and the long way takes over.
    Begun(u64),
    /// To an error. The bytes that were taken and not delivered are held.
    Failed(CopyError),
}

/// Reads once and writes once, if that is what the copy will come to: a small limit over a descriptor,
/// into a descriptor.
///
/// It does nothing that the long way would not do, and notifies the layers in the same order.
#[inline(always)]
pub(crate) fn copy<R: Source, W: Sink>(reader: &mut R, writer: &mut W, held: &mut Held) -> Outcome {
    let step = match (shallow::source(reader), shallow::sink(writer)) {
        (Some((from, limit)), Some(to)) if 0 < limit && limit <= SMALL => {
            relay(held, from, to, limit)
        }
        _ => return Outcome::Begun(0),
    };
    shallow::tell(reader, writer, step.taken, step.delivered);
    match step.next {
        Next::Again if held.is_empty() && is_used_up(reader) => Outcome::Done(step.delivered),
        Next::Again => Outcome::Begun(step.delivered),
        Next::Done => Outcome::Done(step.delivered),
        next => Outcome::Failed(zc_linux::stopped(next, step.delivered)),
    }
}

/// Whether the source's own limits let no more bytes through.
#[inline(always)]
fn is_used_up<R: Source>(reader: &mut R) -> bool {
    matches!(shallow::source(reader), Some((_, 0)))
}
