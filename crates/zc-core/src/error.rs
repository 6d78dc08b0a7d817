//! How far a failed copy got.

use std::error::Error;
use std::fmt;
use std::io;

use crate::Side;

/// A copy that failed part-way: what it moved, what it holds, and why it stopped.
///
/// Bytes taken from the source are either counted by [`moved`](CopyError::moved) or handed back by
/// [`residue`](CopyError::residue); there is no third place. (A `Copier` keeps the residue itself,
/// to deliver it first in the next copy; its errors have an empty one.)
///
/// The plain calls return an `io::Error` of the same [kind](CopyError::kind) that carries it. That
/// error's own `raw_os_error()` is `None`; [`CopyError::raw_os_error`] has the errno:
///
/// ```
/// use std::io;
/// use zc_core::CopyError;
///
/// let failed: io::Error = CopyError::new(io::ErrorKind::StorageFull.into())
///     .with_moved(4096)
///     .with_residue(b"tail".to_vec())
///     .with_syscall("splice")
///     .into();
///
/// let copy = CopyError::from_io(&failed).expect("it carries one");
/// assert_eq!((copy.moved(), copy.residue(), copy.syscall()), (4096, &b"tail"[..], Some("splice")));
/// ```
pub struct CopyError {
    moved: u64,
    residue: Vec<u8>,
    syscall: Option<&'static str>,
    side: Option<Side>,
    error: io::Error,
}

impl CopyError {
    /// A copy that stopped on `error`, having moved nothing.
    pub fn new(error: io::Error) -> Self {
        CopyError { moved: 0, residue: Vec::new(), syscall: None, side: None, error }
    }

    /// Says how many bytes reached the sink.
    #[must_use]
    pub fn with_moved(mut self, bytes: u64) -> Self {
        self.moved = bytes;
        self
    }

    /// Hands over the bytes that were taken from the source and not delivered, in order.
    #[must_use]
    pub fn with_residue(mut self, bytes: Vec<u8>) -> Self {
        self.residue = bytes;
        self
    }

    /// Names the call that failed.
    #[must_use]
    pub fn with_syscall(mut self, name: &'static str) -> Self {
        self.syscall = Some(name);
        self
    }

    /// Says which side failed, or has to become ready.
    #[must_use]
    pub fn with_side(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    /// The `CopyError` inside an error that a copy returned, or `None` if it came from elsewhere.
    ///
    /// To take it out by value, and the residue with it, use [`io::Error::downcast`](io::Error#method.downcast):
    /// `error.downcast::<CopyError>()`.
    pub fn from_io(error: &io::Error) -> Option<&CopyError> {
        error.get_ref()?.downcast_ref()
    }

    /// How many bytes this copy delivered to the sink before it failed.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes taken from the source and not delivered, in order. Write them to the sink, or hand them to
    /// `zc_std::Copier::with_residue`, and a new copy continues from there.
    pub fn residue(&self) -> &[u8] {
        &self.residue
    }

    /// [`residue`](CopyError::residue), by value.
    pub fn into_residue(self) -> Vec<u8> {
        self.residue
    }

    /// The call that failed (`"splice"`, `"write"`, …), if it was one.
    ///
    /// `"read"`, `"write"` and `"flush"` may be a type's own methods rather than system calls.
    pub fn syscall(&self) -> Option<&'static str> {
        self.syscall
    }

    /// The side that failed, where the call that failed has only one or says so.
    ///
    /// `None` for a call between two descriptors whose error may be either's, such as copy_file_range(2).
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// Where the copy stopped with `WouldBlock`, the side that was not ready: wait until the source is
    /// readable (POLLIN), or the sink writable (POLLOUT), and go on with `zc_std::Copier::resume`.
    ///
    /// It is a descriptor in non-blocking mode, or one whose timeout has expired. `None` for any other
    /// error. The side is the one whose own call said so. poll(2) cannot tell: a Unix socket more than a
    /// quarter full says no POLLOUT and still takes bytes.
    pub fn waits_for(&self) -> Option<Side> {
        self.side.filter(|_| self.kind() == io::ErrorKind::WouldBlock)
    }

    /// The error that stopped the copy, as the system call or the type's own method returned it.
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }

    /// The kind of the error that stopped the copy.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// The errno that stopped the copy, if the system gave one.
    ///
    /// The `io::Error` of the plain calls answers `None` to its own `raw_os_error()`, since it carries
    /// this. Code moved from `std::io::copy` that matches `ENOSPC`, say, asks here or for its `kind()`:
    ///
    /// ```
    /// use std::io;
    /// use zc_core::CopyError;
    ///
    /// const ENOSPC: i32 = 28;
    /// let error = io::Error::from(CopyError::new(io::Error::from_raw_os_error(ENOSPC)));
    /// assert_eq!(error.raw_os_error(), None);
    /// assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    /// let errno = CopyError::from_io(&error).and_then(CopyError::raw_os_error);
    /// assert_eq!(errno, Some(ENOSPC));
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

/// The residue by its length: it may be a megabyte of private data, and `unwrap` prints this.
impl fmt::Debug for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyError")
            .field("moved", &self.moved)
            .field("residue", &format_args!("[{} bytes]", self.residue.len()))
            .field("syscall", &self.syscall)
            .field("side", &self.side)
            .field("error", &self.error)
            .finish()
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(call) = self.syscall {
            write!(f, "{call}: ")?;
        }
        write!(f, "{} (after {} bytes", self.error, self.moved)?;
        if !self.residue.is_empty() {
            write!(f, ", {} more taken and not delivered", self.residue.len())?;
        }
        f.write_str(")")
    }
}

impl Error for CopyError {
    /// The source of the [`io_error`](CopyError::io_error), whose own text is part of this error's.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        io::Error::new(error.kind(), error)
    }
}
