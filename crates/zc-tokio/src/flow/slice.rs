//! What one poll may use up, in bytes and in time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How much of its thread's time one direction may use before other tasks have theirs. The step that is being made
/// then is finished, and where it moves a MiB it takes longer than that.
const TIME: Duration = Duration::from_micros(375);

/// How many bytes the kernel moves between two looks at the clock, which cost a fifth of a microsecond each.
const UNCLOCKED: u64 = 64 * 1024;

/// How many such bytes one counts for that an end's own `poll_` method moves: it may do more with a byte than copy
/// it.
const BY_HAND: u64 = 8;

/// What a step counts for that moves no byte, so that a source of empty links or the like gives way, too.
const STEP: u64 = 256;

/// What is left for one poll.
///
/// What a MiB costs differs by a factor of ten, with its ends and with what else their sockets make the kernel do.
/// And a busy socket that is emptied costs half of one that is left with something. The sender of the latter goes on
/// each time that a read opens the window, and on the reading thread's time. So time limits a poll, and bytes do only
/// where the owner has said how many.
#[derive(Debug)]
pub(crate) struct Slice {
    bytes: u64,
    /// The last of the bytes is left: a small piece costs as many calls as a large one.
    least: u64,
    time: Duration,
    /// The thread's time when it was first looked at.
    since: Option<Duration>,
    unclocked: u64,
    is_over: bool,
}

impl Slice {
    /// This many bytes, and the time of one direction.
    pub(crate) fn new(bytes: u64) -> Slice {
        let least = (bytes / 8).min(UNCLOCKED);
        Slice { bytes, least, time: TIME, since: None, unclocked: 0, is_over: false }
    }

    /// For a direction that shares a poll with the other one, while both are busy.
    pub(crate) fn halved(self) -> Slice {
        Slice { time: self.time / 2, ..self }
    }

    /// Begins with the time now, for a direction that has much to do. (Others begin with the first look, since their
    /// polls are short, and many.)
    pub(super) fn start(&mut self) {
        self.since = Some(thread_time());
    }

    /// How many bytes are left.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Counts a step that has moved this many bytes.
    pub(super) fn used(&mut self, bytes: u64, is_by_hand: bool) {
        let bytes = bytes.max(STEP);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_over = self.bytes <= self.least;
        self.unclocked += if is_by_hand { bytes.saturating_mul(BY_HAND) } else { bytes };
        if self.unclocked >= UNCLOCKED && !self.is_over {
            self.unclocked = 0;
            let now = thread_time();
            self.is_over = now.saturating_sub(*self.since.get_or_insert(now)) >= self.time;
        }
    }
}

/// How long this thread has run. (That others ran meanwhile is no reason to give way.)
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // It begins at zero.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
