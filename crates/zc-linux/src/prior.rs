//! What is known about the ways between two ends before a byte has moved.
//!
//! The kernel's short cuts pay for some pairs only. Between two sockets, or into a pipe, pages
//! change hands and nothing is copied; into a file the bytes are copied once either way, and what
//! splice saves on the second copy, out of a warm buffer, it loses again on the handling of single
//! pages. (Figures: `docs/performance.md`.)

use std::os::fd::BorrowedFd;

use zc_core::PollFd;

use crate::kind::Kind;
use crate::sys;

/// How the route's mechanism compares with read/write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prior {
    /// It is better, by far enough that measuring would only cost.
    Better,
    /// It moves bytes at almost no cost, unless a measurement says otherwise.
    Free,
    /// It is worse, unless a measurement says otherwise.
    Worse,
    /// It has to be measured.
    Unknown,
}

impl Prior {
    /// For a copy between two ends of these kinds.
    pub(crate) fn of(from: (PollFd<'_>, Kind), to: (PollFd<'_>, Kind)) -> Prior {
        let (from_tcp, to_tcp) = (|| sys::is_tcp(from.0.fd()), || sys::is_tcp(to.0.fd()));
        match (from.1, to.1) {
            (Kind::File, Kind::File) => sharing(to.0.fd()),
            // TCP sends foreign pages one by one, which takes longer than copying them. Its own are
            // large.
            (Kind::Socket, Kind::Socket) if to_tcp() && !from_tcp() => Prior::Worse,
            (Kind::Pipe, Kind::Socket) if to_tcp() => Prior::Unknown,
            (Kind::Socket | Kind::Pipe, Kind::File) => Prior::Unknown,
            (Kind::Socket, Kind::Null) if from_tcp() => Prior::Unknown,
            _ => Prior::Better,
        }
    }

    /// For a copy of a few pages between two files: sharing is the better way where it can be done, and
    /// trying costs no more than asking would. Between devices it cannot.
    pub(crate) fn of_small_files(same_device: bool) -> Prior {
        if same_device { Prior::Better } else { Prior::Worse }
    }
}

/// For a copy between two files, by where the second one is: statfs(2) says whether it can share
/// blocks. Where it cannot, copy_file_range copies page by page, which is slower than reading and
/// writing through a large buffer (ext4, 1 MiB: 66 against 43 µs).
fn sharing(sink: BorrowedFd<'_>) -> Prior {
    match sys::file_system(sink) {
        // ext2, ext3 and ext4; tmpfs; ramfs: by the numbers of linux/magic.h.
        Ok(0xef53 | 0x0102_1994 | 0x8584_58f6) => Prior::Worse,
        // btrfs, xfs, bcachefs and ocfs2.
        Ok(0x9123_683e | 0x5846_5342 | 0xca45_1a4e | 0x7461_636f) => Prior::Free,
        // nfs; cifs and smb2: the server copies.
        Ok(0x6969 | 0xff53_4d42 | 0xfe53_4d42) => Prior::Free,
        _ => Prior::Unknown,
    }
}
