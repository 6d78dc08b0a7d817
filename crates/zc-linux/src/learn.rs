//! Which way of moving bytes is the cheapest here, learned from what the calls yield and cost.
//!
//! No choice wins everywhere. Every segment that arrived takes a slot of the pipe, so a sender of
//! small pieces makes splice dear; a read copies every byte, so a sender of large ones makes read
//! dear; copy_file_range shares blocks for nothing on btrfs and copies page by page on ext4, where
//! read/write with a large buffer is faster (`docs/performance.md` has the figures). So a copy
//! measures the processor time that its first mechanism takes for a megabyte, then what read/write
//! takes for one, goes on with the cheaper, and looks again from time to time.
//!
//! A copy from a socket begins with a read, and stays with reads until one brings a good piece. That
//! costs a bulk sender nothing, spares a short message the pipe, and means that a connection that
//! waits for its first byte holds no pipe.

use std::time::Duration;

use crate::sys;

/// A read from a socket that brings this many bytes makes splicing worth a try.
const RICH: u64 = 16 * 1024;

/// A splice that brings fewer than this many bytes was not worth it …
const POOR: u64 = 8 * 1024;

/// … and this many of them in a row send the copy back to reading.
const PATIENCE: u8 = 2;

/// How many bytes to move one way before judging what they cost.
pub(crate) const WINDOW: u64 = 1 << 20;

/// What costs less than this, in nanoseconds per KiB, copies nothing: nobody needs to look for better.
const FREE: f64 = 20.0;

/// After how many windows to look at the other way again: at first, and at the most. A look that
/// changes nothing doubles the distance to the next.
const LOOK_AGAIN: (u32, u32) = (16, 256);

/// Two ways to move bytes between the ends of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The route's current mechanism.
    Offload,
    /// Read and write.
    ReadWrite,
}

impl Way {
    fn other(self) -> Way {
        match self {
            Way::Offload => Way::ReadWrite,
            Way::ReadWrite => Way::Offload,
        }
    }
}

/// What a copy has learned about its ends.
#[derive(Debug)]
pub(crate) struct Learn {
    way: Way,
    /// Whether calls are being timed: on a socket, only once it has yielded something.
    timing: bool,
    poor_in_a_row: u8,
    /// Nanoseconds per KiB, each way, as far as known.
    cost: [Option<f64>; 2],
    /// Bytes moved, and the thread's processor time, since the window began.
    bytes: u64,
    since: Option<Duration>,
    /// How many windows until the next look at the other way, and how far that is apart now.
    look_in: u32,
    distance: u32,
}

impl Learn {
    /// Begins with the route's mechanism.
    pub(crate) fn offloading() -> Self {
        Learn {
            way: Way::Offload,
            timing: true,
            poor_in_a_row: 0,
            cost: [None; 2],
            bytes: 0,
            since: None,
            look_in: 0,
            distance: LOOK_AGAIN.0,
        }
    }

