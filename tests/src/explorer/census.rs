//! Which descriptors this process has open, in one system call.
//!
//! A listing of /proc/self/fd takes longer than the copy that is checked. poll(2) answers POLLNVAL for every number
//! that is not open.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Numbers above this are not looked at. Descriptors get the lowest free number, so a leak shows.
const HIGHEST: RawFd = 96;

/// The descriptors that are open, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census(Vec<bool>);

impl Census {
    /// Takes the census.
    pub fn take() -> Census {
        let mut fds: Vec<PollFd<'_>> = (0..HIGHEST)
            .map(|fd| {
                // SAFETY: poll(2) answers POLLNVAL for a number that is not open. No other call is made with the
                // number.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                PollFd::from_borrowed_fd(fd, PollFlags::empty())
            })
            .collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).expect("poll that does not wait");
        Census(fds.iter().map(|fd| !fd.revents().contains(PollFlags::NVAL)).collect())
    }

    /// The numbers that are open now and were not, and the numbers that were and are not.
    pub fn changes(&self) -> (Vec<RawFd>, Vec<RawFd>) {
        let now = Census::take();
        let only = |some: &Census, others: &Census| {
            let open = some.0.iter().zip(&others.0).map(|(some, other)| *some && !*other);
            (0..).zip(open).filter_map(|(fd, open)| open.then_some(fd)).collect()
        };
        (only(&now, self), only(self, &now))
    }
}
