//! How long a copy goes on, and how slow its source may be: the engine's rule ([`driver::Watch`]), and the waits that
//! use it up. A wait is a poll(2) before the call.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zc_core::driver::{self, Bottom, Link, Reach, StepError, walk_sink, walk_source};

use crate::{ReadSource, Side, WriteSink};

/// `zc_linux::Patience`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    pub(crate) min_rate: Option<(u64, Duration)>,
}

/// The patience of one copy.
pub(super) struct Watch {
    /// `None`: without end.
    rule: Option<driver::Watch>,
    waited: bool,
}

impl Watch {
    pub(super) fn new(patience: &Patience) -> Self {
        Watch { rule: driver::Watch::new(patience.deadline, patience.min_rate), waited: false }
    }

    /// Whether a copy goes on after this error, once it has waited.
    pub(super) fn waits_out(&self, error: &io::Error) -> bool {
        self.rule.is_some() && error.kind() == ErrorKind::WouldBlock
    }

    /// Whether there was a descriptor to wait for the source by.
    pub(super) fn waited(&self) -> bool {
        self.waited
    }

    pub(super) fn check(&self) -> Result<(), StepError> {
        self.rule.as_ref().map_or(Ok(()), |rule| rule.check(None, Instant::now()))
    }

    pub(super) fn saw(&mut self, bytes: u64) {
        if let Some(rule) = &mut self.rule {
            rule.saw(bytes);
        }
    }

    /// Waits until the source may be read from, if a `read` of it could wait.
    pub(super) fn wait_for_source(&mut self, source: &mut dyn ReadSource) -> Result<(), StepError> {
        self.waited = false;
        let Some(rule) = &mut self.rule else { return Ok(()) };
        let (mut link, mut outcome) = (Link::default(), Ok(()));
        loop {
            let mut go_on = false;
            walk_source(source, link, &mut |reach| {
                let Reach { bottom, limit, not_before, last, .. } = reach;
                match bottom {
                    Bottom::Spent => go_on = !last,
                    _ if limit == 0 => {}
                    bottom => {
                        // The layer that says so sleeps in its `read`, too, and past the deadline.
                        outcome = not_before.map_or(Ok(()), |time| sleep_until(time, rule));
                        if let (Ok(()), Bottom::Fd(end)) = (&outcome, bottom)
                            && end.offset.is_none()
                        {
                            self.waited = true;
                            outcome = wait_for(end.fd.fd(), rule);
                        }
                    }
                }
                0
            })?;
            if !go_on {
                return outcome;
            }
            link = link.next();
        }
    }

    /// Waits until the sink takes something; `error` if there is no descriptor to wait by.
    pub(super) fn wait_for_sink(
        &self,
        sink: &mut dyn WriteSink,
        error: io::Error,
    ) -> Result<(), StepError> {
        let deadline = self.rule.as_ref().and_then(driver::Watch::deadline);
        let mut outcome = Err(error);
        walk_sink(sink, &Cell::new(0), &mut |end, _| {
            if let Some(end) = end {
                // The call tells of errors.
                outcome = Ok(ready(end.fd.fd(), PollFlags::OUT, deadline).unwrap_or(true));
            }
        });
        match (outcome, &self.rule) {
            (Ok(false), Some(rule)) => rule.check(Some(Side::Sink), Instant::now()),
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(StepError::at(Side::Sink, "write", error)),
        }
    }
}

fn sleep_until(time: Instant, rule: &driver::Watch) -> Result<(), StepError> {
    let time = rule.deadline().map_or(time, |deadline| deadline.min(time));
    thread::sleep(time.saturating_duration_since(Instant::now()));
    rule.check(None, Instant::now())
}

fn wait_for(fd: BorrowedFd<'_>, rule: &mut driver::Watch) -> Result<(), StepError> {
    loop {
        let begun = Instant::now();
        // The call tells of errors.
        let is_ready = ready(fd, PollFlags::IN, rule.until(begun)).unwrap_or(true);
        rule.check(None, Instant::now())?;
        if is_ready {
            // Judged with the next wait: what it has given is not counted yet, and may have been there for long.
            rule.waited(begun.elapsed());
            return Ok(());
        }
        rule.judge(begun.elapsed())?;
    }
}

/// Waits for it, until this time at most; `false` if that was in vain, or a signal came.
fn ready(fd: BorrowedFd<'_>, events: PollFlags, until: Option<Instant>) -> Result<bool, Errno> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    // More seconds than a timespec holds are as good as no timeout.
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut [PollFd::from_borrowed_fd(fd, events)], timeout.as_ref()) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error),
    }
}
