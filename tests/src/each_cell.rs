//! One behaviour in many cells of a table, each of them checked even if an earlier one fails.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::ScopedJoinHandle;

/// Checks every cell.
///
/// # Panics
///
/// If any cell failed, with a line for each of these.
#[track_caller]
pub fn each<T: Debug>(cells: impl IntoIterator<Item = T>, check: impl Fn(&T)) {
    let (mut all, mut failed) = (0, Vec::new());
    for cell in cells {
        all += 1;
        // If the check hangs, the last of these lines says where.
        eprintln!("cell {cell:?}");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&cell))) {
            failed.push(format!("  {cell:?}: {}", message(&*panic)));
        }
    }
    let count = failed.len();
    assert!(failed.is_empty(), "{count} of {all} cells failed:\n{}", failed.join("\n"));
}

/// Every pair of one of each.
pub fn pairs<A: Copy, B: Copy>(ones: &[A], others: &[B]) -> Vec<(A, B)> {
    ones.iter().flat_map(|&one| others.iter().map(move |&other| (one, other))).collect()
}

/// What a scoped thread returned. Its panic goes on in this thread, with its own message.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}
