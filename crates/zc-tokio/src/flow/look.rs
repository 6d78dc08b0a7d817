//! What lies below the layers of the two ends at this moment.

use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use zc_core::driver::{Bottom, Manner, Next, Reach, Step, walk_sink, walk_source};

use super::Flow;
use crate::error::Failure;
use crate::flat::{FlatSource, From};
use crate::{AsyncSink, AsyncSource, Registered, TokioIo};

/// Where the next bytes of a source are, as far as a flow has to know.
pub(super) enum Look {
    At {
        fd: RawFd,
        /// Where in the file, if a layer keeps an offset of its own.
        offset: Option<u64>,
        limit: u64,
        step_limit: u64,
    },
    Opaque {
        limit: u64,
    },
    EndOfLink,
    NotBefore(Instant),
    /// In a buffer. They have gone from there.
    Stepped(Step),
}

impl Flow {
    /// Finds where the source's next bytes are, at most `budget` of them; and whether no link of a chain comes
    /// after. Bytes in a buffer are delivered at once.
    pub(super) fn look_at_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        (to, holds_back, is_file): (Option<RawFd>, bool, bool),
        budget: u64,
    ) -> Poll<Result<(Look, bool), Failure>> {
        let mut found = None;
        let walked = walk_source::<TokioIo>(source, self.link, &mut |reach| {
            let Reach { bottom, limit, step_limit, not_before, last } = reach;
            let budget = budget.min(step_limit);
            let look = match bottom {
                Bottom::Spent => Look::EndOfLink,
                _ if limit == 0 => Look::EndOfLink,
                _ if not_before.is_some_and(|time| now() < time) => {
                    Look::NotBefore(not_before.expect("just seen"))
                }
                Bottom::Opaque => Look::Opaque { limit: limit.min(budget) },
                Bottom::Fd(end) => {
                    let fd = end.fd.fd().as_raw_fd();
                    Look::At { fd, offset: end.offset, limit, step_limit }
                }
                // A file's writes are made elsewhere, and with a copy.
                Bottom::Buffered(mut bytes) if is_file => {
                    let read = |room: &mut [u8]| std::io::Read::read(&mut bytes, room);
                    let step = self.transfer.read_with(limit.min(budget), read);
                    self.count(&step);
                    Look::Stepped(step)
                }
                Bottom::Buffered(bytes) => {
                    let most = usize::try_from(budget).map_or(bytes.len(), |n| n.min(bytes.len()));
                    let flat = FlatSource { from: From::Bytes(&bytes[..most]), limit: budget };
                    match self.give(cx, flat, sink, (to, holds_back)) {
                        Poll::Ready(Ok(step)) => Look::Stepped(step),
                        Poll::Ready(Err(failure)) => {
                            found = Some(Poll::Ready(Err(failure)));
                            return 0;
                        }
                        Poll::Pending => {
                            found = Some(Poll::Pending);
                            return 0;
                        }
                    }
                }
            };
            let taken = if let Look::Stepped(step) = &look { step.taken } else { 0 };
            found = Some(Poll::Ready(Ok((look, last))));
            taken
        });
        let (look, last) = ready!(found.expect("a walk shows one bottom"))?;
        let step = match (look, walked) {
            (look, Ok(())) => return Poll::Ready(Ok((look, last))),
            // A layer's error comes after what the step did.
            (Look::Stepped(step), Err(error)) => {
                Step { next: Next::Failed(Box::new(error)), ..step }
            }
            (_, Err(error)) => Step::failed(error),
        };
        Poll::Ready(Ok((Look::Stepped(step), last)))
    }
}

/// The sink's descriptor, the offset if a layer keeps one of its own, and how else it takes bytes.
pub(super) fn look_at_sink(sink: &mut dyn AsyncSink) -> (Option<RawFd>, Option<u64>, Manner) {
    let mut found = (None, None, Manner::default());
    walk_sink::<TokioIo>(sink, &Cell::new(0), &mut |end, manner| {
        let fd = end.map(|end| end.fd.fd().as_raw_fd());
        found = (fd, end.and_then(|end| end.offset), manner);
    });
    let (fd, offset, manner) = found;
    // The socket's half of a step knows of no offsets.
    let is_known = |end: Registered<'_>| offset.is_none() || end.is_file();
    (fd.filter(|fd| sink.write_ready(*fd).is_some_and(is_known)), offset, manner)
}

pub(super) fn tell_sink(sink: &mut dyn AsyncSink, delivered: u64) {
    if delivered > 0 {
        walk_sink::<TokioIo>(sink, &Cell::new(delivered), &mut |_, _| {});
    }
}

/// By tokio's clock, which tests pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
