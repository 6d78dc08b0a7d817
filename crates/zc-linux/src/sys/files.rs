//! The offset and the mode of an open file.

use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{Syscall, ask, raw};

/// The flags of an open file (`F_GETFL`).
pub(crate) fn flags(fd: BorrowedFd<'_>) -> Result<rustix::fs::OFlags, Errno> {
    ask(Syscall::GetFlags, Some(fd), || rustix::fs::fcntl_getfl(fd))
}

/// Whether a file is known to be in append mode.
pub(crate) fn appends(fd: BorrowedFd<'_>) -> bool {
    flags(fd).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::APPEND))
}

/// Whether a descriptor is known to be open for writing.
pub(crate) fn is_written_to(fd: BorrowedFd<'_>) -> bool {
    use rustix::fs::OFlags;
    flags(fd).is_ok_and(|flags| {
        let mode = flags & OFlags::RWMODE;
        mode == OFlags::WRONLY || mode == OFlags::RDWR
    })
}

/// The offset of a file, in bytes.
pub(crate) fn position(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    ask(Syscall::Seek, Some(fd), || rustix::fs::seek(fd, SeekFrom::Current(0)))
}

/// Moves the offset of a file by this many bytes, and returns the new one. Atomic: lseek takes the lock
/// of the offset, as read and write do (Linux 3.14).
pub(crate) fn advance(fd: BorrowedFd<'_>, by: i64) -> Result<u64, Errno> {
    ask(Syscall::Seek, Some(fd), || rustix::fs::seek(fd, SeekFrom::Current(by)))
}

/// Whether two descriptors are one open file; an error where the kernel does not tell.
pub(crate) fn is_one_open_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    ask(Syscall::Kcmp, Some(one), || raw::is_one_open_file(one, other))
}
