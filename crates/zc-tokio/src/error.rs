//! Why a copy or a relay stopped.

use std::fmt;
use std::io;

use zc_core::Side;

use crate::direction::{Direction, RelayEnd};

/// What failed: a call, a timeout, or an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Taking bytes from a source.
    Read,
    /// Delivering bytes to a sink; also when it took none for as long as the write timeout.
    Write,
    /// One call that takes and delivers, and does not say which of the two failed.
    Copy,
    /// Flushing a sink.
    Flush,
    /// Shutting a sink down, to pass on the end of input.
    Shutdown,
    /// Nothing moved in either direction for as long as the idle timeout.
    IdleTimeout,
    /// One direction has ended, and nothing moved in the other for as long as the half-close timeout.
    HalfCloseTimeout,
    /// It was told to stop.
    Abort,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Copy => "copy",
            Operation::Flush => "flush",
            Operation::Shutdown => "shutdown",
            Operation::IdleTimeout => "idle",
            Operation::HalfCloseTimeout => "half-close",
            Operation::Abort => "abort",
        })
    }
}

/// Why a copy or a relay stopped, and how far it got.
///
/// [`Copier`](crate::Copier) and [`Relay`](crate::Relay) keep what is in flight, and may be run again after any
/// error. The plain calls return an `io::Error` of the same kind that carries this, with the bytes that were
/// in flight:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (theirs, mut ours) = tokio::io::duplex(64);
/// drop(theirs);
/// let error = zc_tokio::copy(&mut &b"hello"[..], &mut ours).await.unwrap_err();
/// let error = zc_tokio::Error::from_io(&error).expect("it carries one");
/// assert!(error.is_disconnect());
/// assert_eq!(error.operation(), zc_tokio::Operation::Write);
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Error {
    pub(crate) direction: Option<Direction>,
    pub(crate) side: Option<Side>,
    pub(crate) operation: Operation,
    pub(crate) counts: (u64, u64),
    pub(crate) residues: (Vec<u8>, Vec<u8>),
    pub(crate) error: io::Error,
}

impl Error {
    /// The direction that failed. `None`: neither or both.
    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// The side that failed, of the [`direction`](Error::direction). `None`: neither, or it is not known.
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// The end of the relay that failed: the source of its direction or the sink.
    pub fn end(&self) -> Option<RelayEnd> {
        use RelayEnd::{A, B};
        Some(match (self.direction?, self.side?) {
            (Direction::AToB, Side::Source) | (Direction::BToA, Side::Sink) => A,
            (Direction::AToB, Side::Sink) | (Direction::BToA, Side::Source) => B,
        })
    }

    /// What failed.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// How many bytes have been delivered so far, from the first end to the second and back; since the copier
    /// or relay was made, or prepared for other ends (`rebind`).
    pub fn counts(&self) -> (u64, u64) {
        self.counts
    }

    /// Bytes taken and not delivered, in each direction, if the call that failed was a plain one. What a
    /// [`Copier`](crate::Copier) or [`Relay`](crate::Relay) has in flight, it keeps.
    pub fn residues(&self) -> (&[u8], &[u8]) {
        (&self.residues.0, &self.residues.1)
    }

    /// The error itself.
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }

    /// The error's kind: `TimedOut` for every timeout, `Interrupted` for an abort.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// Whether a peer has gone away: a reset, or a write to a connection that the peer has closed. Proxies see it
    /// all day, and do not log it as an error.
    pub fn is_disconnect(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
        )
    }

    /// Whether one of the timeouts has expired.
    pub fn is_timeout(&self) -> bool {
        // A connection that times out by itself (ETIMEDOUT) has an errno.
        self.kind() == io::ErrorKind::TimedOut && self.error.raw_os_error().is_none()
    }

    /// The `Error` inside an error that a plain call returned, or `None` if it came from elsewhere.
    ///
    /// [`io::Error::downcast`](io::Error#method.downcast) takes it out by value.
    pub fn from_io(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }
}

/// Shows the residues by their lengths: they may be private.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("direction", &self.direction)
            .field("side", &self.side)
            .field("operation", &self.operation)
            .field("counts", &self.counts)
            .field("residues", &(self.residues.0.len(), self.residues.1.len()))
            .field("error", &self.error)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(direction) = self.direction {
            write!(f, "{direction}, ")?;
        }
        if let Some(side) = self.side {
            write!(f, "{side}, ")?;
        }
        let (there, back) = self.counts;
        write!(f, "{}: {} (after {there} bytes, {back} back)", self.operation, self.error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// What stopped one direction.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) side: Option<Side>,
    pub(crate) operation: Operation,
    pub(crate) error: io::Error,
}

impl Failure {
    pub(crate) fn new(side: Side, operation: Operation, error: io::Error) -> Self {
        Failure { side: Some(side), operation, error }
    }

    /// No call failed: a timeout, or an abort.
    pub(crate) fn stopped(side: Option<Side>, operation: Operation) -> Self {
        let (kind, what) = match operation {
            Operation::Abort => (io::ErrorKind::Interrupted, "told to stop"),
            _ => (io::ErrorKind::TimedOut, "nothing moved for too long"),
        };
        Failure { side, operation, error: io::Error::new(kind, what) }
    }
}

impl From<zc_core::driver::StepError> for Failure {
    fn from(failed: zc_core::driver::StepError) -> Self {
        let operation = match failed.side {
            Some(Side::Source) => Operation::Read,
            Some(Side::Sink) => Operation::Write,
            None => Operation::Copy,
        };
        Failure { side: failed.side, operation, error: failed.error }
    }
}
