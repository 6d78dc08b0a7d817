//! Bytes read and written: without a plan, as a plan's last way, or to find out which side is not ready.

use zc_core::End;
use zc_core::driver::{Mechanism, Next, Step};

use super::plan::Plan;
use super::{MAX_AFTER_STALL, Transfer, step_of};
use crate::backend::{Answer, Outcome, read_write};
use crate::kind::{Kind, is_message_socket, is_stream_socket};

/// How much to read past urgent data, or where a source that had nothing has something again. What
/// follows can be spliced.
const PAST_THE_MARK: u64 = 4096;

impl Transfer {
    /// Reads and writes once. A small copy costs little more than the way to these two calls and back.
    #[inline(always)]
    pub(super) fn unplanned(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
        // The read may have to wait; an earlier copy may have left a pipe here.
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let is_stream = is_stream_socket(from.fd);
        let taken = self.read(from, limit, is_stream);
        let (all, largest) = self.unplanned;
        self.unplanned = (all + taken.taken, largest.max(taken.taken));
        // A file that has given less than was asked for has ended, as a rule. If it is being copied into
        // itself, what comes next is its own tail.
        if let Outcome::Moved { drained: true, .. } = taken.outcome
            && !from.fd.is_socket()
            && !to.fd.is_socket()
        {
            self.plan = Plan::of_own_tail(from, to);
        }
        self.give_taken(taken, to, is_stream, limit)
    }

    /// Reads once; and looks whether there is more, if the driver wants to know and the source can tell.
    #[inline(always)]
    pub(super) fn read(&mut self, from: End<'_>, limit: u64, is_stream: bool) -> Answer {
        let buffer = &mut self.flight.buffer;
        let answer = match is_stream && self.options.looks_behind {
            true => read_write::take_and_look(buffer, from, limit),
            false if is_message_socket(from.fd) => read_write::take_message(buffer, from, limit),
            false => read_write::take(buffer, from, limit),
        };
        self.whole(from, limit, answer)
    }

    /// Reads and writes once within the plan.
    #[inline(always)]
    pub(super) fn read_and_write(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let source = self.plan.as_ref().map(|plan| plan.source);
        let cautious = self.stalled > 0 && source != Some(Kind::Messages);
        let limit = if cautious { limit.min(MAX_AFTER_STALL) } else { limit };
        let is_stream = source.is_some_and(Kind::is_stream_socket);
        let taken = self.read(from, limit, is_stream);
        if let Some(plan) = &mut self.plan {
            plan.took(taken.taken);
        }
        let step = self.give_taken(taken, to, is_stream, limit);
        self.went_through();
        step
    }

    /// The read that finds the end of a file. A step of its own would walk all the layers once more, a tenth
    /// of the cost of a small copy.
    pub(super) fn look_for_end(&mut self, step: &mut Step, from: End<'_>, left: u64) {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let plan = self.plan.as_mut().expect("it has just been followed");
        // A layer with an offset of its own is told only after the step how far it has come.
        let offset = from.offset.map(|offset| offset.saturating_add(step.taken));
        let from = End { offset, ..from };
        let more = read_write::take(&mut self.flight.buffer, from, left.min(plan.most()));
        plan.took(more.taken);
        step.taken += more.taken;
        step.next = match more.outcome {
            Outcome::Nothing => Next::Ended,
            outcome => step_of(Answer { outcome, ..more }, 1).next,
        };
    }

    /// A call with two sides said "not now", and not which side. A read and a write have one side each.
    ///
    /// A splice from a socket has already waited out the socket's timeout; the read must not wait again.
    #[cold]
    pub(super) fn ask_both(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let source = self.plan.as_ref().map(|plan| plan.source);
        let is_socket = source.is_some_and(Kind::is_socket);
        let most = if source == Some(Kind::File) { MAX_AFTER_STALL } else { PAST_THE_MARK };
        let take = match is_socket {
            true if self.options.looks_behind => read_write::take_and_look,
            true => read_write::take_what_is_there,
            false => read_write::take,
        };
        let taken = take(&mut self.flight.buffer, from, limit.min(most));
        if let Some(plan) = &mut self.plan {
            plan.took_aside(taken.taken);
        }
        self.give_taken(taken, to, is_socket, limit)
    }

    /// Writes what a read of at most `limit` bytes has just taken. Only a stream socket that gives less than it
    /// was asked for is known to have no more: a pipe may be one of packets, a terminal gives lines.
    #[inline(always)]
    pub(super) fn give_taken(
        &mut self,
        taken: Answer,
        to: End<'_>,
        is_stream: bool,
        limit: u64,
    ) -> Step {
        match taken.outcome {
            Outcome::Moved { drained, .. } => {
                let drained = drained && is_stream;
                if self.options.half_steps {
                    return Step { drained, ..step_of(taken, 1) };
                }
                let given = self.write(to);
                let step = step_of(Answer { taken: taken.taken, ..given }, 1);
                Step { drained, ..step }
            }
            Outcome::Nothing => Step::idle(Next::Ended),
            _ => step_of(taken, self.worth(limit)),
        }
    }
}
