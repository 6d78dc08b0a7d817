//! Descriptors that a test has left open.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{MutexGuard, Once};

use zc_std::{Copier, pool};

use crate::serial::serial;
use crate::{data, files, sockets};

/// The open descriptors, each with its target (`/proc/self/fd`).
pub fn census() -> BTreeMap<RawFd, String> {
    let listing = format!("/proc/{}/fd", std::process::id());
    fs::read_dir("/proc/self/fd")
        .expect("procfs is mounted")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            let fd = entry.file_name().to_string_lossy().parse().ok()?;
            // The directory that is listed is open only for the listing.
            (target != listing).then_some((fd, target))
        })
        .collect()
}

/// The target of `fd`: `pipe:[4711]` for both ends of one pipe.
pub fn target(fd: RawFd) -> Option<String> {
    Some(fs::read_link(format!("/proc/self/fd/{fd}")).ok()?.to_string_lossy().into_owned())
}

/// How many bytes can be read from the descriptor with this number.
///
/// # Errors
///
/// That it is not open, or cannot tell.
pub fn bytes_waiting(fd: RawFd) -> rustix::io::Result<u64> {
    // SAFETY: it was open a moment ago, and belongs to an idle pipe of this process. It is only asked. If it has been
    // closed since, the answer is EBADF.
    rustix::io::ioctl_fionread(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// A test that has the process's descriptors to itself, and gives all that it opens back.
///
/// Has to be declared first, so that it is dropped last.
#[must_use = "the check happens when it is dropped"]
#[derive(Debug)]
pub struct NoLeaks {
    before: BTreeMap<RawFd, String>,
    _alone: MutexGuard<'static, ()>,
}

/// Waits for other tests to finish. Asserts at the end that every pipe is back in the pool, empty, and that no other
/// descriptor is open.
pub fn no_leaks() -> NoLeaks {
    NoLeaks::begin(serial())
}

/// [`no_leaks`] for a test with a tokio runtime. The first runtime of a process opens descriptors for signals that
/// stay, so it is made here, where no other test counts.
///
/// # Panics
///
/// If no runtime can be made.
pub fn no_leaks_with_tokio() -> NoLeaks {
    static FIRST: Once = Once::new();
    let alone = serial();
    FIRST.call_once(|| {
        let first = tokio::runtime::Builder::new_current_thread().enable_all().build();
        drop(first.expect("a runtime"));
    });
    NoLeaks::begin(alone)
}

impl NoLeaks {
    fn begin(alone: MutexGuard<'static, ()>) -> NoLeaks {
        pool::clear();
        NoLeaks { before: census(), _alone: alone }
    }

    /// Asserts the same now. Idle pipes of the pool are allowed; this closes them.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(pool::in_use(), 0, "pipes on loan with no copy going on");
        assert!(pool::idle() <= pool::MAX_IDLE);
        for (&fd, target) in census().iter().filter(|(fd, _)| !self.before.contains_key(fd)) {
            // A descriptor that is no pipe has leaked, which the assertion below shows.
            if target.starts_with("pipe:") {
                assert_eq!(bytes_waiting(fd), Ok(0), "bytes in a pipe that is idle");
            }
        }
        pool::clear();
        assert_eq!(census(), self.before, "descriptors before (right) and now (left)");
    }
}

impl Drop for NoLeaks {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_pool_is_clean();
            self.check();
        }
    }
}

/// Asserts that no pipe is on loan, and that the next copy begins with its own bytes: it takes the pipe that was
/// given back last.
///
/// # Panics
///
/// If either does not hold.
#[track_caller]
pub fn assert_pool_is_clean() {
    assert_eq!(pool::in_use(), 0, "pipes on loan with no copy going on");
    let sent = data::bytes(1, 70_001);
    let (mut client, stream) = sockets::unix();
    let mut file = files::empty();
    client.write_all(&sent).expect("room for it in the socket");
    drop(client);
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut file);
    assert_eq!(report.expect("a clean copy").moved(), sent.len() as u64);
    data::assert_joined(&sent, &[("a clean copy", &files::contents(&file))]);
    assert_eq!(pool::in_use(), 0, "pipes on loan with no copy going on");
}
