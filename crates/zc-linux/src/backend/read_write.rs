//! Anything to anything, by [read(2)](https://man7.org/linux/man-pages/man2/read.2.html) and
//! [write(2)](https://man7.org/linux/man-pages/man2/write.2.html) through memory. On what is known to be a
//! socket recv(2) and send(2) stand in for them, and pread(2) and pwrite(2) where an offset is given.

// `inline(always)` here: see `fast`.

use std::io;

use rustix::io::Errno;
use zc_core::driver::{Buffer, StepError};
use zc_core::{End, Side};

use super::{Answer, Outcome};
use crate::sys;

/// Reads once, at most `limit` bytes, into `buffer`. [`Outcome::Nothing`] is the end here, or a limit of 0.
#[inline(always)]
pub(crate) fn take(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    took(buffer.fill(limit, |room| Ok(sys::read_end(from, room)?)))
}

/// The same, but answers [`Outcome::WantRead`] rather than wait for a socket.
#[cold]
pub(crate) fn take_what_is_there(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    took(buffer.fill(limit, |room| Ok(sys::read_what_is_there(from.fd.fd(), room)?)))
}

/// The same, and looks whether there is more behind: drained means that the socket has said so.
pub(crate) fn take_and_look(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    let mut is_empty = false;
    let filled = buffer.fill(limit, |room| {
        let (n, nothing_behind) = sys::read_and_look(from.fd.fd(), room)?;
        is_empty = nothing_behind;
        Ok(n)
    });
    took(filled.map(|(n, _)| (n, is_empty)))
}

/// The same, of one message. The kernel drops the end of one that is too long. If `limit` would have let it through, the
/// copy fails, with what there is of it in flight.
#[cold]
pub(crate) fn take_message(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    let mut is_cut = false;
    let filled = buffer.fill(limit, |room| {
        let (n, is_longer) = sys::read_message(from.fd.fd(), room)?;
        is_cut = is_longer && (room.len() as u64) < limit;
        Ok(n)
    });
    let answer = took(filled);
    if is_cut { cut(answer.taken) } else { answer }
}

/// What a read comes to that has taken so many bytes of a message, and not all of it.
#[cold]
pub(crate) fn cut(taken: u64) -> Answer {
    Answer::took(taken, Outcome::failed(StepError::at(Side::Source, "read", Errno::MSGSIZE)))
}

/// Writes once from `buffer`.
#[inline(always)]
pub(crate) fn give(buffer: &mut Buffer, to: End<'_>) -> Answer {
    let offered = buffer.len();
    gave(buffer.drain(|bytes| Ok(sys::write_end(to, bytes)?)), offered)
}

/// What a read comes to.
#[inline(always)]
pub(crate) fn took(answer: io::Result<(usize, bool)>) -> Answer {
    match answer {
        Ok((0, _)) => Outcome::Nothing.into(),
        Ok((n, drained)) => Answer::took(n as u64, Outcome::Moved { drained, full: false }),
        Err(error) => stopped(error, Side::Source).into(),
    }
}

/// What a write of `offered` bytes comes to.
#[inline(always)]
pub(crate) fn gave(answer: io::Result<usize>, offered: usize) -> Answer {
    match answer {
        Ok(n) => Answer::gave(n as u64, Outcome::Moved { drained: false, full: n < offered }),
        Err(error) => stopped(error, Side::Sink).into(),
    }
}

#[cold]
fn stopped(error: io::Error, side: Side) -> Outcome {
    let would_block = error.kind() == io::ErrorKind::WouldBlock;
    match side {
        Side::Source if would_block => Outcome::WantRead,
        Side::Sink if would_block => Outcome::WantWrite,
        Side::Source => Outcome::failed(StepError::at(side, "read", error)),
        Side::Sink => Outcome::failed(StepError::at(side, "write", error)),
    }
}
