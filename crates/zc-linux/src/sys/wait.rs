//! Waiting, and asking whether one would have to.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Syscall, call};

/// Which of `events` are there now; and whether the other end is gone, or there is an error.
pub(crate) fn readiness(fd: BorrowedFd<'_>, events: PollFlags) -> Result<PollFlags, Errno> {
    // A hook that answers instead of the kernel answers for all of them.
    let mut ready = events;
    let n = call(Syscall::Poll, Some(fd), None, 0, |_| {
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        let n = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        ready = fds[0].revents();
        Ok(n)
    })?;
    Ok(if n > 0 { ready } else { PollFlags::empty() })
}

/// Whether some of `events` are there now, or the other end is gone, or there is an error.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> Result<bool, Errno> {
    Ok(!readiness(fd, events)?.is_empty())
}

/// Waits until `fd` is readable, has ended or failed, or `deadline` has come, if there is one.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<bool, Errno> {
    wait_for(fd, PollFlags::IN | PollFlags::RDHUP, deadline)
}

/// Waits until some of `events` are there, or the other end is gone, or there is an error, or `deadline` has come, if
/// there is one. `false`: it has come.
pub(crate) fn wait_for(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, Errno> {
    let n = call(Syscall::Poll, Some(fd), None, 0, |_| {
        // Taken anew each time, since a signal must not start the wait over.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // More seconds than a timespec holds are as good as no timeout.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        poll(&mut fds, timeout.as_ref())
    })?;
    Ok(n > 0)
}
