//! What other tasks see of a copy, and how they stop it.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use crate::shared::Shared;

/// A view of a [`Copier`](crate::Copier) or [`Relay`](crate::Relay) that any task may hold: what has moved so
/// far, and a way to stop it.
///
/// ```
/// use zc_tokio::{Copier, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut copier = Copier::new();
/// let handle = copier.handle();
/// copier.run(&mut &b"hello"[..], &mut Vec::new()).await?;
/// assert_eq!(handle.counts(), (5, 0));
///
/// handle.abort();
/// let stopped = copier.run(&mut &b"more"[..], &mut Vec::new()).await.unwrap_err();
/// assert_eq!(stopped.operation(), Operation::Abort);
/// # Ok::<(), zc_tokio::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    made: Instant,
}

impl Handle {
    pub(crate) fn new(counts: (u64, u64)) -> Handle {
        let handle = Handle { shared: Arc::new(Shared::new()), made: Instant::now() };
        handle.shared.moved(counts, 0);
        handle
    }

    /// How many bytes have been delivered so far: from the first end to the second, and back. They begin anew where those
    /// of the copier or relay do: with other ends, or once all had been copied.
    pub fn counts(&self) -> (u64, u64) {
        self.shared.counts()
    }

    /// How long no bytes have moved; since the first handle was made or the counts began anew, if none have.
    pub fn idle(&self) -> Duration {
        self.made.elapsed().saturating_sub(Duration::from_micros(self.shared.last()))
    }

    /// Stops it: the copy that runs, or the next one, returns an error with
    /// [`Operation::Abort`](crate::Operation::Abort). What is in flight stays there, and it may be run again.
    pub fn abort(&self) {
        self.shared.abort();
    }

    pub(crate) fn moved(&self, counts: (u64, u64), now: Instant) {
        let last = now.saturating_duration_since(self.made).as_micros();
        self.shared.moved(counts, u64::try_from(last).unwrap_or(u64::MAX));
    }

    /// Whether it is to stop now, which is forgotten by this. Otherwise an abort wakes the task.
    pub(crate) fn is_to_stop(&self, cx: &mut Context<'_>) -> bool {
        self.shared.is_to_stop(cx)
    }
}
