//! The minimum rate of a source.

use std::time::Duration;

use tokio::time::Instant;
use zc_core::driver::{StepError, Watch};

use crate::flow::{Flow, Waits};

/// What the source of one direction has given while it was waited for.
#[derive(Debug)]
pub(crate) struct Rate {
    watch: Watch,
    /// How many bytes had been taken from it when it was last looked at.
    taken: u64,
    /// Since when it is waited for.
    since: Option<Instant>,
}

impl Rate {
    pub(crate) fn new((bytes, time): (u64, Duration), flow: &Flow) -> Option<Rate> {
        let watch = Watch::new(None, Some((bytes, time)))?;
        Some(Rate { watch, taken: taken(flow), since: None })
    }

    /// Takes note of what has been taken and how long it was waited for. When it is to be looked at again at the
    /// latest.
    ///
    /// # Errors
    ///
    /// `TimedOut` if that is too slow.
    pub(crate) fn look(&mut self, flow: &Flow, now: Instant) -> Result<Option<Instant>, StepError> {
        let taken = taken(flow);
        // What was in flight may have been taken out by the owner.
        self.watch.saw(taken.saturating_sub(self.taken));
        self.taken = taken;
        let waits = flow.waits() == Waits::ForSource;
        if let Some(since) = std::mem::replace(&mut self.since, waits.then_some(now)) {
            self.watch.judge(now.saturating_duration_since(since))?;
        }
        Ok(self.watch.until(now.into_std()).filter(|_| waits).map(Instant::from_std))
    }

    /// It is waited for no longer, until it is looked at again.
    pub(crate) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.watch.waited(now.saturating_duration_since(since));
        }
    }
}

fn taken(flow: &Flow) -> u64 {
    flow.delivered() + flow.in_flight() as u64
}
