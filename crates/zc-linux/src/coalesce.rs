//! Waiting a little so that small pieces arrive together.
//!
//! A sender of small writes wakes its receiver for each of them, and the receiver pays for a wake-up
//! and two calls to move a few hundred bytes. SO_RCVLOWAT makes poll(2) on a TCP socket sleep until
//! a number of bytes has arrived (or the end, or an error), and the poll's timeout bounds the delay.
//!
//! The option is set for the length of one poll and set back, so no way out of a copy leaves it
//! changed. The two calls cost nothing beside a batch of many pieces. (The kernel may enlarge the
//! receive buffer to hold a batch, unless SO_RCVBUF is set, and leaves it so.) The wait for the
//! *first* byte after a pause is left to the read that follows, which sees the option as its owner
//! set it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use zc_core::Source;
use zc_core::driver::{Bottom, Link, Reach, Step, walk_source};

use crate::patience::Watch;
use crate::sys::{self, Protocol};

/// How many bytes to wait for: half a read's worth, and small against a receive buffer.
const BATCH: u64 = 128 * 1024;

/// A source that brought at least this many bytes at once needs no waiting for more.
const ENOUGH: u64 = 32 * 1024;

/// Gathers small pieces, for one copy.
#[derive(Debug)]
pub(crate) struct Coalesce {
    max_delay: Duration,
    /// The descriptor that bytes come from now; each has a history of its own.
    at: Option<RawFd>,
    /// Whether it can be waited for; `None` until that matters.
    can_wait: Option<bool>,
    /// The last step took few bytes, so the next ones are worth waiting for.
    is_drained: bool,
}

impl Coalesce {
    pub(crate) fn new(max_delay: Duration) -> Self {
        Coalesce { max_delay, at: None, can_wait: None, is_drained: false }
    }

    /// A step was made, after [`gather`](Coalesce::gather) had looked.
    pub(crate) fn saw(&mut self, step: &Step) {
        if self.at.is_some() && step.taken > 0 {
            self.is_drained = step.taken < ENOUGH;
        }
    }

    /// Waits until a batch has arrived, or as many bytes as the limits let through if those are fewer, or the
    /// delay or the copy's patience is over. `true`: it has waited.
    pub(crate) fn gather(
        &mut self,
        source: &mut dyn Source,
        link: Link,
        mut watch: Option<&mut Watch>,
    ) -> bool {
        let (mut at, mut waited) = (None, false);
        let _ = walk_source(source, link, &mut |reach| {
            let Reach { bottom, limit, step_limit, .. } = reach;
            if let Bottom::Fd(end) = bottom {
                let fd = end.fd.fd();
                at = Some(fd.as_raw_fd());
                if self.at != at {
                    *self = Coalesce { at, ..Coalesce::new(self.max_delay) };
                }
                waited = self.is_drained
                    && self.can_wait(fd)
                    && self.gather_at(fd, limit.min(step_limit), watch.as_deref_mut());
            }
            0
        });
        self.at = at;
        waited
    }

    fn can_wait(&mut self, fd: BorrowedFd<'_>) -> bool {
        *self.can_wait.get_or_insert_with(|| can_be_waited_for(fd))
    }

    fn gather_at(&mut self, from: BorrowedFd<'_>, limit: u64, watch: Option<&mut Watch>) -> bool {
        // A delay too long for the clock has no deadline.
        let begun = Instant::now();
        let delayed = begun.checked_add(self.max_delay);
        let patient = watch.as_ref().and_then(|watch| watch.until(begun));
        let deadline = match (delayed, patient) {
            (Some(delayed), Some(patient)) => Some(delayed.min(patient)),
            (delayed, patient) => delayed.or(patient),
        };
        let batch = u32::try_from(limit.min(BATCH)).expect("a batch fits");
        // Asked for each time: its owner may set it while the copy goes on.
        let Ok(low_water) = sys::low_water(from) else { return false };
        if batch <= low_water || sys::set_low_water(from, batch).is_err() {
            return false;
        }
        // Ignore poll's result; the read reports any error.
        let _ = sys::wait_readable(from, deadline);
        if let Some(watch) = watch {
            watch.waited(begun.elapsed());
        }
        if !sys::insist(|| sys::set_low_water(from, low_water)) {
            self.can_wait = Some(false);
        }
        true
    }
}

/// Whether setting the source's SO_RCVLOWAT is of use: on a TCP socket in blocking mode.
fn can_be_waited_for(from: BorrowedFd<'_>) -> bool {
    sys::flags(from).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK))
        && sys::protocol(from) == Ok(Protocol::Tcp)
}
