//! Why a command failed: one line for people, the same in fields for scripts.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use zc_std::CopyError;

use crate::done::Done;
use crate::errno;

/// Exit statuses; `--help` documents them.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const SHORT: u8 = 3;
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was being done, and why it failed. One line.
    message: String,
    pub(crate) exit: u8,
    pub(crate) residue: usize,
    pub(crate) syscall: Option<&'static str>,
    pub(crate) errno: Option<i32>,
    /// How far it got, if it got as far as copying.
    pub(crate) done: Option<Box<Done>>,
    /// The same where there is no more to tell than that.
    moved: Option<u64>,
    /// How many bytes the peer has not acknowledged, if that is what is wrong.
    pub(crate) unacknowledged: Option<u64>,
    /// Where the bytes are that could not be put in place.
    pub(crate) kept: Option<Box<str>>,
}

impl Failure {
    /// `what` (a clause such as "cannot listen on …") cannot be done, for a reason of our own.
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Failure {
            message: one_line(&format!("{what}: {why}")),
            exit: exit::FAILED,
            residue: 0,
            syscall: None,
            errno: None,
            done: None,
            moved: None,
            kept: None,
            unacknowledged: None,
        }
    }

    /// `what` failed with `error`.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Failure { errno: error.raw_os_error(), ..Failure::new(what, errno::explained(error)) }
    }

    /// The copy stopped, with `residue` bytes taken and not delivered.
    pub(crate) fn copy(what: impl fmt::Display, error: &CopyError, residue: usize) -> Self {
        let why = errno::explained(error.io_error());
        let why = match error.syscall() {
            Some(call) => format!("{call}: {why}"),
            None => why,
        };
        Failure {
            residue,
            syscall: error.syscall(),
            errno: error.raw_os_error(),
            ..Failure::new(what, why)
        }
    }

    /// Fewer bytes came than `--expect` asked for.
    pub(crate) fn short(what: impl fmt::Display, expected: u64) -> Self {
        let why = format!("the input ended before the {expected} bytes expected");
        Failure { exit: exit::SHORT, ..Failure::new(what, why) }
    }

    /// The peer did not move for a while.
    pub(crate) fn timeout(what: impl fmt::Display, time: Duration, residue: usize) -> Self {
        let why = format!("not a byte moved within --timeout {}", time.as_secs_f64());
        let errno = Some(Errno::TIMEDOUT.raw_os_error());
        Failure { residue, errno, ..Failure::new(what, why) }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: String) -> Self {
        Failure { message, exit: exit::USAGE, ..Failure::new("", "") }
    }

    /// The same failure, once some of a copy was done.
    pub(crate) fn with(self, done: Done) -> Self {
        Failure { done: Some(Box::new(done)), ..self }
    }

    /// The same failure, after `moved` bytes.
    pub(crate) fn after(self, moved: u64) -> Self {
        Failure { moved: Some(moved), ..self }
    }

    /// The same failure, with the bytes that came safe in `path`.
    pub(crate) fn kept(self, path: &Path) -> Self {
        Failure { kept: Some(path.to_string_lossy().into()), ..self }
    }

    /// The same failure, with `n` bytes of which the peer has not said that it has them.
    pub(crate) fn unacknowledged(self, n: u64) -> Self {
        Failure { unacknowledged: Some(n), ..self }
    }

    /// How many bytes were moved, if it got as far as copying.
    fn moved(&self) -> Option<u64> {
        self.done.as_ref().map(|done| done.account.moved).or(self.moved)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exit == exit::USAGE {
            return f.write_str(&self.message);
        }
        f.write_str(&self.message)?;
        if let Some(moved) = self.moved() {
            write!(f, ", after {moved} byte{}", if moved == 1 { "" } else { "s" })?;
        }
        if self.residue > 0 {
            write!(f, " ({} more taken and not delivered)", self.residue)?;
        }
        if let Some(path) = &self.kept {
            write!(f, "; they are kept as {}", one_line(path))?;
        }
        Ok(())
    }
}

/// File names may hold line breaks, and an error is one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}
