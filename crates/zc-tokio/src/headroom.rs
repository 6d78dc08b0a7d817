//! How much to take at once, so that a direction whose sink stalls holds little.

use zc_core::PollFd;
use zc_core::driver::{Next, Step};

/// The most bytes that a direction holds whose sink has stalled. It takes this many at a time, unless the sink
/// has said that it has room for more.
pub(crate) const HELD: u64 = 64 * 1024;

/// How many pieces must be delivered after a sink was full before it is asked for its room again.
const DOUBTS: u8 = 8;

/// What is known of a sink's room.
///
/// Bytes taken from a socket cannot be put back, so they must not be more than [`HELD`] beyond the sink's
/// room. To ask for that room takes two calls, which is little beside a large piece and much beside a small
/// one. So it asks only while the source fills its pieces.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    /// How many more bytes the sink is known to take.
    credit: u64,
    /// Whether the last piece was full.
    is_bulk: bool,
    doubts: u8,
}

impl Headroom {
    /// How many bytes to take at most for the sink at `to`.
    pub(crate) fn most<'a>(&mut self, to: impl FnOnce() -> Option<PollFd<'a>>) -> u64 {
        if self.credit < HELD
            && self.is_bulk
            && self.doubts == 0
            && let Some(to) = to().filter(PollFd::is_socket)
        {
            // A socket's buffer counts more than the bytes: half of it is safe.
            self.credit = zc_linux::fd::room(to.fd()).map_or(0, |room| room / 2);
        }
        self.credit.max(HELD)
    }

    /// Whether the next step may take much: its source fills its pieces, or has done so and the sink still has room.
    pub(crate) fn is_much(&self) -> bool {
        self.is_bulk || self.credit > HELD
    }

    /// Learns from a step.
    pub(crate) fn saw(&mut self, step: &Step) {
        self.credit = self.credit.saturating_sub(step.delivered);
        if step.full || matches!(step.next, Next::WantWrite) {
            *self = Headroom { credit: 0, is_bulk: false, doubts: DOUBTS };
        } else if step.taken > 0 {
            self.is_bulk = step.taken >= HELD;
            self.doubts -= u8::from(self.is_bulk && self.doubts > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A poll that begins with such a step counts its time from the start.
    #[test]
    fn room_that_is_known_counts_also_after_a_short_piece() {
        let mut headroom = Headroom { credit: 4 * HELD, is_bulk: true, doubts: 0 };
        headroom.saw(&Step::moved(1, 1, Next::Again));
        assert!(!headroom.is_bulk && headroom.is_much());
        headroom.saw(&Step::moved(3 * HELD, 3 * HELD, Next::Again));
        headroom.saw(&Step::moved(1, 1, Next::Again));
        assert!(!headroom.is_much(), "what room there was is used up");
    }
}
