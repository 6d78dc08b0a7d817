//! Descriptors that stay open behind one's back.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::RawFd;
use std::sync::MutexGuard;

use zc_std::pool;

use crate::serial::serial;

/// The descriptors open now, each with what it is open on (`/proc/self/fd`).
pub fn census() -> BTreeMap<RawFd, String> {
    let listing = format!("/proc/{}/fd", std::process::id());
    fs::read_dir("/proc/self/fd")
        .expect("procfs is mounted")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            let fd = entry.file_name().to_string_lossy().parse().ok()?;
            // The directory being listed is open for as long as the listing takes.
            (target != listing).then_some((fd, target))
        })
        .collect()
}

/// What `fd` is open on: `pipe:[4711]` for both ends of one pipe.
pub fn target(fd: RawFd) -> Option<String> {
    Some(fs::read_link(format!("/proc/self/fd/{fd}")).ok()?.to_string_lossy().into_owned())
}

/// A test that has the process's descriptors to itself, and gives back all it opened.
///
/// Declare it first, so that it is dropped last.
#[must_use = "the check happens when it is dropped"]
#[derive(Debug)]
pub struct NoLeaks {
    before: BTreeMap<RawFd, String>,
    _alone: MutexGuard<'static, ()>,
}

/// Waits for other tests to finish, and checks at the end that every pipe went back to the pool and
/// no other descriptor stayed open.
pub fn no_leaks() -> NoLeaks {
    let alone = serial();
    pool::clear();
    NoLeaks { before: census(), _alone: alone }
}

impl NoLeaks {
    /// Checks here and now. Idle pipes of the pool are allowed, and closed by this.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(pool::in_use(), 0, "pipes on loan with no copy going on");
        assert!(pool::idle() <= pool::MAX_IDLE);
        pool::clear();
        assert_eq!(census(), self.before, "descriptors before (right) and now (left)");
    }
}

impl Drop for NoLeaks {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}
