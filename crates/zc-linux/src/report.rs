//! What a copy did.

use std::fmt;

/// A way of moving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// copy_file_range(2): file to file, inside the file system if it can share blocks.
    CopyFileRange,
    /// sendfile(2): file to socket, page cache pages on loan.
    Sendfile,
    /// splice(2): to or from a pipe; between two ends that are not pipes, through one of our own.
    Splice,
    /// read(2) and write(2), through memory; on what is known to be a socket recv(2) and send(2).
    ReadWrite,
}

impl Mechanism {
    /// Every mechanism, in the order of a chain.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::CopyFileRange, Mechanism::Sendfile, Mechanism::Splice, Mechanism::ReadWrite];
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mechanism::CopyFileRange => "copy_file_range",
            Mechanism::Sendfile => "sendfile",
            Mechanism::Splice => "splice",
            Mechanism::ReadWrite => "read/write",
        })
    }
}

/// What a copy did: how many bytes it moved, by which mechanisms, with how many system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    moved: u64,
    calls: u64,
    by: [u64; 4],
    tried: [bool; 4],
    refused: [Option<i32>; 4],
}

impl Report {
    /// Bytes delivered to the sink, those in flight from an earlier copy included.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// System calls made by the engine: every one, those that asked what a descriptor is and those
    /// that failed included. The `read` and `write` of types that are not descriptors are not
    /// counted, since what they call is their own affair.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many of the bytes `mechanism` delivered. Bytes from buffers count as read/write.
    pub fn moved_by(&self, mechanism: Mechanism) -> u64 {
        self.by[mechanism as usize]
    }

    /// The mechanism that delivered the most bytes; `None` if nothing was moved.
    pub fn mechanism(&self) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .filter(|&m| self.moved_by(m) > 0)
            .max_by_key(|&m| self.moved_by(m))
    }

    /// Whether `mechanism` was tried at all.
    pub fn tried(&self, mechanism: Mechanism) -> bool {
        self.tried[mechanism as usize]
    }

    /// The errno with which `mechanism` said that it cannot do this copy, so that the next one took
    /// over: `EXDEV`, `EINVAL`, `ENOSYS` and so on. `None` if it was not tried or did not say so.
    pub fn refused(&self, mechanism: Mechanism) -> Option<i32> {
        self.refused[mechanism as usize]
    }

    pub(crate) fn deliver(&mut self, mechanism: Mechanism, bytes: u64) {
        self.moved += bytes;
        self.by[mechanism as usize] += bytes;
    }

    pub(crate) fn try_with(&mut self, mechanism: Mechanism) {
        self.tried[mechanism as usize] = true;
    }

    pub(crate) fn refuse(&mut self, mechanism: Mechanism, errno: rustix::io::Errno) {
        self.refused[mechanism as usize] = Some(errno.raw_os_error());
    }

    pub(crate) fn count_calls(&mut self, calls: u64) {
        self.calls += calls;
    }
}
