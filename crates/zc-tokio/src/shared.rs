//! What a copy shares with its handles: counts that one side writes and the other reads, and a request to
//! stop.
//!
//! It does not use tokio, and takes the atomics from `crate::sync`. A test includes this file with loom's in
//! their place, and tries every order of its loads and stores.

use std::sync::PoisonError;
use std::task::{Context, Waker};

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Shared {
    counts: [AtomicU64; 2],
    /// When bytes moved last, by a clock of the owner's.
    last: AtomicU64,
    is_to_stop: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared {
            counts: [AtomicU64::new(0), AtomicU64::new(0)],
            last: AtomicU64::new(0),
            is_to_stop: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        let [there, back] = &self.counts;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(crate) fn moved(&self, counts: (u64, u64), last: u64) {
        self.counts[0].store(counts.0, Ordering::Relaxed);
        self.counts[1].store(counts.1, Ordering::Relaxed);
        self.last.store(last, Ordering::Relaxed);
    }

    pub(crate) fn abort(&self) {
        self.is_to_stop.store(true, Ordering::Release);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
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
        self.is_to_stop.load(Ordering::Acquire) && self.is_to_stop.swap(false, Ordering::AcqRel)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        // A panicking clone of a waker leaves the old one or none.
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
