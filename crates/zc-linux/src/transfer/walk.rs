//! A step's one walk down both ends, and what is done at their bottom.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use zc_core::driver::straight::{self, Bytes, Place};
use zc_core::driver::{
    Bottom, Link, Manner, Mechanism, Next, Reach, Step, StepError, walk_sink, walk_source,
    write_once,
};
use zc_core::{End, Sink, Source};

use super::{NO_FD, Transfer, step_of, with_error};
use crate::backend::{Answer, Outcome, read_write};
use crate::kind::is_stream_socket;
use crate::sys;

/// Where the bytes of a step go, below all of the sink's layers.
#[derive(Clone, Copy)]
enum To<'a> {
    Fd(End<'a>),
    /// They are dropped.
    Nowhere,
    /// The sink's own `write` has to take them.
    Writer,
}

impl<'a> To<'a> {
    fn end(self) -> Option<End<'a>> {
        match self {
            To::Fd(end) => Some(end),
            To::Nowhere | To::Writer => None,
        }
    }
}

impl Transfer {
    /// A step whose ends are nothing but layers over descriptors, with nothing in flight. `None`: it is not such a
    /// step, and nothing was done.
    #[inline(always)]
    pub(super) fn straight<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        sink: &mut (dyn Sink<Io> + '_),
        budget: u64,
    ) -> Option<Step> {
        if self.in_flight() > 0 || self.link != Link::default() || budget == 0 {
            return None;
        }
        let to = straight::sink(sink)?;
        if matches!(to, Place::Fd(End { offset: Some(_), .. })) {
            return None;
        }
        let Bytes { end, limit, step_limit } = straight::source(source)?;
        let step = self.end_to_end((end, limit), to, budget.min(step_limit));
        straight::tell(source, sink, step.taken, step.delivered);
        Some(step)
    }

