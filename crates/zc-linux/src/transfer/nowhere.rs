//! Bytes that go nowhere: they are taken, and dropped.

use std::os::fd::AsRawFd;

use zc_core::End;
use zc_core::driver::{Mechanism, Next, Step, StepError};

use super::plan::Plan;
use super::{NO_FD, Transfer, step_of};
use crate::backend::{Answer, Outcome, discard};
use crate::kind::{Kind, is_stream_socket};
use crate::table::Way;

impl Transfer {
    /// Takes at most `budget` bytes, with nothing in flight, in a copy of `limit` bytes. [`Next::Ended`]: this link
    /// of the source has.
    #[inline(always)]
    pub(super) fn drop_from(&mut self, from: End<'_>, limit: u64, budget: u64) -> Step {
        self.meets((from.fd.fd().as_raw_fd(), NO_FD));
        let from = self.as_it_is(from, limit, budget);
        // A read may have to wait; an earlier copy may have left a pipe here.
        self.flight.release_pipe();
        if self.plan.is_none() && Plan::pays(from.fd, limit, self.unplanned.0, &self.options) {
            self.plan = Some(Plan::to_nowhere(from, &self.options));
        }
        let (discards, reads_messages) = match &self.plan {
            Some(plan) => (plan.way() == Way::Discard, plan.source == Kind::Messages),
            None => (self.options.discard && discard::suits(from), !from.fd.is_stream()),
        };
        // A message is read whole, even beyond the budget.
        let most = if reads_messages { limit } else { limit.min(budget) };
        if discards {
            self.tries(Mechanism::Discard);
            let answer = match &self.plan {
                Some(_) => discard::step(from, most),
                None => discard::unasked(&mut self.flight.buffer, from, most),
            };
            let Outcome::Refused(errno) = answer.outcome else {
                return self.dropped(Mechanism::Discard, answer, most);
            };
            self.report.refuse(Mechanism::Discard, errno);
            // A second call would be refused, too.
            let source = self.plan.as_ref().map_or(Kind::Tcp, |plan| plan.source);
            self.plan = Some(Plan::reading(source, Kind::Null));
        }
        self.tries(Mechanism::ReadWrite);
        let answer = discard::read(&mut self.flight.buffer, from, most);
        let answer = match answer.outcome {
            // Only a stream socket that gives less than it was asked for is known to have no more.
            Outcome::Moved { .. } if !is_stream_socket(from.fd) => {
                Answer { outcome: Answer::moved(0).outcome, ..answer }
            }
            _ => answer,
        };
        self.dropped(Mechanism::ReadWrite, answer, most)
    }

    fn dropped(&mut self, mechanism: Mechanism, answer: Answer, limit: u64) -> Step {
        let taken = answer.taken;
        let answer = match answer.outcome {
            // Such a driver waits for an edge after it, and urgent data and passed descriptors shorten a call, too.
            Outcome::Moved { .. } if self.options.looks_behind => {
                Answer { outcome: Answer::moved(0).outcome, ..answer }
            }
            _ => answer,
        };
        match &mut self.plan {
            Some(plan) => plan.took(taken),
            None => self.unplanned = (self.unplanned.0 + taken, self.unplanned.1.max(taken)),
        }
        self.count(mechanism, &answer);
        match answer.outcome {
            Outcome::Nothing => Step::idle(Next::Ended),
            _ => step_of(answer, self.worth(limit)),
        }
    }

    /// Drops at most `most` bytes of what is in flight. They have only to be counted.
    pub(super) fn drop_in_flight(&mut self, most: u64) -> Step {
        if let Err(errno) = self.flight.land() {
            return Step::failed(StepError::new("read", errno));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let dropped = self.flight.buffer.drain(|bytes| Ok(bytes.len().min(most)));
        let dropped = dropped.unwrap_or(0) as u64;
        self.report.deliver(Mechanism::ReadWrite, dropped);
        self.went_through();
        Step::moved(0, dropped, Next::Again)
    }

    /// Drops bytes that a layer of the source has buffered.
    pub(super) fn drop_buffered(&mut self, bytes: u64) -> Step {
        self.report.deliver(Mechanism::ReadWrite, bytes);
        Step::moved(bytes, bytes, Next::Again)
    }
}
