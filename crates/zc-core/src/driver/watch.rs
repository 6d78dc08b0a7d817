//! When a blocking copy is to give up: the rule, without the waiting.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::StepError;
use crate::Side;

/// A copy's deadline, and the minimum rate of its source: how much of them is left.
///
/// It knows no clock: the time is handed in. Only time spent waiting for the source counts against the source: a peer
/// is not to blame for a slow disk, nor for a rate limit of our own.
#[derive(Debug)]
pub struct Watch {
    deadline: Option<Instant>,
    least: Option<Least>,
}

/// At least so many bytes in every so much waiting.
#[derive(Debug)]
struct Least {
    bytes: u64,
    every: Duration,
    got: u64,
    waited: Duration,
}

impl Watch {
    /// `None`: without end.
    pub fn new(deadline: Option<Instant>, min_rate: Option<(u64, Duration)>) -> Option<Self> {
        // No bytes are never too few. To judge that, a driver with no time between would wake up all the while.
        let least = min_rate.filter(|&(bytes, _)| bytes > 0);
        let least =
            least.map(|(bytes, every)| Least { bytes, every, got: 0, waited: Duration::ZERO });
        (deadline.is_some() || min_rate.is_some()).then_some(Watch { deadline, least })
    }

    /// When to give up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Fails if the deadline has passed; with a side, if that is what was waited for.
    ///
    /// # Errors
    ///
    /// `TimedOut`.
    pub fn check(&self, side: Option<Side>, now: Instant) -> Result<(), StepError> {
        match self.deadline {
            Some(deadline) if now >= deadline => {
                Err(timed_out(side, "the deadline has passed".into()))
            }
            _ => Ok(()),
        }
    }

    /// A step took `n` bytes.
    pub fn saw(&mut self, n: u64) {
        if let Some(least) = &mut self.least {
            least.got = least.got.saturating_add(n);
        }
    }

    /// The source was waited for, and has given something, which is not counted yet: judged with the next wait.
    pub fn waited(&mut self, time: Duration) {
        if let Some(least) = &mut self.least {
            least.waited = least.waited.saturating_add(time);
        }
    }

    /// When a wait for the source that begins `now` has to be judged.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let judged = self
            .least
            .as_ref()
            .and_then(|least| now.checked_add(least.every.saturating_sub(least.waited)));
        match (self.deadline, judged) {
            (Some(deadline), Some(judged)) => Some(deadline.min(judged)),
            (deadline, judged) => deadline.or(judged),
        }
    }

    /// The source was waited for so long.
    ///
    /// # Errors
    ///
    /// `TimedOut` if that completes a period in which it gave too little.
    pub fn judge(&mut self, waited: Duration) -> Result<(), StepError> {
        let Some(least) = &mut self.least else { return Ok(()) };
        least.waited = least.waited.saturating_add(waited);
        if least.waited < least.every {
            return Ok(());
        }
        if least.got < least.bytes {
            let Least { bytes, every, got, .. } = least;
            let what = format!("{got} bytes in {every:?} of waiting, of {bytes} at least");
            return Err(timed_out(Some(Side::Source), what));
        }
        (least.got, least.waited) = (0, Duration::ZERO);
        Ok(())
    }
}

fn timed_out(side: Option<Side>, what: String) -> StepError {
    StepError { side, syscall: "poll", error: io::Error::new(ErrorKind::TimedOut, what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn least(bytes: u64) -> Watch {
        let least = Least { bytes, every: 100 * MS, got: 0, waited: Duration::ZERO };
        Watch { deadline: None, least: Some(least) }
    }

    #[test]
    fn only_waiting_counts() {
        let mut watch = least(1000);
        // Miri takes minutes for a million.
        let times = if cfg!(miri) { 1_000 } else { 1_000_000 };
        for _ in 0..times {
            watch.judge(Duration::ZERO).unwrap();
        }
        watch.judge(99 * MS).unwrap();
        assert!(watch.judge(MS).is_err());
    }

    #[test]
    fn many_short_waits_are_as_bad_as_a_long_one() {
        let mut watch = least(101);
        let outcome = (0..100).try_for_each(|_| {
            watch.saw(1);
            watch.judge(MS)
        });
        assert_eq!(outcome.unwrap_err().error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn each_period_is_judged_by_itself() {
        let mut watch = least(100);
        for _ in 0..1000 {
            watch.saw(100);
            watch.judge(150 * MS).unwrap();
        }
        watch.saw(99);
        assert!(watch.judge(150 * MS).is_err());
    }

    #[test]
    fn a_rate_of_nothing_is_never_judged() {
        let mut watch = Watch::new(None, Some((0, Duration::ZERO))).expect("waits all the same");
        watch.judge(MS).unwrap();
        assert_eq!(watch.until(Instant::now()), None);
    }

    #[test]
    fn a_wait_ends_where_it_has_to_be_judged() {
        let now = Instant::now();
        let mut watch = least(100);
        watch.judge(30 * MS).unwrap();
        assert_eq!(watch.until(now), Some(now + 70 * MS));
        watch.deadline = Some(now + 50 * MS);
        assert_eq!(watch.until(now), Some(now + 50 * MS));
    }
}
