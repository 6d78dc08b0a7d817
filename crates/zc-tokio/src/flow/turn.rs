//! A turn of a copy: as much as it may do before others have theirs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use zc_core::driver::{Next, Step};

use super::{Flow, GATHERED, Phase, Slice, Then, Waits};
use crate::error::Failure;
use crate::{AsyncSink, AsyncSource};

/// From this many bytes at a time on, a sender's next ones are worth waiting for together. A step's own word for that
/// ([`Next::WantRead`]) is rarely heard here: a short read is answer enough for a copy to wait.
const BULK: u64 = 16 * 1024;

impl Flow {
    /// Copies until it has to wait, or `slice` is used up. Pending, it has seen to it that the task is woken, unless
    /// it waits [until](Waits::Until) a time.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        mut slice: Slice,
    ) -> Poll<Result<(), Failure>> {
        self.has_run = false;
        if self.is_at_rest && self.still_waits(cx, source, sink) {
            self.gathers = false;
            // Pipes may have become scarce.
            self.transfer.park();
            return Poll::Pending;
        }
        (self.waits, self.is_at_rest) = (Waits::No, false);
        if take_part(cx).is_pending() {
            return Poll::Pending;
        }
        self.has_run = true;
        if self.headroom.is_much() {
            slice.start();
        }
        let outcome = self.run(cx, source, sink, &mut slice);
        if outcome.is_pending() && self.waits == Waits::ForSource {
            self.gathers = self.coalesces && self.gained >= BULK && self.left >= GATHERED;
            // The next poll looks at it when the delay is over, since fewer bytes wake no task.
            self.is_unsure |= self.gathers;
            self.gained = 0;
        } else {
            self.gathers = false;
        }
        let has_had_its_turn = outcome.is_pending() && self.waits == Waits::No;
        // Over a yield, which is short, only an empty pipe is given back, or any that others could use.
        let is_empty = self.transfer.in_flight() == 0;
        if !has_had_its_turn || is_empty || zc_linux::pool::is_scarce() {
            self.transfer.park();
        }
        outcome
    }

    /// Counts what a step has moved, before any layer is told of it, which may panic.
    pub(super) fn count(&mut self, step: &Step) {
        if self.left < u64::MAX {
            self.left -= step.taken.min(self.left);
        }
        self.delivered += step.delivered;
        self.gained += step.taken;
    }

    /// Waits for a step that is made elsewhere, if there is one. Nothing more is done.
    pub(crate) fn settle(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
    ) -> Poll<()> {
        if self.away().is_some() {
            // It is counted. An error comes too late.
            let _ = ready!(self.come_back(cx, source, sink));
        }
        Poll::Ready(())
    }

    fn run(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        slice: &mut Slice,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.phase {
                Phase::Copying => ready!(self.copy(cx, source, sink, slice))?,
                Phase::Ending => {
                    ready!(self.flush(cx, sink))?;
                    self.transfer.park();
                    self.unsettle();
                    self.phase = match self.then {
                        Then::Flush => Phase::Done,
                        Then::ShutDown => Phase::ShuttingDown,
                    };
                }
                Phase::ShuttingDown => {
                    ready!(self.shut_down(cx, sink))?;
                    self.phase = Phase::Done;
                }
                Phase::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies until the source has ended and all is delivered.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        slice: &mut Slice,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if slice.is_over() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let step = match self.step(cx, source, sink, slice.bytes()) {
                Poll::Ready(step) => step?,
                Poll::Pending => {
                    if self.waits != Waits::ForSink {
                        self.flush_meanwhile(cx, sink)?;
                    }
                    return Poll::Pending;
                }
            };
            // It asks for a flush again in each turn: with that a small slice would be used up each time.
            if !matches!(step.next, Next::FlushSink) {
                slice.used(step.taken.max(step.delivered), std::mem::take(&mut self.is_by_hand));
            }
            match step.next {
                // After a "not now", the wait is the next step's.
                Next::Again | Next::WantRead { .. } | Next::WantWrite => {}
                Next::Ended => {
                    self.phase = Phase::Ending;
                    return Poll::Ready(Ok(()));
                }
                Next::FlushSink => {
                    ready!(self.flush(cx, sink))?;
                    self.transfer.flushed();
                }
                Next::Failed(error) => return Poll::Ready(Err((*error).into())),
                Next::ReadSource(_) | Next::WriteSink | Next::NotBefore(_) => {
                    unreachable!("done by the step")
                }
            }
        }
    }
}

/// Takes a share of what the task may do before others have their turn, for copies between ends that
/// themselves take none. (Without tokio's `rt` there is no other way to it than a source that does.)
pub(crate) fn take_part(cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut tokio::io::empty()).poll_read(cx, &mut ReadBuf::new(&mut []))
}
