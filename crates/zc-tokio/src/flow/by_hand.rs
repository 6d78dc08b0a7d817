//! Steps that an end's own `poll_read` or `poll_write` makes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use zc_core::driver::Step;

use super::{Flow, Waits};
use crate::error::Failure;
use crate::flat::FlatSource;
use crate::{AsyncSink, AsyncSource, TokioIo};

impl Flow {
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        most: u64,
        source: &mut dyn AsyncSource,
    ) -> Poll<Result<Step, Failure>> {
        let mut is_pending = false;
        self.is_by_hand = true;
        let transfer = &mut self.transfer;
        // A chain may drop links that have ended, once it is read. Which, is not known after a panic: those that it has
        // kept end again.
        let link = std::mem::take(&mut self.link);
        let (step, link) = link.across::<TokioIo, _, _>(source, |source| {
            transfer.read_with(most, |room| {
                let mut room = ReadBuf::new(room);
                match Pin::new(&mut *source).poll_read(cx, &mut room) {
                    Poll::Ready(Ok(())) => Ok(room.filled().len()),
                    Poll::Ready(Err(error)) => Err(no_would_block(error)),
                    Poll::Pending => {
                        is_pending = true;
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                }
            })
        });
        self.link = link;
        self.count(&step);
        if is_pending {
            self.waits = Waits::ForSource;
            // It says by itself when it has more, and of how many bytes.
            (self.is_unsure, self.gained) = (false, 0);
            return Poll::Pending;
        }
        Poll::Ready(Ok(step))
    }

    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut FlatSource<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        let mut is_pending = false;
        self.is_by_hand = true;
        let step = self.transfer.write_with::<TokioIo>(source, |bytes| {
            match Pin::new(&mut *sink).poll_write(cx, bytes) {
                Poll::Ready(answer) => answer.map_err(no_would_block),
                Poll::Pending => {
                    is_pending = true;
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        });
        self.count(&step);
        if is_pending {
            self.waits = Waits::ForSink;
            return Poll::Pending;
        }
        self.is_unflushed |= step.delivered > 0;
        Poll::Ready(Ok(step))
    }
}

/// From a `poll_` method that was not pending. It has registered no waker, so it must not be waited for.
fn no_would_block(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::Error::other(error) } else { error }
}
