//! Checks reports and errors against the recorded calls.

use std::io;
use std::os::fd::RawFd;

use zc_std::hook::{Record, Syscall};
use zc_std::{CopyError, Mechanism, Report};

use super::misbehaviour::errno::{EAGAIN, EINVAL, EIO, REFUSALS, REFUSALS_AT_SOCKETS};

/// The calls of one copy, and the descriptors in them.
pub(crate) struct Audit<'a> {
    pub(crate) calls: &'a [Record],
    pub(crate) source: &'a [RawFd],
    pub(crate) sink: Option<RawFd>,
    /// Those of the descriptors that are sockets.
    pub(crate) sockets: &'a [RawFd],
    /// Why this run could not have a pipe when it last asked for one.
    pub(crate) no_pipe: Option<i32>,
}

macro_rules! check {
    ($holds:expr, $($otherwise:tt)+) => {
        if !$holds {
            return Err(format!($($otherwise)+));
        }
    };
}

impl Audit<'_> {
    /// Whether the source was read and said that it had ended.
    pub(crate) fn source_said_end(&self) -> bool {
        self.calls.iter().any(|record| {
            matches!(record.call.syscall, Syscall::Read | Syscall::Discard)
                && record.result == Ok(0)
                && record.call.from.is_some_and(|fd| self.source.contains(&fd))
        })
    }

    /// `direct`: only the engine writes to the sink. `counted`: only the engine makes calls.
    pub(crate) fn report(
        &self,
        report: &Report,
        direct: bool,
        counted: bool,
    ) -> Result<(), String> {
        check!(
            !counted || report.calls() == self.calls.len() as u64,
            "{} calls were made, {} reported",
            self.calls.len(),
            report.calls()
        );
        let sum: u64 = Mechanism::ALL.into_iter().map(|m| report.moved_by(m)).sum();
        check!(sum == report.moved(), "the mechanisms' bytes are not all bytes: {report:?}");
        for mechanism in Mechanism::ALL {
            self.mechanism(report, mechanism, direct)?;
        }
        Ok(())
    }

    fn mechanism(&self, report: &Report, mechanism: Mechanism, direct: bool) -> Result<(), String> {
        let syscall = match mechanism {
            Mechanism::CopyFileRange => Syscall::CopyFileRange,
            Mechanism::Sendfile => Syscall::Sendfile,
            Mechanism::Discard => Syscall::Discard,
            Mechanism::Splice => Syscall::Splice,
            _ => Syscall::Write,
        };
        let calls = || self.calls.iter().filter(|record| record.call.syscall == syscall);
        let moved = report.moved_by(mechanism);
        if syscall != Syscall::Write || direct && self.sink.is_some() {
            // Bytes that are discarded are delivered where they were taken.
            let delivers = |record: &&Record| {
                syscall == Syscall::Discard
                    || record.call.to.is_some() && record.call.to == self.sink
            };
            let delivered: usize = calls().filter(delivers).map(Record::moved).sum();
            check!(
                moved == delivered as u64,
                "{mechanism} delivered {delivered} bytes, {moved} reported"
            );
        }
        check!(
            moved == 0 || report.tried(mechanism) || mechanism == Mechanism::ReadWrite,
            "{mechanism} moved {moved} bytes without having been tried"
        );
        check!(
            syscall == Syscall::Write || report.tried(mechanism) || calls().next().is_none(),
            "{mechanism} was tried, and is not reported"
        );
        if let Some(errno) = report.refused(mechanism) {
            check!(report.tried(mechanism), "{mechanism} refused without having been tried");
            // ENOBUFS: no pipe worth having. EINVAL: a drain that took nothing.
            let said = self.calls.iter().any(|record| record.result == Err(errno))
                || mechanism == Mechanism::Splice && self.no_pipe == Some(errno);
            check!(
                said || errno == libc::ENOBUFS || errno == EINVAL,
                "{mechanism} is said to have refused with errno {errno}, which no call returned"
            );
        }
        Ok(())
    }

    /// Checks that `error` is what stopped the copy: it has the errno and the name of the last call that mattered,
    /// and this errno had to stop the copy.
    pub(crate) fn error(&self, error: &CopyError) -> Result<(), String> {
        let Some(name) = error.syscall() else { return Err(format!("no call named: {error}")) };
        let raw = error.raw_os_error();
        check!(error.kind() != io::ErrorKind::Interrupted, "interrupted: {error}");
        check!(
            ["read", "recv", "write", "flush", "splice", "sendfile", "lseek"].contains(&name),
            "{name} cannot fail a copy: {error}"
        );
        if let Some(errno) = raw {
            check!(
                error.kind() == io::Error::from_raw_os_error(errno).kind(),
                "errno {errno} of another kind: {error}"
            );
        }
        for record in self.calls.iter().rev() {
            if explains(record, error, name) {
                check!(!self.is_refusal(record), "another mechanism should have gone on: {error}");
                return Ok(());
            }
            // Calls that may come after the one that failed. Some only ask, give back a range of a file, or fetch
            // what is in the pipe. Others read what was claimed of a file and cannot be moved now.
            let asks = record.call.len == 0;
            let keeps = ["sendfile", "splice", "read"].contains(&name)
                && record.call.syscall == Syscall::Read;
            if !(asks || self.reads_own_pipe(record) || keeps) {
                break;
            }
        }
        Err(format!("the last call did not fail like that: {error}"))
    }

    /// Whether this answer is a refusal, and not an error of an end.
    fn is_refusal(&self, record: &Record) -> bool {
        let Err(errno) = record.result else { return false };
        let is_socket = |fd: Option<RawFd>| fd.is_some_and(|fd| self.sockets.contains(&fd));
        match record.call.syscall {
            Syscall::CopyFileRange => true,
            Syscall::Splice | Syscall::Sendfile | Syscall::Discard => {
                let at_socket = is_socket(record.call.from) || is_socket(record.call.to);
                let refusals = if at_socket { &REFUSALS_AT_SOCKETS[..] } else { &REFUSALS[..] };
                refusals.contains(&errno)
            }
            _ => false,
        }
    }

    fn reads_own_pipe(&self, record: &Record) -> bool {
        record.call.syscall == Syscall::Read
            && record.call.from.is_some_and(|fd| !self.source.contains(&fd))
    }
}

