//! Where a file has holes, and how one is made.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::{Syscall, ask, raw};

/// Where the next data is, from `at` on (`SEEK_DATA`); `NXIO` if there is none. It moves the offset.
pub(crate) fn next_data(fd: BorrowedFd<'_>, at: u64) -> Result<u64, Errno> {
    ask(Syscall::SeekData, Some(fd), || rustix::fs::seek(fd, SeekFrom::Data(at)))
}

/// Where the next hole is, from `at` on (`SEEK_HOLE`); the end of a file is one. It moves the offset.
pub(crate) fn next_hole(fd: BorrowedFd<'_>, at: u64) -> Result<u64, Errno> {
    ask(Syscall::SeekHole, Some(fd), || rustix::fs::seek(fd, SeekFrom::Hole(at)))
}

/// The file of `fd`, opened once more: with an offset of its own.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // A thread may have descriptors that its process has not (CLONE_FILES). Where another has a lease on the
    // file, no wait for it.
    let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    ask(Syscall::Open, Some(fd), || rustix::fs::open(&path, flags, Mode::empty()))
}

/// Whether some process has a record lock on the file that is not `fd`'s own (`F_OFD_GETLK`, Linux 3.15).
pub(crate) fn is_locked(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    ask(Syscall::GetLock, Some(fd), || raw::is_locked(fd))
}

/// Has the file end at `end`, unless it ends beyond it: unlike ftruncate(2) it never cuts off what others have
/// written there. The last byte gets a block.
pub(crate) fn extend(fd: BorrowedFd<'_>, end: u64) -> Result<(), Errno> {
    ask(Syscall::Fallocate, Some(fd), || {
        rustix::fs::fallocate(fd, FallocateFlags::empty(), end - 1, 1)
    })
}

/// Makes a range of the file a hole; its length stays.
pub(crate) fn punch(fd: BorrowedFd<'_>, at: u64, len: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    ask(Syscall::Fallocate, Some(fd), || rustix::fs::fallocate(fd, flags, at, len))
}
