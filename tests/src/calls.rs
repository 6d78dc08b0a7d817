//! Questions to a recorder's calls.

use std::collections::BTreeSet;
use std::os::fd::RawFd;

use zc_std::hook::{Record, Syscall};

use crate::fds;

/// The calls that can move bytes.
pub const MOVERS: [Syscall; 6] = [
    Syscall::Read,
    Syscall::Write,
    Syscall::Discard,
    Syscall::Splice,
    Syscall::CopyFileRange,
    Syscall::Sendfile,
];

/// Only the calls that can move bytes.
pub fn movers(calls: &[Record]) -> Vec<Record> {
    calls.iter().filter(|record| MOVERS.contains(&record.call.syscall)).copied().collect()
}

/// Which calls were made, in order.
pub fn names(calls: &[Record]) -> Vec<Syscall> {
    calls.iter().map(|record| record.call.syscall).collect()
}

/// From which descriptors to which `syscall` was made.
pub fn pairs(calls: &[Record], syscall: Syscall) -> BTreeSet<(Option<RawFd>, Option<RawFd>)> {
    of(calls, syscall).map(|record| (record.call.from, record.call.to)).collect()
}

/// How many bytes calls took from `fd`.
pub fn moved_from(calls: &[Record], fd: RawFd) -> u64 {
    moved(calls.iter().filter(|record| record.call.from == Some(fd)))
}

/// How many bytes calls put into `fd`.
pub fn moved_to(calls: &[Record], fd: RawFd) -> u64 {
    moved(calls.iter().filter(|record| record.call.to == Some(fd)))
}

/// How many bytes `syscall` moved.
pub fn moved_by(calls: &[Record], syscall: Syscall) -> u64 {
    moved(of(calls, syscall))
}

/// Asserts that every splice moved from `from` into a pipe, or out of the same pipe to `to`. To be called while the
/// pool still has the pipe.
#[track_caller]
pub fn assert_spliced_through_a_pipe(calls: &[Record], from: RawFd, to: RawFd) {
    let (mut filled, mut drained) = (BTreeSet::new(), BTreeSet::new());
    for record in of(calls, Syscall::Splice) {
        match (record.call.from, record.call.to) {
            (Some(source), Some(pipe)) if source == from && pipe != to => filled.insert(pipe),
            (Some(pipe), Some(sink)) if sink == to && pipe != from => drained.insert(pipe),
            other => panic!("splice between {other:?}, for a copy from {from} to {to}"),
        };
    }
    assert!(!filled.is_empty(), "no splice from {from}");
    let targets = |ends: BTreeSet<RawFd>| ends.into_iter().map(fds::target).collect::<Vec<_>>();
    let (filled, drained) = (targets(filled), targets(drained));
    assert!(filled.iter().flatten().all(|target| target.starts_with("pipe:")), "{filled:?}");
    if !drained.is_empty() {
        assert_eq!(filled, drained, "the pipes filled and the pipes drained");
    }
}

/// Asserts that no call took more from `from` once `limit` bytes had been taken.
#[track_caller]
pub fn assert_stopped_at(calls: &[Record], from: RawFd, limit: u64) {
    let mut taken = 0;
    for record in calls.iter().filter(|record| record.call.from == Some(from)) {
        assert!(taken < limit, "{record:?} after all {limit} bytes had been taken");
        taken += record.moved() as u64;
    }
    assert_eq!(taken, limit, "bytes taken from {from}");
}

fn of(calls: &[Record], syscall: Syscall) -> impl Iterator<Item = &Record> {
    calls.iter().filter(move |record| record.call.syscall == syscall)
}

fn moved<'a>(calls: impl Iterator<Item = &'a Record>) -> u64 {
    calls.map(|record| record.moved() as u64).sum()
}
