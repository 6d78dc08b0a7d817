//! Waits for descriptors, by poll(2), and for threads to wait.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until a thread sleeps in a call. `task` is its directory in procfs: `self/task/TID` for a thread of this
/// process, `PID` for another one's main thread.
///
/// # Panics
///
/// If it does not sleep within 10 seconds, or has ended.
#[track_caller]
pub fn until_it_sleeps(task: &str) {
    const LOOKS: u32 = 10_000;
    // One look may meet a short sleep: for a lock, or for a page that is read in.
    const IN_A_ROW: u32 = 20;
    let mut asleep = 0;
    for _ in 0..LOOKS {
        let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).expect("it lives");
        // The thread's name, in parentheses, may have any byte in it.
        let (_, state) = stat.rsplit_once(") ").expect("a name in parentheses");
        asleep = if state.starts_with('S') { asleep + 1 } else { 0 };
        if asleep == IN_A_ROW {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{task} does not sleep");
}

/// This thread, as [`until_it_sleeps`] takes it.
pub fn this_thread() -> String {
    format!("self/task/{}", rustix::thread::gettid().as_raw_nonzero())
}

/// Whether any of `events` (or a hang-up) is there now.
pub fn is_ready(fd: impl AsFd, events: PollFlags) -> bool {
    is_ready_within(fd, events, Duration::ZERO)
}

/// Waits for any of `events`, or a hang-up. Panics instead of a hang.
#[track_caller]
pub fn wait_for(fd: impl AsFd, events: PollFlags) {
    assert!(is_ready_within(fd, events, Duration::from_secs(30)), "{events:?} did not come");
}

/// Whether any of `events` (or a hang-up) comes within `time`.
pub fn is_ready_within(fd: impl AsFd, events: PollFlags, time: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, events)];
    let timeout = Timespec::try_from(time).expect("not for ever");
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.expect("an open descriptor") > 0,
        }
    }
}

/// Waits until `holds`.
///
/// # Panics
///
/// Instead of a hang.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}
