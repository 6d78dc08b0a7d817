//! File to socket or to the null device, by [sendfile(2)](https://man7.org/linux/man-pages/man2/sendfile.2.html).
//!
//! It lends the page cache's pages instead of copying them: until the peer has read them, a write to the
//! file changes them.

use zc_core::End;

use super::{Answer, Outcome, is_full, is_refusal, is_refusal_at_socket, not_lent};
use crate::claim::{Claim, KnownEnd};
use crate::flight::Flight;
use crate::kind::Kind;
use crate::sys::{self, Syscall};

/// How many bytes to claim of the file even if the socket has no room for them.
pub(crate) const LEAST: u64 = 64 * 1024;

/// `waits_for_room`: the sink is in blocking mode, as far as is known. `known_end`: how far the source is known
/// to go. A request for more than that makes sendfile hold back the last segment, in expectation of more: for
/// up to 200 ms in kernels 4.1 to 6.4. (6.18 takes a tenth longer.)
#[inline(never)]
pub(crate) fn step(
    flight: &mut Flight,
    from: End<'_>,
    (to, kind): (End<'_>, Kind),
    limit: u64,
    waits_for_room: bool,
    known_end: &mut KnownEnd,
) -> Answer {
    // In blocking mode the call ends when all is sent. Else it sends what there is room for, and what it does
    // not send of its claim has to be read.
    let room = if waits_for_room { u64::MAX } else { sys::room(to.fd.fd()).unwrap_or(LEAST) };
    if room == 0 && is_full(to) {
        return Outcome::WantWrite.into();
    }
    let most = room.max(LEAST);
    let mut source = match Claim::of_source(from, limit.min(most), known_end) {
        Ok(claim) => claim,
        Err(outcome) => return outcome.into(),
    };
    let asked = source.len();
    let is_refusal = if kind.is_socket() { is_refusal_at_socket } else { is_refusal };
    let (moved, outcome) = match sys::sendfile(source.at(), to.fd.fd(), sys::at_most(asked)) {
        Ok(0) => (0, Outcome::Nothing),
        // Unless a signal came, what was not sent did not fit.
        Ok(n) if (n as u64) < asked => (n as u64, Outcome::Moved { drained: false, full: true }),
        // It took all that it had room for. To ask now costs less than another step that finds it full.
        Ok(n) => (n as u64, Outcome::Moved { drained: false, full: asked == room && is_full(to) }),
        Err(errno) => (0, not_lent(to, Syscall::Sendfile, errno, is_refusal)),
    };
    source.moved(moved);
    Answer::from_claim((moved, moved), outcome, source, flight)
}
