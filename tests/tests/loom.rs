//! The meter and the abort of a `zc_tokio::Handle`, in every order that their loads and stores can have.

use std::future::poll_fn;
use std::task::Poll;

use loom::sync::Arc;
use loom::thread;

mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
}

#[path = "../../crates/zc-tokio/src/shared.rs"]
mod shared;

use shared::Shared;

/// Tries every order with up to three preemptions. Most faults take fewer.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// Waits for the abort, like a copy that has nothing else to do.
fn until_stopped(shared: &Shared) {
    loom::future::block_on(poll_fn(|cx| match shared.is_to_stop(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }));
}

fn stops(shared: &Shared) -> bool {
    loom::future::block_on(poll_fn(|cx| Poll::Ready(shared.is_to_stop(cx))))
}

/// A copy that sleeps on for ever is a deadlock for loom.
#[test]
fn an_abort_is_never_slept_through() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        let aborting = thread::spawn(move || theirs.abort());
        until_stopped(&shared);
        aborting.join().unwrap();
        assert!(!stops(&shared), "it has stopped once already");
    });
}

#[test]
fn two_aborts_stop_it_once_or_twice() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        let aborting = thread::spawn(move || {
            theirs.abort();
            theirs.abort();
        });
        until_stopped(&shared);
        aborting.join().unwrap();
        // The second abort came after the stop, or was one with the first.
        let _ = stops(&shared);
        assert!(!stops(&shared));
    });
}

/// A copy moves from one task to another between two polls. The abort wakes the task that has it.
#[test]
fn an_abort_wakes_the_task_that_polled_last() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        let aborting = thread::spawn(move || theirs.abort());
        if !stops(&shared) {
            until_stopped(&shared);
        }
        aborting.join().unwrap();
        assert!(!stops(&shared));
    });
}

/// A meter shows only counts that there were, and never a smaller one.
#[test]
fn a_meter_only_rises() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        let copying = thread::spawn(move || {
            theirs.moved((1, 0), 10);
            theirs.moved((2, 5), 20);
        });
        let (first, last) = (shared.counts(), shared.last());
        let (then, later) = (shared.counts(), shared.last());
        assert!([0, 1, 2].contains(&first.0) && [0, 5].contains(&first.1), "{first:?}");
        assert!(first.0 <= then.0 && first.1 <= then.1 && last <= later);
        copying.join().unwrap();
        assert_eq!((shared.counts(), shared.last()), ((2, 5), 20));
    });
}
