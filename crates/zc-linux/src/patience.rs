//! How long a blocking copy goes on, and how slow its source may be.
//!
//! No call that moves bytes takes a timeout. So the copy waits in a poll(2) before it, in either mode of
//! the descriptor. Only time spent waiting for the source counts against it: a peer is not to blame for a
//! slow disk, nor for a rate limit of our own.

use std::cell::Cell;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use zc_core::driver::{Bottom, Link, Reach, StepError, walk_sink, walk_source};
use zc_core::{Side, Sink, Source};

use crate::sys;

/// How long a blocking copy goes on, and how slow its source may be; by default without end.
///
/// With either of them a copy waits in poll(2), also on descriptors in non-blocking mode, and does not
/// stop with `WouldBlock`. For a sink in blocking mode the call that writes to it waits.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Patience {
    /// When to give up.
    pub deadline: Option<Instant>,
    /// The minimum rate: this many bytes in every such time spent waiting for the source.
    pub min_rate: Option<(u64, Duration)>,
}

/// The patience of one copy, and how much of it is left.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Option<Instant>,
    least: Option<Least>,
}

/// The minimum rate.
#[derive(Debug)]
struct Least {
    bytes: u64,
    every: Duration,
    got: u64,
    waited: Duration,
}

impl Watch {
    /// `None`: without end.
    pub(crate) fn new(patience: &Patience) -> Option<Self> {
        let Patience { deadline, min_rate } = *patience;
        let least =
            min_rate.map(|(bytes, every)| Least { bytes, every, got: 0, waited: Duration::ZERO });
        (deadline.is_some() || least.is_some()).then_some(Watch { deadline, least })
    }

    /// Fails if the deadline has passed.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(timed_out(None, "the deadline has passed".into()))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the source has something, if a call on it could wait. The step tells of errors.
    pub(crate) fn wait_for_source(
        &mut self,
        source: &mut dyn Source,
        link: Link,
    ) -> Result<(), StepError> {
        let mut outcome = Ok(());
        let walked = walk_source(source, link, &mut |reach| {
            let Reach { bottom, limit, not_before, .. } = reach;
            if let Bottom::Fd(end) = bottom
                && limit > 0
                && end.offset.is_none()
                && not_before.is_none_or(|time| time <= Instant::now())
            {
                outcome = loop {
                    let begun = Instant::now();
                    let until = self.until(begun);
                    let ready = sys::wait_for(end.fd.fd(), PollFlags::IN | PollFlags::RDHUP, until);
                    let judged = self.check().and_then(|()| self.judge(begun.elapsed()));
                    match (ready, judged) {
                        (Ok(false), Ok(())) => {}
                        (_, judged) => break judged,
                    }
                };
            }
            0
        });
        walked.and(outcome)
    }

    /// Waits until the sink takes something.
    pub(crate) fn wait_for_sink(&self, sink: &mut dyn Sink) -> Result<(), StepError> {
        let mut ready = Ok(true);
        walk_sink(sink, &Cell::new(0), &mut |end, _| {
            if let Some(end) = end {
                ready = sys::wait_for(end.fd.fd(), PollFlags::OUT, self.deadline);
            }
        });
        match ready {
            Ok(false) => Err(timed_out(Some(Side::Sink), "the deadline has passed".into())),
            // The step tells of errors.
            _ => Ok(()),
        }
    }

    /// Sleeps until `time`, or the deadline.
    pub(crate) fn sleep_until(&self, time: Instant) {
        let time = self.deadline.map_or(time, |deadline| deadline.min(time));
        thread::sleep(time.saturating_duration_since(Instant::now()));
    }

    /// A step took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        if let Some(least) = &mut self.least {
            least.got = least.got.saturating_add(n);
        }
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.deadline
    }

    /// Counts a wait for the source that has yielded bytes, which are not counted yet. The next wait is judged with
    /// it.
    pub(crate) fn waited(&mut self, time: Duration) {
        if let Some(least) = &mut self.least {
            least.waited = least.waited.saturating_add(time);
        }
    }

    /// Until when a wait that begins `now` may last before the rate is judged.
    fn until(&self, now: Instant) -> Option<Instant> {
        let judged = self
            .least
            .as_ref()
            .and_then(|least| now.checked_add(least.every.saturating_sub(least.waited)));
        match (self.deadline, judged) {
            (Some(deadline), Some(judged)) => Some(deadline.min(judged)),
            (deadline, judged) => deadline.or(judged),
        }
    }

    /// Counts a wait for the source.
    fn judge(&mut self, waited: Duration) -> Result<(), StepError> {
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
    StepError { side, syscall: "poll", error: io::Error::new(io::ErrorKind::TimedOut, what) }
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
        for _ in 0..1_000_000 {
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
    fn a_wait_ends_where_it_has_to_be_judged() {
        let now = Instant::now();
        let mut watch = least(100);
        watch.judge(30 * MS).unwrap();
        assert_eq!(watch.until(now), Some(now + 70 * MS));
        watch.deadline = Some(now + 50 * MS);
        assert_eq!(watch.until(now), Some(now + 50 * MS));
    }
}
