//! Which of two ways costs less, where that is not known for sure: between files, from sockets and pipes
//! into files, from pipes and Unix sockets into TCP, and from TCP to /dev/null.
//!
//! copy_file_range shares blocks for nothing on btrfs and copies page by page on ext4, where read/write
//! with a large buffer is faster (`docs/performance.md` has the figures). So the copy measures the
//! processor time that a few megabytes take each way, continues with the cheaper, and looks at the other
//! again from time to time.
//!
//! The measuring is noisy: other threads spoil caches, interrupts are charged to whoever happens to
//! run. Noise only ever adds, so a way is judged by the best of its last windows; and read/write, the
//! more wasteful one in all that is not measured here (caches, memory bandwidth), has to be clearly
//! cheaper.

use std::time::Duration;

use super::Way;
use crate::sys;

/// How many bytes to move one way before judging what they cost.
const WINDOW: u64 = 2 << 20;

/// A copy of fewer bytes than this ends before it has learned anything.
pub(crate) const WORTH_LEARNING: u64 = 2 * WINDOW;

/// How many bytes go by before the clock is first looked at: most copies have no more.
const WORTH_TIMING: u64 = 64 * 1024;

/// How many windows each way are measured before the first choice …
const FIRST_LOOKS: usize = 2;

/// … and how many are remembered.
const MEMORY: usize = 4;

/// Read/write has to cost less than this part of the other way.
const CLEARLY: f32 = 0.9;

/// A way that costs less than this, in nanoseconds per KiB, copies nothing: there is no better one
/// to find.
const FREE: f32 = 20.0;

/// After how many windows to look at the other way again: at first, and at the most. A look that
/// changes nothing doubles the distance to the next.
const LOOK_AGAIN: (u32, u32) = (16, 256);

/// What a way has cost lately, in nanoseconds per KiB.
#[derive(Debug, Default)]
struct Cost {
    windows: [f32; MEMORY],
    seen: usize,
}

impl Cost {
    fn add(&mut self, cost: f32) {
        self.windows[self.seen % MEMORY] = cost;
        self.seen += 1;
    }

