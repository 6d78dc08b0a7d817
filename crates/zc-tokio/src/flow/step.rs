//! One step: how the next bytes go.

use std::task::{Context, Poll, ready};

use zc_core::driver::{Manner, Next, Step};

use super::look::{Look, look_at_sink};
use super::{Flow, Waits};
use crate::error::Failure;
use crate::flat::FlatSource;
use crate::{AsyncSink, AsyncSource, Registered};

/// How much to take for a file at a time. A disk that stalls leaves this much in flight.
const MAX_OF_FILE: u64 = 512 * 1024;

impl Flow {
    /// One step, when the ends are ready for it.
    pub(super) fn step(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        turn: u64,
    ) -> Poll<Result<Step, Failure>> {
        if self.away().is_some() {
            return self.come_back(cx, source, sink);
        }
        let (to, offset, Manner { holds_back, is_nowhere, limit }) = look_at_sink(sink);
        (self.to, self.is_nowhere, self.fits) = (to, is_nowhere, limit);
        let (to, past) = ready!(self.settle_sink(cx, sink, to, offset))?;
        if past.is_some() && holds_back && self.is_unflushed {
            ready!(self.flush(cx, sink))?;
            // Its limit has fallen, and its offset moved on, by what it held.
            return Poll::Ready(Ok(Step::idle(Next::Again)));
        }
        if past.is_some() && self.transfer.in_flight() > 0 {
            self.leave(None, past, u64::MAX, true, false);
            return Poll::Ready(Ok(Step::idle(Next::Again)));
        }
        if self.transfer.in_flight() > 0 {
            let step = ready!(self.step_flat(cx, source, None, sink, (to, holds_back), turn))?;
            return self.finish_step(cx, step, source, sink);
        }
        if self.left == 0 {
            return Poll::Ready(Ok(Step::idle(Next::Ended)));
        }
        if let Some(file) = &past {
            self.compare_buffered(source, file)?;
        }
        let mut budget = turn.min(self.left).min(self.max_in_flight);
        budget = budget.min(match past {
            // A file takes all that it is given, if its disk does.
            Some(_) => MAX_OF_FILE,
            None => {
                let end = || to.and_then(|fd| sink.write_ready(fd)).map(Registered::poll_fd);
                self.headroom.most(end)
            }
        });
        // One byte too many, to find that there is one. The sink itself keeps to the limit for what it holds back,
        // and for what its own `poll_write` takes.
        if past.is_some() || (to.is_some() || is_nowhere) && !holds_back {
            budget = budget.min(self.fits.max(1));
        }
        let (look, last) = ready!(self.look_at_source(
            cx,
            source,
            sink,
            (to, holds_back, past.is_some()),
            budget
        ))?;
        let step = match look {
            Look::EndOfLink => Step::idle(Next::Ended),
            Look::NotBefore(time) => {
                self.waits = Waits::Until(time);
                return Poll::Pending;
            }
            Look::Opaque { limit } => Step::idle(Next::ReadSource(limit.min(budget))),
            Look::At { fd, offset, limit, step_limit } => {
                let budget = budget.min(step_limit);
                self.from = Some(fd);
                match ready!(self.settle_source(cx, source, fd, offset))? {
                    // Between a file and another one call does both.
                    Some(Some(file)) => {
                        let to = to.and_then(|fd| sink.write_ready(fd));
                        let splices = to.is_some_and(|to| to.poll_fd().is_socket());
                        let limit = limit.min(self.left);
                        self.leave(Some((file, limit)), past, budget, last, splices);
                        return Poll::Ready(Ok(Step::idle(Next::Again)));
                    }
                    Some(None) => Step::idle(Next::ReadSource(limit.min(budget))),
                    None if offset.is_some() => Step::idle(Next::ReadSource(limit.min(budget))),
                    None => {
                        let from = Some((fd, limit));
                        ready!(self.step_flat(cx, source, from, sink, (to, holds_back), budget))?
                    }
                }
            }
            Look::Stepped(step) => step,
        };
        if let (Next::ReadSource(_), Some(file)) = (&step.next, &past) {
            self.compare(source, file)?;
        }
        if matches!(step.next, Next::Ended) && !last {
            self.link = self.link.next();
            return Poll::Ready(Ok(Step { next: Next::Again, ..step }));
        }
        self.finish_step(cx, step, source, sink)
    }

    /// Does what only the source's own `poll_read` and the sink's own `poll_write` can.
    pub(super) fn finish_step(
        &mut self,
        cx: &mut Context<'_>,
        step: Step,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        match step.next {
            // What it did is counted before another call may have to wait.
            Next::WriteSink if step.taken > 0 || step.delivered > 0 => {
                Poll::Ready(Ok(Step { next: Next::Again, ..step }))
            }
            Next::ReadSource(most) => self.read(cx, most, source),
            Next::WriteSink => self.write(cx, &mut FlatSource::nowhere(), sink),
            _ => Poll::Ready(Ok(step)),
        }
    }
}
