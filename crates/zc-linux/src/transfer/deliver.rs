//! Bytes in flight, delivered to the sink's descriptor.

use std::os::fd::AsRawFd;

use zc_core::End;
use zc_core::driver::{Mechanism, Step, StepError};

use super::{Transfer, step_of};
use crate::backend::{Answer, Outcome, read_write, splice_through};
use crate::kind::{Kind, Nature};
use crate::table::Way;

impl Transfer {
    /// Delivers once from what is in flight.
    pub(super) fn deliver(&mut self, to: End<'_>) -> Step {
        if self.flight.is_in_pipe() {
            self.plan_for_taken(to);
            // Where a failure has brought some of the pipe's bytes into memory, they go first.
            if let Some(plan) = &self.plan
                && !plan.refuses_splice
                && self.flight.buffer.is_empty()
                && self.is_planned_for(to, plan.sink)
            {
                let step = self.drain_pipe(to, plan.sink);
                self.went_through();
                return step;
            }
            if let Err(errno) = self.flight.land() {
                return Step::failed(StepError::new("read", errno));
            }
        }
        let step = step_of(self.write(to), 1);
        self.went_through();
        step
    }

    /// Whether `to` is what the plan is for, or another of its kind: a driver may deliver to a duplicate.
    fn is_planned_for(&self, to: End<'_>, kind: Kind) -> bool {
        let planned = self.ends.map(|(_, sink)| sink);
        planned == Some(to.fd.fd().as_raw_fd()) || Nature::of(to.fd).kind == kind
    }

    /// Drains the pipe once. If the sink refuses, the bytes stay in flight, and the next step writes them.
    #[inline(always)]
    pub(super) fn drain_pipe(&mut self, to: End<'_>, kind: Kind) -> Step {
        let mut answer = self.drain(to, kind);
        if let Outcome::Refused(errno) = answer.outcome {
            self.refused(Way::SpliceThrough, errno);
            if let Some(plan) = &mut self.plan {
                plan.refuses_splice = true;
            }
            answer.outcome = Outcome::Moved { drained: false, full: false };
        }
        step_of(answer, 1)
    }

    /// Drains the pipe once.
    #[inline(always)]
    fn drain(&mut self, to: End<'_>, kind: Kind) -> Answer {
        self.tries(Mechanism::Splice);
        let answer = splice_through::drain(&mut self.flight, (to, kind));
        self.count(Mechanism::Splice, &answer);
        answer
    }

    /// Writes once from memory.
    #[inline(always)]
    pub(super) fn write(&mut self, to: End<'_>) -> Answer {
        self.tries(Mechanism::ReadWrite);
        let answer = read_write::give(&mut self.flight.buffer, to);
        self.report.deliver(Mechanism::ReadWrite, answer.delivered);
        answer
    }
}
