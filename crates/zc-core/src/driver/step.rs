//! The protocol between an engine and its driver: what one step did, and what comes next.

use std::io;
use std::time::Instant;

use crate::{CopyError, Side};

/// What one step of a transfer did.
///
/// The counts hold for every [`next`](Step::next): a step that fails after a short write has still
/// reported it. Between `taken` and `delivered` lie the bytes in flight, which stay with the
/// transfer.
#[derive(Debug)]
#[must_use]
pub struct Step {
    /// Bytes taken from the source.
    pub taken: u64,
    /// Bytes delivered to the sink, those of earlier steps included.
    pub delivered: u64,
    /// A stream socket gave fewer bytes than it was asked for: it had no more *bytes*. `false` says nothing.
    ///
    /// An edge-triggered driver (epoll(7)) that hears of the peer's end by EPOLLRDHUP or EPOLLHUP need not step
    /// again. One that must not miss what lies behind TCP's urgent data or a Unix socket's passed descriptors,
    /// which shorten a read too, steps until [`Next::WantRead`].
    pub drained: bool,
    /// The sink's descriptor took fewer bytes than it was offered, and the rest is in flight: it is full. `false`
    /// says nothing.
    pub full: bool,
    /// What to do now.
    pub next: Next,
}

/// What comes after a [`Step`].
#[derive(Debug)]
pub enum Next {
    /// Another step.
    Again,
    /// The source has ended or its limit is reached, and all that was taken is delivered.
    Ended,
    /// Flush the sink, call `flushed`, and step again: it may hold bytes back, and the next ones
    /// bypass it.
    FlushSink,
    /// Only the source's own `read` can take the next bytes, at most this many.
    ReadSource(u64),
    /// Only the sink's own `write` can deliver the next bytes.
    WriteSink,
    /// The source has nothing now: step again once it is readable.
    WantRead {
        /// How many bytes are worth waiting for, never more than the limits let through. Fewer are no reason
        /// not to step. A driver that can wait for that many (SO_RCVLOWAT) saves wake-ups. Such a wait needs
        /// a timeout: the peer may have sent all that it has to say.
        worth: u64,
    },
    /// The sink takes nothing now: step again once it is writable.
    WantWrite,
    /// The source's layers let nothing through before this time.
    NotBefore(Instant),
    /// The step failed. Bytes in flight are kept. (In a box, since every step's answer has room for it.)
    Failed(Box<StepError>),
}

/// Why a step failed.
#[derive(Debug)]
pub struct StepError {
    /// The side that failed, where the call has only one or says so.
    pub side: Option<Side>,
    /// The call that failed.
    pub syscall: &'static str,
    /// The error it returned.
    pub error: io::Error,
}

impl StepError {
    /// `syscall` failed with `error`, which may be either side's.
    pub fn new(syscall: &'static str, error: impl Into<io::Error>) -> Self {
        StepError { side: None, syscall, error: error.into() }
    }

    /// `syscall` failed with `error` at `side`.
    pub fn at(side: Side, syscall: &'static str, error: impl Into<io::Error>) -> Self {
        StepError { side: Some(side), syscall, error: error.into() }
    }

    /// The sink's [limit](crate::Downstream::limit) is reached, and the source has more.
    #[cold]
    pub fn beyond_limit() -> Self {
        let what = "the sink's limit is reached, and the source has more";
        StepError::at(Side::Sink, "write", io::Error::new(io::ErrorKind::WriteZero, what))
    }

    /// The error of a copy that this one stopped, with `moved` bytes delivered.
    pub fn into_copy_error(self, moved: u64) -> CopyError {
        let error = CopyError::new(self.error).with_moved(moved).with_syscall(self.syscall);
        match self.side {
            Some(side) => error.with_side(side),
            None => error,
        }
    }
}

impl Step {
    /// A step that moved nothing.
    #[inline]
    pub fn idle(next: Next) -> Self {
        Step::moved(0, 0, next)
    }

    /// A step that took and delivered this many bytes.
    #[inline]
    pub fn moved(taken: u64, delivered: u64, next: Next) -> Self {
        Step { taken, delivered, drained: false, full: false, next }
    }

    /// A step that failed without having moved a byte.
    pub fn failed(error: StepError) -> Self {
        Step::idle(Next::Failed(Box::new(error)))
    }
}