/// Whether a copy that ended with `record` fails with `error`.
fn explains(record: &Record, error: &CopyError, name: &str) -> bool {
    let syscall = record.call.syscall;
    let named = syscall.name() == name || name == "flush" && syscall == Syscall::Write;
    named
        && match record.result {
            Err(errno) => error.raw_os_error() == Some(errno),
            // A write that took nothing, or a read that got nothing from a pipe with bytes in it.
            Ok(0) if syscall == Syscall::Write => error.kind() == io::ErrorKind::WriteZero,
            Ok(0) => error.raw_os_error() == Some(EIO),
            Ok(_) => false,
        }
        // Where recv(2) is denied, and before a file is claimed for a socket, poll(2) tells whether the call would
        // wait.
        || syscall == Syscall::Poll
            && ["read", "sendfile", "splice"].contains(&name)
            && error.raw_os_error() == record.result.err().or(would_wait(record).then_some(EAGAIN))
            && error.raw_os_error().is_some()
}

/// Whether a range of the source may be lost: the copy had claimed it and could not read it, and other users had gone
/// on from its end.
pub(crate) fn is_unreadable(calls: &[Record], source: &[RawFd]) -> bool {
    let fails = |record: &&Record| record.result.is_err() || record.result == Ok(0);
    calls.iter().filter(fails).any(|record| {
        record.call.syscall == Syscall::Read
            && record.call.from.is_some_and(|fd| source.contains(&fd))
    })
}

/// Whether a range of one of these files was given back after an error, by one lseek after another. Others may read or
/// write between these two (docs/reliability.md).
pub(crate) fn gave_back_in_company(calls: &[Record], files: &[RawFd]) -> bool {
    let seeks = |record: &Record| {
        record.call.syscall == Syscall::Seek
            && record.call.from.is_some_and(|fd| files.contains(&fd))
    };
    calls.windows(3).any(|three| three.iter().all(seeks))
}

/// Whether nothing told that a file is in append mode.
pub(crate) fn hid_the_mode(calls: &[Record]) -> bool {
    calls.iter().any(|record| record.call.syscall == Syscall::GetFlags && record.result.is_err())
}

/// Whether a range of the sink may be a gap. The copy had claimed it and could not write it, or could not fetch its
/// bytes, and other users had gone on from its end.
pub(crate) fn is_unwritable(calls: &[Record], sink: Option<RawFd>) -> bool {
    let fails = |record: &&Record| record.result.is_err() || record.result == Ok(0);
    calls.iter().filter(fails).any(|record| match record.call.syscall {
        Syscall::Write => record.call.to == sink,
        Syscall::Read => true,
        _ => false,
    })
}

/// Whether a call answered that one of the ends is not ready.
pub(crate) fn would_wait(record: &Record) -> bool {
    record.result == Err(EAGAIN) || (record.call.syscall, record.result) == (Syscall::Poll, Ok(0))
}
