//! Bytes from descriptor to descriptor, with nothing in flight before.

use std::os::fd::{AsRawFd, RawFd};

use rustix::io::Errno;
use zc_core::End;
use zc_core::driver::{Mechanism, Next, Step};

use super::holes::Ahead;
use super::plan::Plan;
use super::{Transfer, step_of};
use crate::backend::{
    Answer, Outcome, copy_file_range, discard, read_write, sendfile, splice_direct, splice_through,
};
use crate::kind::{Kind, is_stream_socket};
use crate::pool;
use crate::table::Way;

/// How much to take at a time once the sink has been full: live copies could use the memory that a
/// stalled one holds.
const PIECE_AFTER_STALL: u64 = 64 * 1024;

/// How much to read past urgent data, or where a source that had nothing has something again. What
/// follows can be spliced.
const PAST_THE_MARK: u64 = 4096;

/// While pipes are scarce, so much is read before a copy asks for one again.
const PIECE_WHILE_SCARCE: u64 = 16 * 1024;

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
        // More than one read may be a file copied into itself; a plan checks that.
        let at_once = limit <= budget || from.fd.is_socket();
        if self.plan.is_none()
            && at_once
            && !Plan::pays(from.fd, limit, self.unplanned.0, &self.options)
        {
            // A message is read whole, whatever the budget: what does not fit is lost, as recv(2) says.
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

    /// Reads and writes once. Small copies come by the thousand, and their cost is the way to the two calls
    /// and back.
    #[inline(always)]
    fn unplanned(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
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
        match is_stream && self.options.looks_behind {
            true => read_write::take_and_look(buffer, from, limit),
            false => read_write::take(buffer, from, limit),
        }
    }

    /// Takes bytes by the first way of the plan that does not refuse, and delivers what it can; and looks for the
    /// end of a file right behind them.
    #[inline(never)]
    fn as_planned(&mut self, from: End<'_>, to: End<'_>, limit: u64, budget: u64) -> Step {
        let mut step = self.some_as_planned(from, to, limit, budget);
        // Without a look a short read says so to drivers that take it at its word, and they say so.
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

    /// The read that finds the end of a file: a step of its own for it would walk all the layers once more, a
    /// tenth of the cost of a small copy.
    fn look_for_end(&mut self, step: &mut Step, from: End<'_>, left: u64) {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let plan = self.plan.as_mut().expect("it has just been followed");
        // The layer that has an offset of its own hears only after the step how far that has come.
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

    /// Takes bytes by the first way of the plan that does not refuse, and delivers what it can.
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
            let budget = if reads_messages { u64::MAX } else { budget };
            let most = limit.min(plan.most()).min(budget);
            let limit = match self.look_ahead(from, to, limit.min(budget)) {
                Ahead::Data(ahead) => most.min(ahead),
                Ahead::Passed(step) => return step,
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
                    let most = if pool::is_scarce() { PIECE_WHILE_SCARCE } else { u64::MAX };
                    return self.read_and_write(from, to, limit.min(most));
                }
                // What a claim had to keep is in flight: a write tells.
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

    /// Takes at most `limit` bytes one way.
    fn take_by(&mut self, way: Way, from: End<'_>, to: End<'_>, limit: u64) -> Answer {
        let Self { flight, plan, options, stalled, .. } = self;
        let plan = plan.as_mut().expect("the caller has one");
        let of_file = limit.min(plan.most_of_file());
        let answer = match way {
            Way::CopyFileRange => {
                copy_file_range::step(flight, from, to, of_file, &mut plan.known_end)
            }
            Way::Sendfile => {
                let waits_for_room = of_file <= sendfile::LEAST || plan.sink_waits(to);
                let to = (to, plan.sink);
                sendfile::step(flight, from, to, of_file, waits_for_room, &mut plan.known_end)
            }
            Way::Discard => discard::step(from, limit),
            Way::SpliceDirect if plan.source == Kind::File => {
                splice_direct::step_from_file(flight, from, to, of_file, &mut plan.known_end)
            }
            Way::SpliceDirect => splice_direct::step(from, to, limit),
            Way::SpliceThrough => {
                let most = if *stalled > 0 { PIECE_AFTER_STALL } else { u64::MAX };
                let room = if pool::is_scarce() {
                    splice_through::most_while_scarce((to, plan.sink))
                } else {
                    Ok(u64::MAX)
                };
                match room {
                    Ok(room) => splice_through::fill(
                        flight,
                        (from, plan.source),
                        of_file.min(most).min(room),
                        &mut plan.known_end,
                        options.pipe_size,
                    ),
                    Err(errno) => Outcome::NoPipe(errno).into(),
                }
            }
            Way::ReadWrite => unreachable!("the caller reads and writes"),
        };
        self.tries(way.mechanism());
        self.count(way.mechanism(), &answer);
        answer
    }

    /// Delivers what a splice has just taken.
    fn deliver_taken(&mut self, taken: u64, to: End<'_>) -> Step {
        let mut step = match &self.plan {
            Some(plan) if self.flight.is_in_pipe() && self.flight.buffer.is_empty() => {
                self.drain_pipe(to, plan.sink)
            }
            // What was kept of a claim is in memory.
            _ => Step::idle(Next::Again),
        };
        step.taken = taken;
        self.went_through();
        step
    }

    /// What was taken may have gone through, which a sink that has been full allows again.
    pub(super) fn went_through(&mut self) {
        if self.flight.len() == 0 {
            self.stalled = self.stalled.saturating_sub(1);
        }
    }

    /// Reads and writes once within the plan.
    fn read_and_write(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let source = self.plan.as_ref().map(|plan| plan.source);
        let cautious = self.stalled > 0 && source != Some(Kind::Messages);
        let limit = if cautious { limit.min(PIECE_AFTER_STALL) } else { limit };
        let is_stream = source.is_some_and(Kind::is_stream_socket);
        let taken = self.read(from, limit, is_stream);
        if let Some(plan) = &mut self.plan {
            plan.took(taken.taken);
        }
        let step = self.give_taken(taken, to, is_stream, limit);
        self.went_through();
        step
    }

    /// A call with two sides said "not now", and not which. A read and a write have one side each.
    ///
    /// A splice from a socket has already waited out the socket's timeout; the read must not wait again.
    #[cold]
    fn ask_both(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Step {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let source = self.plan.as_ref().map(|plan| plan.source);
        let is_socket = source.is_some_and(Kind::is_socket);
        let most = if source == Some(Kind::File) { PIECE_AFTER_STALL } else { PAST_THE_MARK };
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
    fn give_taken(&mut self, taken: Answer, to: End<'_>, is_stream: bool, limit: u64) -> Step {
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

    /// A way cannot do this copy: on to the next.
    pub(super) fn refused(&mut self, way: Way, errno: Errno) {
        if let Some(plan) = &mut self.plan
            && plan.next_way()
        {
            self.report.refuse(way.mechanism(), errno);
        }
    }

    /// How many bytes of this source are worth waiting for, of `limit`.
    pub(super) fn worth(&self, limit: u64) -> u64 {
        let worth = if self.unplanned.1 >= BULK { HANDFUL } else { 1 };
        worth.min(limit)
    }
}
