//! The mechanisms of copies.

use std::fmt;

/// A way of moving bytes.
///
/// ```
/// use zc_core::driver::Mechanism;
///
/// let names = Mechanism::ALL.map(|mechanism| mechanism.to_string());
/// assert_eq!(names, ["copy_file_range", "sendfile", "discard", "splice", "read/write"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// copy_file_range(2): file to file, inside the file system if it can share blocks.
    CopyFileRange,
    /// sendfile(2): file to socket, lending it pages of the page cache.
    Sendfile,
    /// recv(2) with `MSG_TRUNC`: TCP to the null device, or to a sink that keeps nothing, without a copy of a byte.
    Discard,
    /// splice(2): directly from pipe to pipe, or from a file into one; otherwise through a pipe of our own.
    Splice,
    /// read(2) and write(2), through memory; on what is known to be a socket recv(2) and send(2).
    ReadWrite,
}

impl Mechanism {
    /// Every mechanism, in the order of a chain.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::CopyFileRange,
        Mechanism::Sendfile,
        Mechanism::Discard,
        Mechanism::Splice,
        Mechanism::ReadWrite,
    ];
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mechanism::CopyFileRange => "copy_file_range",
            Mechanism::Sendfile => "sendfile",
            Mechanism::Discard => "discard",
            Mechanism::Splice => "splice",
            Mechanism::ReadWrite => "read/write",
        })
    }
}
