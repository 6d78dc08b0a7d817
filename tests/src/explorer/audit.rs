//! Reports and errors, held against the calls that were recorded.

use std::io;
use std::os::fd::RawFd;

use zc_std::hook::{Record, Syscall};
use zc_std::{CopyError, Mechanism, Report};

use super::misbehaviour::errno::{EINVAL, EIO, REFUSALS};

/// The calls of one copy, and who was who in them.
pub(crate) struct Audit<'a> {
    pub(crate) calls: &'a [Record],
    pub(crate) source: &'a [RawFd],
    pub(crate) sink: Option<RawFd>,
    /// A plain copy: after the call that failed come those that fetch the residue.
    pub(crate) plain: bool,
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
            record.call.syscall == Syscall::Read
                && record.result == Ok(0)
                && record.call.from.is_some_and(|fd| self.source.contains(&fd))
        })
    }

    /// `direct`: nothing but the engine writes to the sink.
    pub(crate) fn report(&self, report: &Report, direct: bool) -> Result<(), String> {
        check!(
            report.calls() == self.calls.len() as u64,
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
            Mechanism::Splice => Syscall::Splice,
            _ => Syscall::Write,
        };
        let calls = || self.calls.iter().filter(|record| record.call.syscall == syscall);
        let moved = report.moved_by(mechanism);
        if syscall != Syscall::Write || direct && self.sink.is_some() {
            let delivered: usize = calls()
                .filter(|record| record.call.to.is_some() && record.call.to == self.sink)
                .map(Record::moved)
                .sum();
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
            let said = self.calls.iter().any(|record| record.result == Err(errno));
            check!(
                said || errno == libc::ENOBUFS || errno == EINVAL,
                "{mechanism} is said to have refused with errno {errno}, which no call returned"
            );
        }
        Ok(())
    }

    /// That `error` is what stopped the copy: the errno of the last call that mattered, under that
    /// call's name, and an errno that had to stop it.
    pub(crate) fn error(&self, error: &CopyError) -> Result<(), String> {
        let Some(name) = error.syscall() else { return Err(format!("no call named: {error}")) };
        let raw = error.raw_os_error();
        check!(error.kind() != io::ErrorKind::Interrupted, "interrupted: {error}");
        check!(
            ["read", "write", "flush", "splice", "sendfile", "copy_file_range", "lseek"]
                .contains(&name),
            "{name} cannot fail a copy: {error}"
        );
        if ["splice", "sendfile", "copy_file_range"].contains(&name) {
            check!(
                raw.is_none_or(|errno| !REFUSALS.contains(&errno)),
                "another mechanism should have gone on: {error}"
            );
        }
        if let Some(errno) = raw {
            check!(
                error.kind() == io::Error::from_raw_os_error(errno).kind(),
                "errno {errno} of another kind: {error}"
            );
        }
        for record in self.calls.iter().rev() {
            if explains(record, error, name) {
                return Ok(());
            }
            // What may come after the call that failed: calls that only ask something, and, with a
            // plain copy, those that fetch what is in the pipe.
            let asks = record.call.len == 0;
            let lands = self.plain && self.reads_own_pipe(record);
            if !(asks || lands) {
                break;
            }
        }
        Err(format!("the last call did not fail like that: {error}"))
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
            // A write that takes nothing; a read from a pipe with bytes in it that brings none.
            Ok(0) if syscall == Syscall::Write => error.kind() == io::ErrorKind::WriteZero,
            Ok(0) => error.raw_os_error() == Some(EIO),
            Ok(_) => false,
        }
}
