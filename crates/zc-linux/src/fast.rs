//! The fast path, for a copy that is one read and one write: a frame, a header, a small body.
//!
//! Most frames are a `Take` over a socket into a file, again and again. For a small one, virtual calls
//! down the layers and up again would be a third of its cost. So this looks at one layer, by its type,
//! and the compiler inlines it. The transfer does what lies deeper or has buffered bytes. It does
//! nothing that a transfer would not do, and notifies the layers in the same order.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use std::io::{self, Read, Write};

use zc_core::driver::{Buffer, StepError, one_layer};
use zc_core::{CopyError, End, Side, Sink, Source};

use crate::backend::discard;
use crate::sys;
use crate::transfer::plan::{self, SMALL};

/// How far the fast path led.
pub(crate) enum FastOutcome {
    /// To the copy's end, with this many bytes delivered.
    Done(u64),
    /// Not to the end. This many bytes were delivered, others may be in the buffer, and a transfer takes over.
    Begun(u64),
    /// To the source's end, but not all of it is delivered: the rest is in the buffer, for a transfer that takes no more.
    Taken(u64),
    /// To an error. The bytes that were taken and not delivered are in the buffer.
    Failed(CopyError),
}

/// Reads once and writes once, if that is what the copy will come to: a small limit over a descriptor,
/// into a descriptor. (A sink with an offset of its own has to be looked at first, see `transfer::offsets`.)
#[inline(always)]
pub(crate) fn copy<R, W>(source: &mut R, sink: &mut W, buffer: &mut Buffer) -> FastOutcome
where
    R: Read + Source,
    W: Write + Sink,
{
    if one_layer::is_nowhere(sink) {
        return drop_bytes(source, sink, buffer);
    }
    let (read, wrote, is_all) = match (one_layer::source(source), one_layer::sink(sink)) {
        (Some((from, limit)), Some(to @ End { offset: None, .. }))
            if 0 < limit && limit <= SMALL =>
        {
            let read = buffer.fill(limit, |room| Ok(sys::read_end(from, room)?));
            // A file that gives less than was asked for has ended, as a rule. If it is being copied into
            // itself, what comes next is its own tail.
            let is_all = matches!(read, Ok((1.., true)))
                && !from.fd.is_socket()
                && !to.fd.is_socket()
                && plan::left_of_same_file(from, to) == Ok(Some(0));
            let wrote = match read {
                Ok((1.., _)) => buffer.drain(|bytes| Ok(sys::write_end(to, bytes)?)),
                _ => Ok(0),
            };
            (read, wrote, is_all)
        }
        _ => return FastOutcome::Begun(0),
    };
    let taken = read.as_ref().map_or(0, |&(n, _)| n as u64);
    let moved = wrote.as_ref().map_or(0, |&n| n as u64);
    one_layer::tell(source, sink, taken, moved);
    match (read, wrote) {
        (Err(error), _) => FastOutcome::Failed(stopped(Side::Source, "read", error, moved)),
        (_, Err(error)) => FastOutcome::Failed(stopped(Side::Sink, "write", error, moved)),
        (Ok((0, _)), _) => FastOutcome::Done(0),
        _ => {
            let is_all = is_all || matches!(one_layer::source(source), Some((_, 0)));
            match (is_all, buffer.is_empty()) {
                (true, true) => FastOutcome::Done(moved),
                (true, false) => FastOutcome::Taken(moved),
                (false, _) => FastOutcome::Begun(moved),
            }
        }
    }
}

/// Takes once, if there is nowhere for the bytes to go.
#[inline(always)]
fn drop_bytes<R, W>(source: &mut R, sink: &mut W, buffer: &mut Buffer) -> FastOutcome
where
    R: Read + Source,
    W: Write + Sink,
{
    let taken = match one_layer::source(source) {
        Some((from, limit)) if 0 < limit && limit <= SMALL => discard::once(buffer, from, limit),
        _ => return FastOutcome::Begun(0),
    };
    let moved = taken.as_ref().map_or(0, |&n| n as u64);
    one_layer::tell(source, sink, moved, moved);
    match taken {
        Err(error) => FastOutcome::Failed(error.into_copy_error(0)),
        Ok(0) => FastOutcome::Done(0),
        Ok(_) if matches!(one_layer::source(source), Some((_, 0))) => FastOutcome::Done(moved),
        Ok(_) => FastOutcome::Begun(moved),
    }
}

#[cold]
fn stopped(side: Side, syscall: &'static str, error: io::Error, moved: u64) -> CopyError {
    StepError::at(side, syscall, error).into_copy_error(moved)
}
