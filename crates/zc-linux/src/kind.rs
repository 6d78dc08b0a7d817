//! What kind of thing a descriptor is, as far as the choice of a mechanism goes.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use rustix::fs::FileType;
use zc_core::PollFd;

use crate::sys::{self, Stat};

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A connected stream socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// The null device, which drops spliced pages without looking at them.
    Null,
    /// Anything else: a tty, another device, a directory, a datagram socket.
    Other,
}

/// A descriptor's kind and identity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) kind: Kind,
    /// Device and inode, for files.
    pub(crate) identity: ((u32, u32), u64),
    /// Length in bytes, for files.
    pub(crate) len: u64,
}

impl Nature {
    /// Asks the kernel, unless the owner knows. If the kernel will not say, read/write gets the
    /// descriptor: its error is the one worth reporting.
    #[inline(always)]
    pub(crate) fn of(fd: PollFd<'_>) -> Nature {
        let only = |kind| Nature { kind, identity: ((0, 0), 0), len: 0 };
        if !fd.is_stream() {
            return only(Kind::Other);
        }
        if fd.is_socket() {
            return only(Kind::Socket);
        }
        let Ok(stat) = sys::stat(fd.fd()) else { return only(Kind::Other) };
        Nature { kind: kind(&stat), identity: stat.identity, len: stat.len }
    }
}

fn kind(stat: &Stat) -> Kind {
    match stat.kind {
        FileType::RegularFile => Kind::File,
        FileType::Socket => Kind::Socket,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice if stat.device == (1, 3) => Kind::Null,
        _ => Kind::Other,
    }
}
