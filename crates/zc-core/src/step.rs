//! The protocol between the parts of a copy: what one step did, and what comes next.

use std::io;

use crate::{CopyError, End};

/// What one step of a copy did.
///
/// The counts hold whatever [`next`](Step::next) says, so a step that fails after a short write has
/// still reported it. Between `taken` and `delivered` lie the bytes in flight, which stay with
/// whoever made the step.
#[derive(Debug)]
#[must_use]
pub struct Step {
    /// Bytes taken from the source.
    pub taken: u64,
    /// Bytes delivered to the sink, those of earlier steps included.
    pub delivered: u64,
    /// What to do now.
    pub next: Next,
}

/// What comes after a [`Step`].
#[derive(Debug)]
pub enum Next {
    /// Another step.
    Again,
    /// The source has nothing now: step again once it is readable.
    Readable,
    /// The sink takes nothing now: step again once it is writable.
    Writable,
    /// The source has ended, or the limit is reached, and all that was taken is delivered.
    Done,
    /// The step failed. Bytes in flight are kept.
    Failed(Fault),
}

/// Why a step failed.
#[derive(Debug)]
pub struct Fault {
    /// The call that failed.
    pub syscall: &'static str,
    /// The error it returned.
    pub error: io::Error,
    /// The end that has to become ready, if that is all that is wrong.
    pub waits_for: Option<End>,
}

impl Fault {
    /// `syscall` failed with `error`.
    pub fn new(syscall: &'static str, error: impl Into<io::Error>) -> Self {
        Fault { syscall, error: error.into(), waits_for: None }
    }

    /// `syscall` failed with `error` at `end`, which has to be waited for if that is `WouldBlock`.
    pub fn at(end: End, syscall: &'static str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let waits_for = (error.kind() == io::ErrorKind::WouldBlock).then_some(end);
        Fault { syscall, error, waits_for }
    }

    /// The error of a copy that this fault stopped, with `moved` bytes delivered.
    pub fn into_copy_error(self, moved: u64) -> CopyError {
        let error = CopyError::new(self.error).with_moved(moved).with_syscall(self.syscall);
        match self.waits_for {
            Some(end) => error.with_waits_for(end),
            None => error,
        }
    }
}

impl Step {
    /// A step that moved nothing.
    #[inline]
    pub fn idle(next: Next) -> Self {
        Step { taken: 0, delivered: 0, next }
    }
}