    /// The least of those remembered; infinite while there are none.
    fn least(&self) -> f32 {
        let known = &self.windows[..self.seen.min(MEMORY)];
        known.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

/// What a copy has learned about the cost of its ways.
#[derive(Debug)]
pub(crate) struct Costs {
    way: Way,
    cost: [Cost; 2],
    /// The way that has proved the cheaper.
    choice: Way,
    /// Bytes moved, and the thread's processor time, since the window began.
    bytes: u64,
    since: Option<Duration>,
    /// How many windows until the next look at the other way, and how far that is apart now.
    look_in: u32,
    distance: u32,
    /// Whether the choice was made beforehand, and nothing measured speaks against it yet.
    assumed: bool,
}

impl Costs {
    /// Begins by trying both ways, the route's mechanism first.
    pub(crate) fn exploring() -> Self {
        Costs { assumed: false, ..Costs::assuming(Way::Offload) }
    }

    /// Begins with `way`, as the better one by all that is known.
    pub(crate) fn assuming(way: Way) -> Self {
        Costs {
            way,
            cost: <[Cost; 2]>::default(),
            choice: way,
            bytes: 0,
            since: None,
            look_in: LOOK_AGAIN.0,
            distance: LOOK_AGAIN.0,
            assumed: true,
        }
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    /// How many bytes may go this way before the next judgement.
    pub(crate) fn window_left(&self) -> u64 {
        let settled = self.is_free() || self.has_looked() && self.way == self.choice;
        if settled { u64::MAX } else { WINDOW.saturating_sub(self.bytes).max(1) }
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        self.bytes += n;
        let enough = if self.since.is_some() { WINDOW } else { WORTH_TIMING };
        if self.bytes >= enough {
            let now = sys::thread_time();
            if let (Some(since), Some(now)) = (self.since, now) {
                self.judge(now.saturating_sub(since));
            }
            // Where there is no clock nothing is judged, and still a window ends.
            (self.bytes, self.since) = (0, now);
        }
    }

    /// A window has ended, having taken `time`.
    fn judge(&mut self, time: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a few MiB at a time")]
        let measured = time.as_nanos() as f32 / (self.bytes as f32 / 1024.0);
        self.cost[self.way as usize].add(measured);
        if self.is_free() {
            return;
        }
        // Blocks that could have been shared were not; or a look at the other way has begun.
        self.assumed &= self.way == Way::ReadWrite;
        if !self.has_looked() {
            self.way = self.way.other();
            return;
        }
        let [offload, read_write] = [0, 1].map(|way| self.cost[way].least());
        let best = if read_write < CLEARLY * offload { Way::ReadWrite } else { Way::Offload };
        if best != self.choice {
            self.choice = best;
            self.distance = LOOK_AGAIN.0;
            self.look_in = self.distance;
        } else if self.way == self.choice {
            self.look_in -= 1;
            if self.look_in == 0 {
                self.distance = (self.distance * 2).min(LOOK_AGAIN.1);
                self.look_in = self.distance;
                self.way = self.way.other();
                return;
            }
        }
        self.way = self.choice;
    }

    /// Whether both ways have been measured well enough to choose, or need not be.
    fn has_looked(&self) -> bool {
        self.assumed || self.cost.iter().all(|cost| cost.seen >= FIRST_LOOKS)
    }

    /// Whether the route's mechanism moves bytes without copying them.
    fn is_free(&self) -> bool {
        self.cost[Way::Offload as usize].least() < FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends a window at a given cost, in nanoseconds per KiB.
    fn window(costs: &mut Costs, cost: u64) {
        costs.bytes = WINDOW;
        costs.judge(Duration::from_nanos(cost * 1024));
        costs.bytes = 0;
    }

    #[test]
    fn both_ways_are_measured_and_the_cheaper_one_kept() {
        for (offload, read_write, best) in [(100, 300, Way::Offload), (300, 100, Way::ReadWrite)] {
            let mut costs = Costs::exploring();
            let mut last = Vec::new();
            for _ in 0..100 {
                let cost = if costs.way() == Way::Offload { offload } else { read_write };
                window(&mut costs, cost);
                last.push(costs.way());
            }
            let good = last.iter().filter(|&&way| way == best).count();
            assert!(good >= 92, "{best:?} in {good} of 100 windows");
        }
    }

    #[test]
    fn an_assumption_holds_until_it_is_measured() {
        // Nothing can be shared, and it is so: one look at the other way, and a few more.
        let mut costs = Costs::assuming(Way::ReadWrite);
        let mut good = 0;
        for _ in 0..100 {
            assert!(good > 15 || costs.window_left() == u64::MAX);
            good += u32::from(costs.way() == Way::ReadWrite);
            let cost = if costs.way() == Way::Offload { 200 } else { 100 };
            window(&mut costs, cost);
        }
        assert!(good >= 94, "{good} of 100");
        // Blocks can be shared, and these were not.
        let mut costs = Costs::assuming(Way::Offload);
        assert_eq!(costs.window_left(), u64::MAX);
        for _ in 0..10 {
            let cost = if costs.way() == Way::Offload { 200 } else { 100 };
            window(&mut costs, cost);
        }
        assert_eq!(costs.way(), Way::ReadWrite);
    }

    #[test]
    fn a_change_of_costs_is_noticed() {
        let mut costs = Costs::exploring();
        for _ in 0..50 {
            let cost = if costs.way() == Way::Offload { 100 } else { 200 };
            window(&mut costs, cost);
        }
        assert_eq!(costs.way(), Way::Offload);
        for _ in 0..10 {
            let cost = if costs.way() == Way::Offload { 400 } else { 200 };
            window(&mut costs, cost);
        }
        assert_eq!(costs.way(), Way::ReadWrite);
    }

    #[test]
    fn noise_does_not_change_the_choice() {
        let mut costs = Costs::exploring();
        let mut noise = 1_u64;
        let mut good = 0;
        for _ in 0..1000 {
            // Anything from the true cost to four times as much.
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let factor = 100 + (noise >> 33) % 300;
            let cost = if costs.way() == Way::Offload { 60 } else { 140 };
            window(&mut costs, cost * factor / 100);
            good += u32::from(costs.way() == Way::Offload);
        }
        assert!(good >= 850, "spliced in {good} of 1000 windows");
    }

    #[test]
    fn what_copies_nothing_is_never_doubted() {
        let mut costs = Costs::exploring();
        for _ in 0..1000 {
            window(&mut costs, 1);
            assert_eq!(costs.way(), Way::Offload);
        }
        assert_eq!(costs.window_left(), u64::MAX);
    }
}
