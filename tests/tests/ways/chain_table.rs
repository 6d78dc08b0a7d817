//! Every cell of the chain table: what comes out, what is left, and which calls did it.

use std::io::Read;

use zc_std::Mechanism::{self, CopyFileRange, Discard, ReadWrite, Sendfile, Splice};
use zc_std::hook::{self, Record, Syscall};
use zc_std::{Copier, PageSharing};
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, Giver, Taker, To};
use zc_testkit::{calls, fds};

/// The columns of the tables.
const COLUMNS: [&[To]; 6] = [
    &[To::File],
    &[To::Tcp4, To::Tcp6, To::Unix],
    &[To::Pipe, To::Fifo],
    &[To::Null],
    &[To::Sink],
    &[To::Tty, To::Plain],
];

const FILE: &[From] = &[From::File];
const TCP: &[From] = &[From::Tcp4, From::Tcp6];
const UNIX: &[From] = &[From::Unix];
const PIPE: &[From] = &[From::Pipe, From::Fifo];
const OTHER: &[From] = &[From::Tty, From::Plain];

type Row = (&'static [From], [Mechanism; 6]);

/// The chain table: the first mechanism of each cell.
#[rustfmt::skip]
mod table {
    use super::*;
    //  from \ to              file           TCP, Unix  pipe, FIFO  /dev/null  io::sink() anything else
    pub(super) const FILES:   Row = (FILE,   [CopyFileRange, Sendfile,  ReadWrite,  Sendfile,  ReadWrite, ReadWrite]);
    pub(super) const TCPS:    Row = (TCP,    [Splice,        Splice,    Splice,     Discard,   Discard,   ReadWrite]);
    pub(super) const UNIXES:  Row = (UNIX,   [Splice,        Splice,    Splice,     Splice,    ReadWrite, ReadWrite]);
    pub(super) const PIPES:   Row = (PIPE,   [Splice,        Splice,    Splice,     Splice,    ReadWrite, ReadWrite]);
    pub(super) const OTHERS:  Row = (OTHER,  [ReadWrite,     ReadWrite, ReadWrite,  ReadWrite, ReadWrite, ReadWrite]);
    // The first row again, with the other kinds of page sharing.
    pub(super) const NEVER:   Row = (FILE,   [CopyFileRange, ReadWrite, ReadWrite,  ReadWrite, ReadWrite, ReadWrite]);
    pub(super) const ALWAYS:  Row = (FILE,   [CopyFileRange, Sendfile,  Splice,     Sendfile,  ReadWrite, ReadWrite]);
}

#[test]
fn files_go_by_the_calls_of_their_row() {
    check_row(table::FILES, PageSharing::default());
}

#[test]
fn files_that_share_no_pages_go_by_the_calls_of_their_row() {
    check_row(table::NEVER, PageSharing::Never);
}

#[test]
fn files_that_always_share_pages_go_by_the_calls_of_their_row() {
    check_row(table::ALWAYS, PageSharing::Always);
}

#[test]
fn sockets_go_by_the_calls_of_their_row() {
    check_row(table::TCPS, PageSharing::default());
    check_row(table::UNIXES, PageSharing::default());
}

#[test]
fn pipes_go_by_the_calls_of_their_row() {
    check_row(table::PIPES, PageSharing::default());
}

#[test]
fn other_sources_go_by_the_calls_of_their_row() {
    check_row(table::OTHERS, PageSharing::default());
}

fn check_row((from, mechanisms): Row, sharing: PageSharing) {
    for &from in from {
        for (column, mechanism) in COLUMNS.into_iter().zip(mechanisms) {
            for &to in column {
                let cell = Cell { from, to, mechanism, sharing };
                cell.check(1);
                cell.check(4097);
                cell.check(200_000);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    from: From,
    to: To,
    mechanism: Mechanism,
    sharing: PageSharing,
}

impl Cell {
    /// All of `len` bytes, and limits of one less, half, one more and none.
    fn check(self, len: usize) {
        let n = len as u64;
        for limit in [None, Some(n - 1), Some(n / 2), Some(n + 1), Some(0)] {
            self.copy(len, limit, false);
        }
        self.copy(len, None, true);
        self.copy(len, Some(n / 2), true);
    }

    fn copy(self, len: usize, limit: Option<u64>, adaptive: bool) {
        let _leaks = fds::no_leaks();
        let what = format!("{self:?}, {len} bytes, limit {limit:?}, adaptive {adaptive}");
        let mut giver = self.from.open(data::bytes(3, len));
        let mut taker = self.to.open();

        let recorder = hook::record();
        let mut copier = Copier::new().adaptive(adaptive).page_sharing(self.sharing);
        let (report, left) = if let Some(limit) = limit {
            let mut limited = (&mut giver.source).take(limit);
            let report = copier.copy(&mut limited, &mut taker.sink);
            (report, Some(limited.limit()))
        } else {
            (copier.copy(&mut giver.source, &mut taker.sink), None)
        };
        let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
        let calls = recorder.calls();
        drop(recorder);

        let moved = limit.map_or(len as u64, |limit| limit.min(len as u64));
        assert_eq!(left, limit.map(|limit| limit - moved), "{what}");
        assert_eq!(report.moved(), moved, "{what}");
        assert_eq!(report.calls(), calls.len() as u64, "{what}");
        assert_eq!(copier.in_flight(), 0, "{what}");
        if limit == Some(0) {
            assert!(calls.is_empty(), "{what}: {calls:?}");
        }
        // What an adaptive copy learns may make it read and write, and do nothing else.
        let named = report.moved_by(self.mechanism);
        if adaptive {
            assert!(named == moved || named + report.moved_by(ReadWrite) == moved, "{what}");
        } else {
            assert_eq!(named, moved, "{what}: {report:?}");
            self.check_calls(&calls, &giver, &taker, moved);
        }
        self.check_descriptors(&calls, &giver, &taker, moved);
        if let (Some(from), true) = (giver.fd, limit == Some(moved)) {
            calls::assert_stopped_at(&calls, from, moved);
        }

        let (want, rest) = giver.data.split_at(moved as usize);
        let (want, rest) = (want.to_vec(), rest.to_vec());
        if let Some(got) = taker.finish() {
            assert_same(&got, &want);
        }
        assert_same(&giver.rest(), &rest);
        if let Some(feeder) = giver.feeder {
            feeder.finish().unwrap();
        }
    }

    /// Asserts that only the mechanism's own call moved bytes, between the two descriptors.
    fn check_calls(self, calls: &[Record], giver: &Giver, taker: &Taker, moved: u64) {
        let none = |syscalls: &[Syscall]| {
            for &syscall in syscalls {
                assert!(calls::pairs(calls, syscall).is_empty(), "{self:?}: {syscall:?}");
            }
        };
        let between = [(giver.fd, taker.fd)].into();
        match self.mechanism {
            CopyFileRange if moved > 0 => {
                assert_eq!(calls::pairs(calls, Syscall::CopyFileRange), between);
                none(&[Syscall::Sendfile, Syscall::Splice, Syscall::Write]);
            }
            Sendfile if moved > 0 => {
                assert_eq!(calls::pairs(calls, Syscall::Sendfile), between);
                none(&[Syscall::CopyFileRange, Syscall::Splice, Syscall::Write]);
            }
            Discard if moved > 0 => {
                assert_eq!(calls::pairs(calls, Syscall::Discard), [(giver.fd, None)].into());
                none(&[Syscall::Read, Syscall::Splice, Syscall::Pipe, Syscall::Write]);
            }
            Splice if moved > 0 && self.needs_no_pipe() => {
                assert_eq!(calls::pairs(calls, Syscall::Splice), between);
                none(&[Syscall::Pipe, Syscall::Write]);
            }
            Splice if moved > 0 => {
                let (from, to) = (giver.fd.unwrap(), taker.fd.unwrap());
                calls::assert_spliced_through_a_pipe(calls, from, to);
                none(&[Syscall::Write]);
            }
            _ => none(&[
                Syscall::CopyFileRange,
                Syscall::Sendfile,
                Syscall::Discard,
                Syscall::Splice,
                Syscall::Pipe,
            ]),
        }
    }

    /// Asserts that every byte was taken from the one descriptor and given to the other.
    fn check_descriptors(self, calls: &[Record], giver: &Giver, taker: &Taker, moved: u64) {
        if let Some(from) = giver.fd {
            assert_eq!(calls::moved_from(calls, from), moved, "{self:?}");
        }
        if let Some(to) = taker.fd {
            let discarded = calls::moved_by(calls, Syscall::Discard);
            assert_eq!(calls::moved_to(calls, to) + discarded, moved, "{self:?}");
        }
    }

    /// From a pipe to another or to the null device, or from a file to a pipe. (Between a pipe of another
    /// process's and a socket or file the kernel keeps that pipe locked while it waits for the other end.)
    fn needs_no_pipe(self) -> bool {
        match self.from {
            From::Pipe | From::Fifo => matches!(self.to, To::Pipe | To::Fifo | To::Null),
            From::File => matches!(self.to, To::Pipe | To::Fifo),
            _ => false,
        }
    }
}