    /// Moves at most `budget` bytes, with nothing in flight, in a copy of `limit` bytes. [`Next::Ended`]: this link of
    /// the source has. All in one function, so that no other that makes a system call has to be returned from.
    #[inline(never)]
    pub(super) fn end_to_end(
        &mut self,
        (from, limit): (End<'_>, u64),
        to: Place<'_>,
        budget: u64,
    ) -> Step {
        match to {
            Place::Fd(to) => self.between(from, to, limit, budget),
            Place::Nowhere => self.drop_from(from, limit, budget),
        }
    }

    /// One walk down both ends, and what is done there.
    pub(super) fn walk<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        sink: &mut (dyn Sink<Io> + '_),
        budget: u64,
    ) -> Step {
        let delivered = Cell::new(0);
        let mut step = Step::idle(Next::Again);
        walk_sink(sink, &delivered, &mut |end, manner| {
            let to = match end {
                Some(end) => To::Fd(end),
                None if manner.is_nowhere => To::Nowhere,
                None => To::Writer,
            };
            step = self.step_into(source, (to, manner), budget, &delivered);
        });
        step
    }

    /// Whether the next step asks for a flush, before it takes bytes at a descriptor: for a driver that waits for them
    /// before the step. Nothing is in flight.
    pub(crate) fn flushes_next<Io>(
        &self,
        source: &mut (dyn Source<Io> + '_),
        sink: &mut (dyn Sink<Io> + '_),
    ) -> bool {
        if self.is_flushed {
            return false;
        }
        let mut holds_back = false;
        walk_sink(sink, &Cell::new(0), &mut |end, manner| {
            holds_back = manner.holds_back && (end.is_some() || manner.is_nowhere);
        });
        let mut takes = false;
        // The step reports the error of a layer.
        let _ = holds_back.then(|| {
            walk_source(source, self.link, &mut |reach| {
                let may = reach.not_before.is_none_or(|time| time <= Instant::now());
                takes = matches!(reach.bottom, Bottom::Fd(_)) && reach.limit > 0 && may;
                0
            })
        });
        takes
    }

    /// A step into `to`, which takes bytes in this manner. Bytes that bypass the sink's own `write` are
    /// counted in `delivered` at once, in case a layer of the source panics.
    fn step_into<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        (to, manner): (To<'_>, Manner),
        budget: u64,
        delivered: &Cell<u64>,
    ) -> Step {
        if let To::Fd(to) = to
            && let Err(error) = self.check_offset(to)
        {
            return Step::failed(error);
        }
        let must_flush = manner.holds_back && !self.is_flushed;
        if self.in_flight() > 0 {
            let step = match to {
                // The sink's own `write` may have had bytes that come before these.
                To::Writer => Step::idle(Next::WriteSink),
                _ if must_flush && self.flight.pipe.is_none() => Step::idle(Next::WriteSink),
                _ if must_flush => Step::idle(Next::FlushSink),
                _ if manner.limit < self.in_flight() as u64 => {
                    self.deliver_within(manner.limit, to.end())
                }
                To::Nowhere => self.drop_in_flight(u64::MAX),
                To::Fd(to) => self.deliver(to),
            };
            delivered.set(step.delivered);
            return step;
        }
        let mut step = Step::idle(Next::Again);
        let walked = walk_source(source, self.link, &mut |reach| {
            step = self.step_from(reach, (to, manner), must_flush, budget);
            // The sink's own `write` has counted its bytes already.
            if !matches!(to, To::Writer) {
                delivered.set(step.delivered);
            }
            step.taken
        });
        with_error(step, walked)
    }

    /// A step from where the source's next bytes are, with nothing in flight.
    fn step_from(
        &mut self,
        reach: Reach<'_>,
        (to, manner): (To<'_>, Manner),
        must_flush: bool,
        budget: u64,
    ) -> Step {
        let Reach { bottom, limit, step_limit, not_before, last } = reach;
        if limit == 0 {
            return self.end_of_link(last);
        }
        if let Some(time) = not_before
            && Instant::now() < time
        {
            return Step::idle(Next::NotBefore(time));
        }
        if budget == 0 {
            return Step::idle(Next::Again);
        }
        let budget = budget.min(step_limit);
        let most = limit.min(budget);
        // The sink itself keeps to the limit for what it holds back, and for what its own `write`
        // takes.
        let sees_to_it = manner.holds_back || matches!(to, To::Writer);
        let fits = if sees_to_it { most } else { most.min(manner.limit) };
        match (bottom, to) {
            (Bottom::Spent, _) => self.end_of_link(last),
            // A source that is read, or has read ahead, may have the sink's own file in it.
            (Bottom::Opaque | Bottom::Buffered(_), To::Fd(to))
                if !self.has_compared && !to.fd.is_socket() =>
            {
                self.must_compare = true;
                Step::idle(Next::Again)
            }
            // No flush: the source may yield single bytes, and the sink is there to buffer them.
            (Bottom::Opaque, _) => Step::idle(Next::ReadSource(fits.max(1))),
            (_, To::Fd(_) | To::Nowhere) if must_flush => Step::idle(Next::FlushSink),
            (Bottom::Buffered(_), To::Writer) => Step::idle(Next::WriteSink),
            (Bottom::Buffered(_), To::Fd(_) | To::Nowhere) if manner.limit == 0 => {
                Step::failed(StepError::beyond_limit())
            }
            (Bottom::Buffered(bytes), To::Fd(to)) => {
                self.write_past(bytes, to, most.min(manner.limit))
            }
            (Bottom::Buffered(bytes), To::Nowhere) => {
                self.drop_buffered(most.min(manner.limit).min(bytes.len() as u64))
            }
            (Bottom::Fd(from), To::Fd(_) | To::Nowhere) => {
                let step = match to {
                    _ if manner.limit < limit => {
                        self.within(manner.limit, from, to.end(), (limit, budget))
                    }
                    To::Fd(to) => self.end_to_end((from, limit), Place::Fd(to), budget),
                    _ => self.end_to_end((from, limit), Place::Nowhere, budget),
                };
                match step.next {
                    Next::Ended => Step { next: self.end_of_link(last).next, ..step },
                    _ => step,
                }
            }
            // The write waits for the next step: a user's `write` may panic, and the source's layers must
            // have been told of this read by then.
            (Bottom::Fd(from), To::Writer) => {
                let fd = from.fd.fd().as_raw_fd();
                // A sink may be written to and bypassed in turn: that is no reason for another plan.
                if self.ends.is_none_or(|(from, _)| from != fd) {
                    self.meets((fd, NO_FD));
                }
                let from = self.as_it_is(from, limit, budget);
                self.tries(Mechanism::ReadWrite);
                let is_stream = is_stream_socket(from.fd);
                // A message is read whole, even beyond the budget.
                let most = if from.fd.is_stream() { most } else { limit };
                let answer = self.read(from, most, is_stream);
                match answer.outcome {
                    Outcome::Nothing => self.end_of_link(last),
                    outcome => {
                        let step = step_of(Answer { outcome, ..answer }, 1);
                        Step { drained: step.drained && is_stream, ..step }
                    }
                }
            }
        }
    }

    /// This link of the source has ended, or its limit lets no more through.
    fn end_of_link(&mut self, last: bool) -> Step {
        if last {
            return Step::idle(Next::Ended);
        }
        self.replan();
        self.link = self.link.next();
        Step::idle(Next::Again)
    }

    /// Writes once from a layer's buffer to the sink's descriptor.
    fn write_past(&mut self, bytes: &[u8], to: End<'_>, limit: u64) -> Step {
        self.tries(Mechanism::ReadWrite);
        let most = usize::try_from(limit).map_or(bytes.len(), |limit| limit.min(bytes.len()));
        let wrote = write_once(&bytes[..most], |bytes| Ok(sys::write_end(to, bytes)?));
        let answer = read_write::gave(wrote, most);
        self.report.deliver(Mechanism::ReadWrite, answer.delivered);
        step_of(Answer { taken: answer.delivered, ..answer }, 1)
    }

    /// Hands what a layer has buffered to the sink's own `write`.
    pub(super) fn write_buffered<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        write: &mut dyn FnMut(&[u8]) -> io::Result<usize>,
    ) -> Step {
        let mut step = Step::idle(Next::Again);
        let report = &mut self.report;
        let walked = walk_source(source, self.link, &mut |reach| match reach.bottom {
            Bottom::Buffered(bytes) => {
                let answer = read_write::gave(write_once(bytes, &mut *write), bytes.len());
                let moved = answer.delivered;
                report.deliver(Mechanism::ReadWrite, moved);
                step = Step { full: false, ..step_of(Answer { taken: moved, ..answer }, 1) };
                moved
            }
            // The buffer is gone since the step that asked for this; the next one sees what there is.
            _ => 0,
        });
        with_error(step, walked)
    }
}
