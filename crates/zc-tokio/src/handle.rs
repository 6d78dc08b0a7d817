//! What other tasks see of a copy, and how they stop it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

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
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    counts: [AtomicU64; 2],
    made: Instant,
    /// When bytes moved last, in microseconds from `made`.
    last: AtomicU64,
    is_to_stop: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Handle {
    pub(crate) fn new() -> Handle {
        Handle(Arc::new(Shared {
            counts: [AtomicU64::new(0), AtomicU64::new(0)],
            made: Instant::now(),
            last: AtomicU64::new(0),
            is_to_stop: AtomicBool::new(false),
            waker: Mutex::new(None),
        }))
    }

    /// How many bytes have been delivered so far: from the first end to the second, and back.
    pub fn counts(&self) -> (u64, u64) {
        let [there, back] = &self.0.counts;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }

    /// How long no bytes have moved; since it was made, if none have.
    pub fn idle(&self) -> Duration {
        let last = Duration::from_micros(self.0.last.load(Ordering::Relaxed));
        self.0.made.elapsed().saturating_sub(last)
    }

    /// Stops it: the copy that runs, or the next one, returns an error with
    /// [`Operation::Abort`](crate::Operation::Abort). What is in flight stays there, and it may be run again.
    pub fn abort(&self) {
        self.0.is_to_stop.store(true, Ordering::Release);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn moved(&self, counts: (u64, u64), now: Instant) {
        self.0.counts[0].store(counts.0, Ordering::Relaxed);
        self.0.counts[1].store(counts.1, Ordering::Relaxed);
        let last = now.saturating_duration_since(self.0.made).as_micros();
        self.0.last.store(u64::try_from(last).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it is to stop now, which is forgotten by this. Otherwise an abort wakes the task.
    pub(crate) fn is_to_stop(&self, cx: &mut Context<'_>) -> bool {
        // An abort after this look finds the waker; one before it is seen below.
        {
            let mut waker = self.waker();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        self.0.is_to_stop.load(Ordering::Acquire) && self.0.is_to_stop.swap(false, Ordering::AcqRel)
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        // A panicking clone of a waker leaves the old one or none.
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