    /// Begins with a read.
    pub(crate) fn reading() -> Self {
        Learn { way: Way::ReadWrite, timing: false, ..Learn::offloading() }
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// How many bytes may go this way before the next judgement.
    pub(crate) fn window_left(&self) -> u64 {
        let settled = self.cost.iter().all(Option::is_some) || self.is_free();
        if settled { u64::MAX } else { WINDOW.saturating_sub(self.bytes).max(1) }
    }

    /// A step from a socket went the current way and took `n` bytes.
    pub(crate) fn saw_socket(&mut self, n: u64) {
        match self.way {
            Way::ReadWrite if !self.timing => {
                if n >= RICH {
                    *self = Learn { cost: self.cost, ..Learn::offloading() };
                }
                return;
            }
            Way::Offload if n > 0 && n < POOR => {
                self.poor_in_a_row += 1;
                if self.poor_in_a_row >= PATIENCE {
                    *self = Learn { cost: self.cost, ..Learn::reading() };
                    return;
                }
            }
            _ => self.poor_in_a_row = 0,
        }
        self.saw(n);
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        // The first step of a copy is not timed: most copies have no second megabyte.
        let Some(since) = self.since else {
            self.since = sys::thread_time();
            return;
        };
        self.bytes += n;
        if self.bytes >= WINDOW
            && let Some(now) = sys::thread_time()
        {
            self.judge(now.saturating_sub(since));
            self.bytes = 0;
            self.since = Some(now);
        }
    }

    /// A window has ended, having taken `time`.
    fn judge(&mut self, time: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a few MiB at a time")]
        let measured = time.as_nanos() as f64 / (self.bytes as f64 / 1024.0);
        let cost = &mut self.cost[self.way as usize];
        *cost = Some(cost.map_or(measured, |known| (known + measured) / 2.0));

        if self.is_free() {
            return;
        }
        let (here, there) = (self.cost[self.way as usize], self.cost[self.way.other() as usize]);
        let Some((here, there)) = here.zip(there) else {
            self.way = self.way.other();
            return;
        };
        if self.look_in == 0 {
            // This window was the look.
            let changed = here < there;
            self.distance =
                if changed { LOOK_AGAIN.0 } else { (self.distance * 2).min(LOOK_AGAIN.1) };
            self.look_in = self.distance;
            if !changed {
                self.way = self.way.other();
            }
        } else {
            self.look_in -= 1;
            if self.look_in == 0 || there < here {
                self.look_in = 0;
                self.way = self.way.other();
            }
        }
    }

    /// Whether the route's mechanism moves bytes without copying them.
    fn is_free(&self) -> bool {
        self.cost[Way::Offload as usize].is_some_and(|cost| cost < FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends a window at a given cost, in nanoseconds per KiB.
    fn window(learn: &mut Learn, cost: u64) {
        learn.bytes = WINDOW;
        learn.judge(Duration::from_nanos(cost * 1024));
        learn.bytes = 0;
    }

    #[test]
    fn both_ways_are_measured_and_the_cheaper_one_kept() {
        for (offload, read_write, best) in [(100, 300, Way::Offload), (300, 100, Way::ReadWrite)] {
            let mut learn = Learn::offloading();
            let mut last = Vec::new();
            for _ in 0..100 {
                let cost = if learn.way() == Way::Offload { offload } else { read_write };
                window(&mut learn, cost);
                last.push(learn.way());
            }
            let good = last.iter().filter(|&&way| way == best).count();
            assert!(good >= 94, "{best:?} in {good} of 100 windows");
        }
    }

    #[test]
    fn a_change_of_costs_is_noticed() {
        let mut learn = Learn::offloading();
        for _ in 0..50 {
            let cost = if learn.way() == Way::Offload { 100 } else { 200 };
            window(&mut learn, cost);
        }
        assert_eq!(learn.way(), Way::Offload);
        for _ in 0..10 {
            let cost = if learn.way() == Way::Offload { 400 } else { 200 };
            window(&mut learn, cost);
        }
        assert_eq!(learn.way(), Way::ReadWrite);
    }

    #[test]
    fn what_copies_nothing_is_never_doubted() {
        let mut learn = Learn::offloading();
        for _ in 0..1000 {
            window(&mut learn, 1);
            assert_eq!(learn.way(), Way::Offload);
        }
        assert_eq!(learn.window_left(), u64::MAX);
    }

    #[test]
    fn a_socket_of_small_pieces_is_never_spliced() {
        let mut learn = Learn::reading();
        for _ in 0..10_000 {
            learn.saw_socket(RICH - 1);
            assert_eq!(learn.way(), Way::ReadWrite);
        }
        learn.saw_socket(RICH);
        assert_eq!(learn.way(), Way::Offload);
        learn.saw_socket(POOR - 1);
        assert_eq!(learn.way(), Way::Offload, "one poor splice is nothing");
        learn.saw_socket(POOR - 1);
        assert_eq!(learn.way(), Way::ReadWrite);
    }
}
