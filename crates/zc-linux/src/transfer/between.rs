//! Bytes from descriptor to descriptor, with nothing in flight before: which way to take, and what its answer
//! means.

use std::os::fd::{AsRawFd, RawFd};

use rustix::io::Errno;
use zc_core::End;
use zc_core::driver::{Next, Step};

use super::boundaries::of_messages;
use super::next_extent::NextExtent;
use super::plan::Plan;
use super::{Transfer, step_of};
use crate::backend::{Answer, Outcome};
use crate::kind::Kind;
use crate::pool;
use crate::table::Way;

/// How much to read, while pipes are scarce, before a copy asks for one again.
const MAX_WHILE_SCARCE: u64 = 16 * 1024;

/// A source that yields `BULK` bytes a step is a bulk sender; `HANDFUL` of its next bytes are worth
/// one wake-up.
const BULK: u64 = 16 * 1024;
const HANDFUL: u64 = 128 * 1024;

impl Transfer {
    /// Moves at most `budget` bytes from descriptor to descriptor, with nothing in flight, in a copy of `limit`
    /// bytes. [`Next::Ended`]: this link of the source has.
    #[inline(always)]
    pub(super) fn between(&mut self, from: End<'_>, to: End<'_>, limit: u64, budget: u64) -> Step {
        let ends = (from.fd.fd().as_raw_fd(), to.fd.fd().as_raw_fd());
        self.meets(ends);
        let from = self.as_it_is(from, limit, budget);
        // More than one read may be a file copied into itself; a plan checks that.
        let at_once = limit <= budget || from.fd.is_socket();
        if self.plan.is_none()
            && at_once
            && !Plan::pays(from.fd, limit, self.unplanned.0, &self.options)
        {
            // A message is read whole, even beyond the budget: recv(2) drops what does not fit.
            let most = if from.fd.is_stream() { limit.min(budget) } else { limit };
            return self.unplanned(from, to, most);
        }
        self.as_planned(from, to, limit, budget)
    }

    /// These are the descriptors of the next step.
    ///
    /// A source may switch descriptors by itself. The old plan could lend the pages of the new one unasked.
    #[inline(always)]
    pub(super) fn meets(&mut self, ends: (RawFd, RawFd)) {
        if self.ends.replace(ends).is_some_and(|before| before != ends) {
            self.replan();
            self.ends = Some(ends);
        }
    }

    /// Takes bytes by the first way of the plan that does not refuse, and delivers what it can. Then looks for
    /// the end of a file.
    #[inline(always)]
    fn as_planned(&mut self, from: End<'_>, to: End<'_>, limit: u64, budget: u64) -> Step {
        let mut step = self.some_as_planned(from, to, limit, budget);
        // Drivers that do not look behind a read go by its length, and report by themselves that
        // the source ran dry.
        if step.drained && self.options.looks_behind || matches!(step.next, Next::WantRead { .. }) {
            self.ran_dry();
        }
        let left = limit.min(budget).saturating_sub(step.taken);
        if left > 0 && self.is_at_end_after(&step) {
            self.look_for_end(&mut step, from, left);
        }
        step
    }

    /// Whether `step` has delivered the last bytes that the source is known to have.
    fn is_at_end_after(&self, step: &Step) -> bool {
        matches!(step.next, Next::Again)
            && step.taken > 0
            && self.flight.len() == 0
            && !self.options.half_steps
            && self
                .plan
                .as_ref()
                .is_some_and(|plan| plan.known_end.is_at_end() && !plan.is_exhausted())
    }

    /// Takes bytes by the first way of the plan that does not refuse, and delivers what it can.
    #[inline(always)]
    fn some_as_planned(&mut self, from: End<'_>, to: End<'_>, limit: u64, budget: u64) -> Step {
        if self.plan.is_none() {
            match Plan::make(from, to, limit, self.unplanned.1, &self.options) {
                Ok(mut plan) => {
                    if self.has_gathered {
                        plan.gathered();
                    }
                    self.plan = Some(plan);
                }
                Err(error) => return Step::failed(error),
            }
        }
        loop {
            let plan = self.plan.as_ref().expect("made above");
            if plan.is_exhausted() {
                return Step::idle(Next::Ended);
            }
            let reads_messages = plan.source == Kind::Messages;
            let (from, budget) =
                if reads_messages { (of_messages(from), u64::MAX) } else { (from, budget) };
            let most = limit.min(plan.most()).min(budget);
            let limit = match self.next_extent(from, to, limit.min(budget)) {
                NextExtent::Data(len) => most.min(len),
                NextExtent::Passed(step) => return step,
            };
            let plan = self.plan.as_ref().expect("made above");
            let way = plan.way();
            if way == Way::ReadWrite {
                return self.read_and_write(from, to, limit);
            }
            let answer = self.take_by(way, from, to, limit);
            let at_once = way == Way::SpliceThrough && !self.options.half_steps;
            let plan = self.plan.as_mut().expect("made above");
            plan.took(answer.taken);
            let moved = Answer { outcome: Answer::moved(0).outcome, ..answer };
            match answer.outcome {
                Outcome::Moved { .. } if at_once => {
                    return self.deliver_taken(answer.taken, to);
                }
                // It is a read, whose 0 is the end of input.
                Outcome::Nothing if way == Way::Discard => return Step::idle(Next::Ended),
                // Only a read that returned 0 is the end of input.
                Outcome::Nothing if plan.source == Kind::File => plan.found_end(),
                Outcome::Nothing => plan.only_read_write(),
                Outcome::NoPipe(errno) => {
                    debug_assert_eq!(moved.taken, 0, "nothing is taken without a pipe");
                    self.report.refuse(way.mechanism(), errno);
                    plan.no_pipe();
                    // Others hold the pipes, and may soon give some back.
                    let most = if pool::is_scarce() { MAX_WHILE_SCARCE } else { u64::MAX };
                    return self.read_and_write(from, to, limit.min(most));
                }
                // What a claim had to keep is in flight: its write finds out which side.
                Outcome::Unclear if moved.taken > 0 => {}
                Outcome::Unclear => return self.ask_both(from, to, limit),
                Outcome::Refused(errno) => self.refused(way, errno),
                outcome => {
                    let worth = self.worth(limit);
                    return step_of(Answer { outcome, ..moved }, worth);
                }
            }
            self.flight.release_pipe();
            // What a claim could not give back is in flight now, and goes first.
            if moved.taken > 0 {
                return step_of(moved, 1);
            }
        }
    }

    /// A way cannot do this copy: on to the next.
    pub(super) fn refused(&mut self, way: Way, errno: Errno) {
        // The sink may have been put in append mode. What it has an offset for would be written at its end.
        self.checked_sink = None;
        if let Some(plan) = &mut self.plan
            && plan.next_way()
        {
            self.report.refuse(way.mechanism(), errno);
        }
    }

    /// Counts a piece that was delivered whole, if one was: a sink that was full has room again.
    pub(super) fn went_through(&mut self) {
        if self.flight.len() == 0 {
            self.stalled = self.stalled.saturating_sub(1);
        }
    }

    /// How many bytes of this source are worth waiting for, of `limit`.
    pub(super) fn worth(&self, limit: u64) -> u64 {
        let worth = if self.unplanned.1 >= BULK { HANDFUL } else { 1 };
        worth.min(limit)
    }
}
