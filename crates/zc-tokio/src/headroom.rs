//! How much to take at once, so that a direction whose sink stalls holds little.

use zc_core::PollFd;
use zc_core::driver::{Next, Step};

/// The most bytes that a direction holds whose sink has stalled. It takes this many at a time, unless the sink
/// has said that it has room for more.
pub(crate) const HELD: u64 = 64 * 1024;

/// How many bytes beyond a sink's room to take. They fill the sink, and the kernel says that a full one has room
/// again only once a third of it is free. Meanwhile the source's next bytes gather. What does not fit is copied
/// into memory for as long as that takes, so it is not [`HELD`].
const BEYOND: u64 = 24 * 1024;

/// What is known of a sink's room.
///
/// Bytes taken from a socket cannot be put back, so they must not be more than [`HELD`] beyond the sink's
/// room. To ask for that room takes a call, which is little beside a large piece and much beside a small
/// one. So it asks only while the source fills its pieces.
///
/// The room is memory. What goes through a pipe comes in pages, and little is around them: for the 256 pieces that
/// a pipe has at the most, 20 KiB.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    /// How many more bytes the sink is known to take.
    credit: u64,
    /// With how many bytes the piece that is being made is full.
    full: u32,
    /// Whether the last piece was full.
    is_bulk: bool,
    /// Whether the sink says what room it has, if it has been asked.
    counts: Option<bool>,
}

impl Headroom {
    /// How many bytes to take at most for the sink at `to`.
    pub(crate) fn most<'a>(&mut self, to: impl FnOnce() -> Option<PollFd<'a>>) -> u64 {
        let most = match self.is_bulk.then(to).flatten().and_then(|to| self.ask(to)) {
            Some(room) => {
                self.credit = room;
                room + BEYOND
            }
            None => self.credit.max(HELD),
        };
        self.full = most.min(HELD) as u32;
        most
    }

    fn ask(&mut self, to: PollFd<'_>) -> Option<u64> {
        if !to.is_socket() {
            return None;
        }
        let counts = || zc_linux::fd::counts_what_it_queues(to.fd()).unwrap_or(false);
        let counts = *self.counts.get_or_insert_with(counts);
        counts.then(|| zc_linux::fd::room(to.fd()).ok()).flatten()
    }

    /// Whether the next step may take much: its source fills its pieces, or has done so and the sink still has room.
    pub(crate) fn is_much(&self) -> bool {
        self.is_bulk || self.credit > HELD
    }

    /// Learns from a step.
    pub(crate) fn saw(&mut self, step: &Step) {
        self.credit = self.credit.saturating_sub(step.delivered);
        let is_full = step.taken >= u64::from(self.full);
        if step.full || matches!(step.next, Next::WantWrite) {
            self.credit = 0;
            // What its source does meanwhile is not known.
            self.is_bulk |= step.taken > 0 && is_full;
        } else if step.taken > 0 {
            self.is_bulk = is_full;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A poll that begins with such a step counts its time from the start.
    #[test]
    fn room_that_is_known_counts_also_after_a_short_piece() {
        let mut headroom =
            Headroom { credit: 4 * HELD, is_bulk: true, full: HELD as u32, counts: None };
        headroom.saw(&Step::moved(1, 1, Next::Again));
        assert!(!headroom.is_bulk && headroom.is_much());
        headroom.saw(&Step::moved(3 * HELD, 3 * HELD, Next::Again));
        headroom.saw(&Step::moved(1, 1, Next::Again));
        assert!(!headroom.is_much(), "what room there was is used up");
    }
}
