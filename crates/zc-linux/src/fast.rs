//! The fast path, for a copy that is one read and one write: a frame, a header, a small body.
//!
//! A `Take` over a socket into a file, again and again, is what most frames are, and virtual calls down the
//! layers and up again cost more than the frame's own. This sees one layer by its type, so that the
//! compiler sees through it; whatever lies deeper, or has bytes to go first, is left to the transfer. It does
//! nothing that a transfer would not do, and notifies the layers in the same order.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use std::io::{Read, Write};

use rustix::io::Errno;
use zc_core::driver::{Buffer, StepError, one_layer};
use zc_core::{CopyError, Side, Sink, Source};

use crate::backend::{Answer, Outcome, read_write};
use crate::transfer::plan::{self, SMALL};

/// How far the fast path led.
pub(crate) enum Way {
    /// To the copy's end, with this many bytes delivered.
    Done(u64),
    /// Not to the end. This many bytes were delivered, others may be in the buffer, and a transfer takes over.
    Begun(u64),
    /// To an error. The bytes that were taken and not delivered are in the buffer.
    Failed(CopyError),
}

/// Reads once and writes once, if that is what the copy will come to: a small limit over a descriptor,
/// into a descriptor.
#[inline(always)]
pub(crate) fn copy<R, W>(source: &mut R, sink: &mut W, buffer: &mut Buffer) -> Way
where
    R: Read + Source,
    W: Write + Sink,
{
    let (taken, given, is_all) = match (one_layer::source(source), one_layer::sink(sink)) {
        (Some((from, limit)), Some(to)) if 0 < limit && limit <= SMALL => {
            let taken = read_write::take(buffer, from, limit);
            // A file that has given less than was asked for has ended, as a rule. If it is being copied into
            // itself, what comes next is its own tail.
            let is_all = matches!(taken.outcome, Outcome::Moved { drained: true, .. })
                && !from.fd.is_socket()
                && !to.fd.is_socket()
                && plan::left_of_same_file(from, to) == Ok(Some(0));
            let given = match taken.outcome {
                Outcome::Moved { .. } => read_write::give(buffer, to),
                _ => Answer::moved(0),
            };
            (taken, given, is_all)
        }
        _ => return Way::Begun(0),
    };
    let moved = given.delivered;
    one_layer::tell(source, sink, taken.taken, moved);
    match (taken.outcome, given.outcome) {
        (Outcome::Nothing, _) => Way::Done(0),
        (Outcome::Moved { .. }, Outcome::Moved { .. }) => {
            let is_all = is_all || matches!(one_layer::source(source), Some((_, 0)));
            if is_all && buffer.is_empty() { Way::Done(moved) } else { Way::Begun(moved) }
        }
        (Outcome::Moved { .. }, stopped) | (stopped, _) => Way::Failed(error(stopped, moved)),
    }
}

#[cold]
fn error(outcome: Outcome, moved: u64) -> CopyError {
    let error = match outcome {
        Outcome::WantRead => StepError::at(Side::Source, "read", Errno::AGAIN),
        Outcome::WantWrite => StepError::at(Side::Sink, "write", Errno::AGAIN),
        Outcome::Failed(error) => error,
        _ => unreachable!("a read or a write says nothing else"),
    };
    error.into_copy_error(moved)
}
