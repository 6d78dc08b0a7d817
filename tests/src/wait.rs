//! Waiting for descriptors, by poll(2).

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether any of `events` (or a hang-up) is there now.
pub fn is_ready(fd: impl AsFd, events: PollFlags) -> bool {
    poll_one(fd, events, 0)
}

/// Waits for any of `events`, or a hang-up. Panics rather than wait for ever.
#[track_caller]
pub fn wait_for(fd: impl AsFd, events: PollFlags) {
    assert!(poll_one(fd, events, 30), "{events:?} did not come");
}

fn poll_one(fd: impl AsFd, events: PollFlags, seconds: i64) -> bool {
    let mut fds = [PollFd::new(&fd, events)];
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.expect("an open descriptor") > 0,
        }
    }
}
