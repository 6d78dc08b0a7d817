//! Flushing and shutting down the sink.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use zc_core::Side;

use super::{Flow, Waits};
use crate::error::Failure;
use crate::{AsyncSink, Operation};

impl Flow {
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<(), Failure>> {
        (self.waits, self.is_flushing) = (Waits::ForSink, true);
        let flushed = ready!(Pin::new(sink).poll_flush(cx));
        self.is_flushing = false;
        flushed.map_err(|error| Failure::new(Side::Sink, Operation::Flush, error))?;
        (self.waits, self.is_unflushed) = (Waits::No, false);
        Poll::Ready(Ok(()))
    }

    /// The source has stalled: what the sink holds back must not wait for it (tokio-rs/tokio#4001).
    pub(super) fn flush_meanwhile(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Result<(), Failure> {
        if self.is_unflushed {
            let waits = self.waits;
            // Pending, the sink wakes the task, too, and the next poll comes by here again.
            if let Poll::Ready(flushed) = self.flush(cx, sink) {
                flushed?;
            }
            self.waits = waits;
        }
        Ok(())
    }

    /// Passes the end of input on.
    pub(super) fn shut_down(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<(), Failure>> {
        self.waits = Waits::ForSink;
        match ready!(Pin::new(sink).poll_shutdown(cx)) {
            // The connection is gone altogether: no peer is left to be told.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return Poll::Ready(Err(Failure::new(Side::Sink, Operation::Shutdown, error)));
            }
            _ => self.waits = Waits::No,
        }
        Poll::Ready(Ok(()))
    }
}
