//! Waiting a little so that small pieces arrive together.
//!
//! A sender of small writes wakes its receiver for each of them, and the receiver pays for a wake-up
//! and two calls to move a few hundred bytes. SO_RCVLOWAT makes poll(2) on a TCP socket sleep until
//! so many bytes have arrived (or the end, or an error), and the poll's timeout bounds the delay.
//!
//! The option is set for the length of one poll and set back, so no way out of a copy leaves it
//! changed; against a batch of many pieces the two calls are nothing. (What stays is a receive buffer
//! that has room for a batch: the kernel enlarges a smaller one whose size nobody has fixed, as it
//! would by itself for a faster sender.) The wait for the *first* byte after a pause is left
//! to the read that follows, which sees the option as its owner set it.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::sys;

/// How many bytes to wait for: half a read's worth, and small against a receive buffer.
const BATCH: u64 = 128 * 1024;

/// A source that brought at least this many bytes at once needs no waiting for more.
const ENOUGH: u64 = 32 * 1024;

/// Gathers small pieces, for one copy from one socket.
#[derive(Debug)]
pub(crate) struct Coalesce {
    max_delay: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been read yet.
    Fresh,
    /// This source cannot be waited for: not TCP, or in non-blocking mode.
    Useless,
    /// The last step took few bytes, so the next ones are worth waiting for.
    Drained,
    /// The last step took many bytes; more may be there already.
    Flowing,
}

impl Coalesce {
    pub(crate) fn new(max_delay: Duration) -> Self {
        Coalesce { max_delay, state: State::Fresh }
    }

    /// A step took `n` bytes from `from`.
    pub(crate) fn saw(&mut self, from: BorrowedFd<'_>, n: u64) {
        if self.state == State::Fresh && !can_be_waited_for(from) {
            self.state = State::Useless;
        }
        self.state = match (self.state, n) {
            (State::Useless, _) | (_, 0) => return,
            (_, 1..ENOUGH) => State::Drained,
            _ => State::Flowing,
        };
    }

    /// Waits until a batch has arrived, or `limit` bytes if those are fewer, or the delay is over.
    /// `true`: it has waited.
    pub(crate) fn gather(&mut self, from: BorrowedFd<'_>, limit: u64) -> bool {
        if self.state != State::Drained {
            return false;
        }
        // A delay too long for the clock has no deadline.
        let deadline = Instant::now().checked_add(self.max_delay);
        let batch = u32::try_from(limit.min(BATCH)).expect("a batch fits");
        // Asked for each time: its owner may set it while the copy goes on.
        let Ok(low_water) = sys::low_water(from) else { return false };
        if batch <= low_water || sys::set_low_water(from, batch).is_err() {
            return false;
        }
        // Whatever poll says, the read that follows says it better.
        let _ = sys::wait_readable(from, deadline);
        if !sys::insist(|| sys::set_low_water(from, low_water)) {
            self.state = State::Useless;
        }
        true
    }
}

/// Whether setting the source's SO_RCVLOWAT is of use: on a TCP socket in blocking mode.
fn can_be_waited_for(from: BorrowedFd<'_>) -> bool {
    sys::flags(from).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK)) && sys::is_tcp(from)
}
