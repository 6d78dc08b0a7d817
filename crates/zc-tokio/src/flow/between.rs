//! From descriptor to descriptor, past the layers of both ends, which are told afterwards.

use std::os::fd::RawFd;
use std::task::{Context, Poll, ready};

use zc_core::Side;
use zc_core::driver::{Next, Step, walk_source};

use super::look::tell_sink;
use super::{Flow, Waits};
use crate::error::Failure;
use crate::flat::{FlatSource, From};
use crate::{AsyncSink, AsyncSource, Registered, TokioIo};

/// How many bytes a source's owner may read, if it finds some where a call past it has found none.
const BY_OWNER: u64 = 4096;

/// A step that brings fewer bytes than this brings a message, or its last part.
const MESSAGE: u64 = 32 * 1024;

impl Flow {
    /// A step from the descriptor `from`, or with what is in flight, to the descriptor `to`.
    pub(super) fn step_flat(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        from: Option<(RawFd, u64)>,
        sink: &mut dyn AsyncSink,
        (to, holds_back): (Option<RawFd>, bool),
        budget: u64,
    ) -> Poll<Result<Step, Failure>> {
        let (mut flat, mut read_end) = (FlatSource::nowhere(), None);
        if let Some((fd, limit)) = from {
            let Some(end) = source.read_ready(fd) else {
                // No way to wait for it but its own `poll_read`.
                return Poll::Ready(Ok(Step::idle(Next::ReadSource(limit.min(budget)))));
            };
            flat = FlatSource { from: From::Fd(end.poll_fd().into()), limit };
            read_end = Some(end);
            let is_ready = self.poll_ready(cx, end, Side::Source)?;
            if is_ready.is_pending() {
                if !self.must_look.take() {
                    return Poll::Pending;
                }
                // Tokio knows of no readiness that could be forgotten.
                (read_end, self.waits, self.is_at_rest) = (None, Waits::No, false);
            }
        }
        let write_end = to.and_then(|fd| sink.write_ready(fd));
        if let Some(end) = write_end {
            ready!(self.poll_ready(cx, end, Side::Sink))?;
        }
        let step = self.sampled(read_end, write_end, flat, holds_back, budget);
        self.headroom.saw(&step);
        // A hidden end's owner is asked to wait for it.
        let step = match step.next {
            Next::WantRead { .. } if read_end.is_some_and(Registered::is_hidden) => {
                let limit = from.map_or(0, |(_, limit)| limit);
                // A message that does not fit would be cut.
                let is_stream = read_end.is_some_and(|end| end.poll_fd().is_stream());
                let most = if is_stream { limit.min(budget).min(BY_OWNER) } else { limit };
                Step { next: Next::ReadSource(most), ..step }
            }
            Next::WantWrite if write_end.is_some_and(Registered::is_hidden) => {
                Step { next: Next::WriteSink, ..step }
            }
            _ => step,
        };
        if from.is_some() {
            match step.next {
                Next::WantRead { .. } => self.is_unsure = false,
                _ if read_end.is_none() => self.look(),
                _ => self.is_unsure |= self.trusts_short_reads && step.drained,
            }
            // A message is the last for now, as a rule. A bulk sender has more, and the look would be wasted.
            if step.taken > 0 && !self.trusts_short_reads {
                self.transfer.options_mut().looks_behind = step.taken < MESSAGE;
            }
        }
        if self.trusts_short_reads && step.drained {
            self.transfer.ran_dry();
        }
        if step.taken > 0 {
            let told = walk_source::<TokioIo>(source, self.link, &mut |_| step.taken);
            debug_assert!(told.is_ok(), "a descriptor is no buffer");
        }
        if write_end.is_some() || self.is_nowhere {
            tell_sink(sink, step.delivered);
        }
        Poll::Ready(Ok(step))
    }

    /// Gives the sink bytes that lie in a layer's buffer.
    pub(super) fn give(
        &mut self,
        cx: &mut Context<'_>,
        mut source: FlatSource<'_>,
        sink: &mut dyn AsyncSink,
        (to, holds_back): (Option<RawFd>, bool),
    ) -> Poll<Result<Step, Failure>> {
        let Some(to) = to.and_then(|fd| sink.write_ready(fd)) else {
            return self.write(cx, &mut source, sink);
        };
        ready!(self.poll_ready(cx, to, Side::Sink))?;
        let is_hidden = to.is_hidden();
        let step = self.sampled(None, Some(to), source, holds_back, u64::MAX);
        if is_hidden && matches!(step.next, Next::WantWrite) {
            // Only its owner can wait for it, with the same bytes.
            return self.write(cx, &mut source, sink);
        }
        tell_sink(sink, step.delivered);
        Poll::Ready(Ok(step))
    }
}
