//! From a pipe to a pipe or to the null device, or from a file to a pipe, by one
//! [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html) call: nothing is ever in flight.
//!
//! One non-blocking pipe makes the whole splice non-blocking. A blocking pipe at the other end then
//! answers EAGAIN instead of waiting, and a copy that believes it spins (golang/go#75304). Where the two
//! ends differ in mode, a pipe of our own between them gives each the waiting it was set to.

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zc_core::End;

use super::{Answer, Outcome, failed, is_full, is_refusal, not_lent};
use crate::claim::{Claim, KnownEnd};
use crate::flight::Flight;
use crate::sys::{self, Syscall};

/// How many bytes to claim of the file even if the pipe has no room for them: a page.
const LEAST: u64 = 4096;

/// From a pipe.
#[inline(always)]
pub(crate) fn step(from: End<'_>, to: End<'_>, limit: u64) -> Answer {
    match sys::splice((from.fd.fd(), None), (to.fd.fd(), None), sys::at_most(limit)) {
        Ok(0) => Outcome::Nothing.into(),
        Ok(n) => Answer::moved(n as u64),
        Err(Errno::AGAIN) => blame(from, to).unwrap_or_else(Outcome::Refused).into(),
        Err(errno) if is_refusal(errno) => Outcome::Refused(errno).into(),
        Err(errno) => failed(None, Syscall::Splice, errno).into(),
    }
}

/// From a file to a pipe.
#[inline(never)]
pub(crate) fn step_from_file(
    flight: &mut Flight,
    from: End<'_>,
    to: End<'_>,
    limit: u64,
    known_end: &mut KnownEnd,
) -> Answer {
    // Blocking or not, the call ends where the pipe is full.
    let room = sys::room_in_pipe(to.fd.fd()).unwrap_or(LEAST);
    if room == 0 && is_full(to) {
        return Outcome::WantWrite.into();
    }
    let most = room.max(LEAST);
    let mut source = match Claim::of_source(from, limit.min(most), known_end) {
        Ok(claim) => claim,
        Err(outcome) => return outcome.into(),
    };
    let (from, offset) = source.at();
    let len = sys::at_most(source.len());
    let (moved, outcome) = match sys::splice((from, Some(offset)), (to.fd.fd(), None), len) {
        Ok(0) => (0, Outcome::Nothing),
        Ok(n) => (n as u64, Outcome::Moved { drained: false, full: false }),
        Err(errno) => (0, not_lent(to, Syscall::Splice, errno, is_refusal)),
    };
    source.moved(moved);
    Answer::from_claim((moved, moved), outcome, source, flight)
}

/// Which end said EAGAIN: for pipes poll knows it exactly. `Err`: an end in blocking mode, which this call does
/// not wait for.
fn blame(from: End<'_>, to: End<'_>) -> Result<Outcome, Errno> {
    let (from, to) = (from.fd.fd(), to.fd.fd());
    let source = sys::readiness(from, PollFlags::IN)?;
    let (end, outcome) = if source.is_empty() {
        (from, Outcome::WantRead)
    } else if !source.contains(PollFlags::IN) {
        // The source has ended: report that, even if the sink is full.
        return Ok(Outcome::Unclear);
    } else if !sys::is_ready(to, PollFlags::OUT)? {
        (to, Outcome::WantWrite)
    } else {
        // One of them has become ready since.
        return Ok(Outcome::Unclear);
    };
    let waits = !sys::flags(end)?.contains(OFlags::NONBLOCK);
    if waits { Err(Errno::AGAIN) } else { Ok(outcome) }
}
