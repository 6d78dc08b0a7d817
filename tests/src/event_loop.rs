//! Event loops around a [`Copier`], as its users write them.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use zc_std::{Copier, CopyError, ReadSource, Side, WriteSink};

use crate::each_cell::joined;

/// How a loop hears of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// poll(2), level-triggered.
    ByLevel,
    /// epoll(7), edge-triggered.
    ByEdge,
}

/// On which threads the calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// On the loop's own.
    One,
    /// On another one each time.
    Many,
}

/// How long a peer may take: a guard against hangs.
const PATIENCE: Timespec = Timespec { tv_sec: 4, tv_nsec: 0 };

/// A loop that makes this many calls in a row without moving a byte spins.
const FRUITLESS: u32 = 1000;

/// Copies all of `from` into `to`, waiting for the side that the copier names. Returns how many bytes moved.
///
/// # Errors
///
/// The first error that is not `WouldBlock`.
///
/// # Panics
///
/// If a wait is in vain, or the loop spins.
#[track_caller]
pub fn copy_all<R, W>(
    (told, threads): (Told, Threads),
    copier: &mut Copier,
    from: &mut R,
    to: &mut W,
) -> Result<u64, CopyError>
where
    R: ReadSource + AsFd + Send,
    W: WriteSink + AsFd + Send,
{
    let edges = Edges::of(&*from, &*to);
    let (mut moved, mut fruitless, mut begun) = (0, 0, false);
    loop {
        let mut go_on = || if begun { copier.resume(from, to) } else { copier.copy(from, to) };
        let outcome = match threads {
            Threads::One => go_on(),
            Threads::Many => thread::scope(|scope| joined(scope.spawn(&mut go_on))),
        };
        begun = true;
        let error = match outcome {
            Ok(report) => return Ok(moved + report.moved()),
            Err(error) => error,
        };
        moved += error.moved();
        let Some(side) = error.waits_for() else { return Err(error.with_moved(moved)) };
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        fruitless = if error.moved() > 0 { 0 } else { fruitless + 1 };
        assert!(fruitless < FRUITLESS, "{side:?} is ready, and the copy waits for it ({error})");
        let came = match told {
            Told::ByLevel => level(side, &*from, &*to),
            Told::ByEdge => edges.wait_for(side),
        };
        let held = copier.in_flight();
        assert!(
            came,
            "{side:?} does not get ready after {moved} bytes, {held} in flight ({error})"
        );
    }
}

/// Whether the side becomes ready, by poll(2).
pub(crate) fn level(side: Side, from: impl AsFd, to: impl AsFd) -> bool {
    let mut fds = [match side {
        Side::Source => PollFd::new(&from, PollFlags::IN),
        Side::Sink => PollFd::new(&to, PollFlags::OUT),
    }];
    retry_on_intr(|| poll(&mut fds, Some(&PATIENCE))).expect("open descriptors") > 0
}

/// Both sides, watched for changes.
pub(crate) struct Edges(std::os::fd::OwnedFd);

impl Edges {
    pub(crate) fn of(from: impl AsFd, to: impl AsFd) -> Edges {
        let edges = Edges(epoll::create(CreateFlags::CLOEXEC).expect("a descriptor"));
        for (fd, side, flags) in [
            (from.as_fd(), Side::Source, EventFlags::IN | EventFlags::RDHUP),
            (to.as_fd(), Side::Sink, EventFlags::OUT),
        ] {
            match epoll::add(&edges.0, fd, EventData::new_u64(side as u64), flags | EventFlags::ET)
            {
                // A regular file, for which no loop waits.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => panic!("epoll_ctl: {errno}"),
            }
        }
        edges
    }

    /// Waits for the next change on the side, or for one that has not been reported yet.
    pub(crate) fn wait_for(&self, side: Side) -> bool {
        loop {
            let mut events = Vec::with_capacity(2);
            let room = || epoll::wait(&self.0, spare_capacity(&mut events), Some(&PATIENCE));
            if retry_on_intr(room).expect("an open descriptor") == 0 {
                return false;
            }
            if events.iter().any(|event: &epoll::Event| event.data.u64() == side as u64) {
                return true;
            }
        }
    }
}
