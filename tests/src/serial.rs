//! One test at a time.
//!
//! Descriptors and pooled pipes belong to the whole process, and cargo runs the tests of one binary on many threads
//! of one process. A test that counts them keeps the others out.

use std::sync::{Mutex, MutexGuard, PoisonError};

static LOCK: Mutex<()> = Mutex::new(());

/// Keeps every other caller in this process waiting until the guard is dropped.
pub fn serial() -> MutexGuard<'static, ()> {
    // A test that failed leaves nothing half-done here.
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
