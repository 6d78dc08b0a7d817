//! How long a copy goes on, and how slow its source may be: the wait is a poll(2) before the call.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zc_core::driver::{Bottom, Link, StepError, walk_sink, walk_source};

use crate::{ReadSource, Side, WriteSink};

/// `zc_linux::Patience`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    pub(crate) min_rate: Option<(u64, Duration)>,
}

/// The patience of one copy, and how much of it is left.
pub(super) struct Watch {
    patience: Patience,
    /// Since when the current stretch of the minimum rate is counted.
    got: u64,
    spent: Duration,
    waited: bool,
}

impl Watch {
    pub(super) fn new(patience: &Patience) -> Self {
        Watch { patience: *patience, got: 0, spent: Duration::ZERO, waited: false }
    }

    /// Whether a copy goes on after this error, once it has waited.
    pub(super) fn waits_out(&self, error: &io::Error) -> bool {
        let bounded = self.patience.deadline.is_some() || self.patience.min_rate.is_some();
        bounded && error.kind() == ErrorKind::WouldBlock
    }

    /// Whether there was a descriptor to wait for the source by.
    pub(super) fn waited(&self) -> bool {
        self.waited
    }

    pub(super) fn check(&self) -> Result<(), StepError> {
        match self.patience.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(timed_out(None, "the deadline has passed"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn saw(&mut self, bytes: u64) {
        self.got = self.got.saturating_add(bytes);
        if self.patience.min_rate.is_some_and(|(least, _)| self.got >= least) {
            (self.got, self.spent) = (0, Duration::ZERO);
        }
    }

    pub(super) fn wait_for_source(&mut self, source: &mut dyn ReadSource) -> Result<(), StepError> {
        self.waited = false;
        let Patience { deadline, min_rate } = self.patience;
        if deadline.is_none() && min_rate.is_none() {
            return Ok(());
        }
        let rest = min_rate.map(|(_, time)| time.saturating_sub(self.spent));
        let until_deadline = deadline.map(|time| time.saturating_duration_since(Instant::now()));
        let most = [rest, until_deadline].into_iter().flatten().min();
        let begun = Instant::now();
        let (mut link, mut polled) = (Link::default(), Ok(true));
        loop {
            let mut go_on = false;
            walk_source(source, link, &mut |reach| {
                match reach.bottom {
                    Bottom::Fd(end) if reach.limit > 0 && end.offset.is_none() => {
                        self.waited = true;
                        polled = ready(
                            &mut [PollFd::from_borrowed_fd(end.fd.fd(), PollFlags::IN)],
                            most,
                        );
                    }
                    Bottom::Spent => go_on = !reach.last,
                    _ => {}
                }
                0
            })?;
            if !go_on {
                break;
            }
            link = link.next();
        }
        self.spent += begun.elapsed();
        match polled {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.check()?;
                if min_rate.is_some_and(|(_, time)| self.spent >= time) {
                    return Err(timed_out(
                        Some(Side::Source),
                        "the source is slower than was asked for",
                    ));
                }
                // A signal, or a clock that is a little fast: the next call finds out.
                Ok(())
            }
            Err(error) => Err(StepError::at(Side::Source, "poll", error)),
        }
    }

    /// Waits until the sink takes something; `error` if there is no descriptor to wait by.
    pub(super) fn wait_for_sink(
        &self,
        sink: &mut dyn WriteSink,
        error: io::Error,
    ) -> Result<(), StepError> {
        let most =
            self.patience.deadline.map(|time| time.saturating_duration_since(Instant::now()));
        let mut outcome = Err(error);
        walk_sink(sink, &Cell::new(0), &mut |end, _| {
            if let Some(end) = end {
                outcome = ready(&mut [PollFd::from_borrowed_fd(end.fd.fd(), PollFlags::OUT)], most);
            }
        });
        outcome.map(drop).map_err(|error| StepError::at(Side::Sink, "write", error))
    }
}

/// Waits for it, at most for this time; `false` if it did not become ready.
fn ready(fds: &mut [PollFd<'_>], most: Option<Duration>) -> io::Result<bool> {
    let most = most
        .map(|most| Timespec::try_from(most).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match poll(fds, most.as_ref()) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn timed_out(side: Option<Side>, what: &str) -> StepError {
    let error = io::Error::new(ErrorKind::TimedOut, what);
    match side {
        Some(side) => StepError::at(side, "poll", error),
        None => StepError::new("poll", error),
    }
}
