//! How long a blocking copy goes on, and how slow its source may be.
//!
//! No call that moves bytes takes a timeout. So the copy waits in a poll(2) before it, in either mode of
//! the descriptor. Only time spent waiting for the source counts against it: a peer is not to blame for a
//! slow disk, nor for a rate limit of our own.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use zc_core::driver::{self, Bottom, Link, Reach, StepError, walk_sink, walk_source};
use zc_core::{Side, Sink, Source};

use crate::sys;

/// How long a blocking copy goes on, and how slow its source may be; by default without end.
///
/// With either of them a copy waits in poll(2), also on descriptors in non-blocking mode, and does not
/// stop with `WouldBlock` there. For a sink in blocking mode the call that writes to it waits.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Patience {
    /// When to give up.
    pub deadline: Option<Instant>,
    /// The minimum rate: this many bytes in every such time spent waiting for the source.
    pub min_rate: Option<(u64, Duration)>,
}

/// The patience of one copy, and the waits that use it up.
#[derive(Debug)]
pub(crate) struct Watch(driver::Watch);

impl Watch {
    /// `None`: without end.
    pub(crate) fn new(patience: &Patience) -> Option<Self> {
        driver::Watch::new(patience.deadline, patience.min_rate).map(Watch)
    }

    /// Fails if the deadline has passed.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        self.0.check(None, Instant::now())
    }

    /// Waits until the source has something, if a call on it could wait. `false`: it has no descriptor to wait by. The
    /// step tells of errors.
    pub(crate) fn wait_for_source(
        &mut self,
        source: &mut dyn Source,
        link: Link,
    ) -> Result<bool, StepError> {
        let (mut outcome, mut can_wait) = (Ok(()), false);
        let walked = walk_source(source, link, &mut |reach| {
            let Reach { bottom, limit, not_before, .. } = reach;
            let may = || not_before.is_none_or(|time| time <= Instant::now());
            can_wait = limit > 0 && matches!(bottom, Bottom::Fd(end) if end.offset.is_none());
            if let Bottom::Fd(end) = bottom
                && can_wait
                && may()
            {
                outcome = loop {
                    let begun = Instant::now();
                    let until = self.0.until(begun);
                    let ready = sys::wait_for(end.fd.fd(), PollFlags::IN | PollFlags::RDHUP, until);
                    let waited = begun.elapsed();
                    if let Ok(false) = ready {
                        match self.check().and_then(|()| self.0.judge(waited)) {
                            Ok(()) => continue,
                            late => break late,
                        }
                    }
                    // What it has given is not counted yet, and may have been there for long: this thread may have
                    // been stopped meanwhile.
                    self.0.waited(waited);
                    break self.check();
                };
            }
            0
        });
        walked.and(outcome).map(|()| can_wait)
    }

    /// Waits until the sink takes something. `false`: it has no descriptor to wait by.
    pub(crate) fn wait_for_sink(&self, sink: &mut dyn Sink) -> Result<bool, StepError> {
        let mut ready = None;
        walk_sink(sink, &Cell::new(0), &mut |end, _| {
            ready = end.map(|end| sys::wait_for(end.fd.fd(), PollFlags::OUT, self.0.deadline()));
        });
        match ready {
            None => Ok(false),
            Some(Ok(false)) => self.0.check(Some(Side::Sink), Instant::now()).map(|()| true),
            // The step tells of errors.
            Some(_) => Ok(true),
        }
    }

    /// When a wait for the source that begins `now` is over.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.0.until(now)
    }

    /// Sleeps until `time`, or the deadline.
    pub(crate) fn sleep_until(&self, time: Instant) {
        let time = self.0.deadline().map_or(time, |deadline| deadline.min(time));
        thread::sleep(time.saturating_duration_since(Instant::now()));
    }

    /// A step took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        self.0.saw(n);
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.0.deadline()
    }

    /// Counts a wait for the source that has yielded bytes, which are not counted yet. The next wait is judged with
    /// it.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.0.waited(time);
    }
}
