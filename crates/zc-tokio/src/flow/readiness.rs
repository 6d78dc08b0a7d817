//! Readiness, which is sampled before a step; the step's own call says what of it to forget.

use std::io;
use std::task::{Context, Poll};

use zc_core::Side;
use zc_core::driver::{Next, Step};

use super::{Flow, Waits};
use crate::error::Failure;
use crate::flat::{FlatSink, FlatSource};
use crate::{AsyncSink, AsyncSource, Operation, Registered, TokioIo};

impl Flow {
    /// Whether what it waits for is still not ready: a wake-up was about the other direction, and there is nothing to
    /// look at but that.
    pub(super) fn still_waits(
        &self,
        cx: &mut Context<'_>,
        source: &dyn AsyncSource,
        sink: &dyn AsyncSink,
    ) -> bool {
        let (end, side) = match self.waits {
            Waits::ForSource if !self.must_look.get() => {
                (self.from.and_then(|fd| source.read_ready(fd)), Side::Source)
            }
            Waits::ForSink => (self.to.and_then(|fd| sink.write_ready(fd)), Side::Sink),
            _ => return false,
        };
        end.is_some_and(|end| end.poll_ready(side, cx).is_pending())
    }

    pub(super) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        end: Registered<'_>,
        side: Side,
    ) -> Poll<Result<(), Failure>> {
        let (waits, operation) = match side {
            Side::Source => (Waits::ForSource, Operation::Read),
            Side::Sink => (Waits::ForSink, Operation::Write),
        };
        match end.poll_ready(side, cx) {
            Poll::Pending => {
                // What the sink holds back is flushed by another poll.
                self.is_at_rest = side == Side::Sink || !self.is_unflushed;
                self.waits = waits;
                Poll::Pending
            }
            Poll::Ready(answer) => {
                Poll::Ready(answer.map_err(|error| Failure::new(side, operation, error)))
            }
        }
    }

    /// One step, with the readiness of both descriptors noted before it, and forgotten where the step's own
    /// call has answered "not now".
    pub(super) fn sampled(
        &mut self,
        read_end: Option<Registered<'_>>,
        write_end: Option<Registered<'_>>,
        mut source: FlatSource<'_>,
        holds_back: bool,
        budget: u64,
    ) -> Step {
        let (is_nowhere, limit) = (self.is_nowhere, self.fits);
        let to = write_end.map(|end| end.poll_fd().into());
        let mut sink = FlatSink { to, holds_back, is_nowhere, limit };
        let transfer = &mut self.transfer;
        let knows = self.trusts_short_reads || transfer.options().looks_behind;
        let mut step = None;
        let mut take = || {
            let stepped = transfer.step::<TokioIo>(&mut source, &mut sink, budget);
            let forgets = (
                matches!(stepped.next, Next::WantRead { .. }) || knows && stepped.drained,
                matches!(stepped.next, Next::WantWrite),
            );
            step = Some(stepped);
            forgets
        };
        let mut read = || {
            let Some(end) = read_end else { return take().1 };
            let mut sink_is_full = false;
            end.try_io(Side::Source, &mut || {
                let (source_is_empty, is_full) = take();
                sink_is_full = is_full;
                not_now_if(source_is_empty)
            });
            sink_is_full
        };
        match write_end {
            Some(end) => end.try_io(Side::Sink, &mut || not_now_if(read())),
            None => {
                read();
            }
        }
        // Without a step, one of the two was not ready after all. It is asked again.
        let step = step.unwrap_or_else(|| Step::idle(Next::Again));
        self.count(&step);
        step
    }
}

fn not_now_if(is_so: bool) -> io::Result<()> {
    if is_so { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}
