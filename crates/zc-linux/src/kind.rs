//! What kind of thing a descriptor is, as far as the choice of a mechanism goes.

use rustix::fs::{FileType, Stat, makedev};
use zc_core::PollFd;

use crate::sys;

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A connected stream socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// The null device, which lets go of spliced pages without looking at them.
    Null,
    /// Anything else: a tty, another device, a directory, a datagram socket.
    Other,
}

/// A descriptor's kind and identity, by fstat(2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) kind: Kind,
    /// Device and inode, for files.
    pub(crate) identity: (u64, u64),
    /// Length in bytes, for files.
    pub(crate) len: u64,
}

impl Nature {
    /// Asks the kernel. A descriptor it will not speak about is left to read/write, whose error is
    /// the one worth reporting.
    pub(crate) fn of(fd: PollFd<'_>) -> Nature {
        let Ok(stat) = sys::fstat(fd.fd()) else {
            return Nature { kind: Kind::Other, identity: (0, 0), len: 0 };
        };
        Nature {
            kind: if fd.is_stream() { kind(&stat) } else { Kind::Other },
            identity: (stat.st_dev, stat.st_ino),
            len: u64::try_from(stat.st_size).unwrap_or(0),
        }
    }
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Socket => Kind::Socket,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice if stat.st_rdev == makedev(1, 3) => Kind::Null,
        _ => Kind::Other,
    }
}
