//! The calls by which the kernel moves bytes itself.
//!
//! A file's offset is always given: without one these calls take and set the file's own, and not under its lock
//! (see `claim`).

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::{Syscall, call};

/// splice(2). An offset goes with a file, and with nothing else.
#[inline(always)]
pub(crate) fn splice(
    (from, from_offset): (BorrowedFd<'_>, Option<u64>),
    (to, to_offset): (BorrowedFd<'_>, Option<u64>),
    len: usize,
) -> Result<usize, Errno> {
    call(Syscall::Splice, Some(from), Some(to), len, |len| {
        // The kernel moves copies of the offsets on, which are not needed.
        let (mut from_offset, mut to_offset) = (from_offset, to_offset);
        let flags = SpliceFlags::empty();
        rustix::pipe::splice(from, from_offset.as_mut(), to, to_offset.as_mut(), len, flags)
    })
}

/// copy_file_range(2).
pub(crate) fn copy_file_range(
    (from, mut from_offset): (BorrowedFd<'_>, u64),
    (to, mut to_offset): (BorrowedFd<'_>, u64),
    len: usize,
) -> Result<usize, Errno> {
    call(Syscall::CopyFileRange, Some(from), Some(to), len, |len| {
        rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), len)
    })
}

/// sendfile(2).
pub(crate) fn sendfile(
    (from, mut offset): (BorrowedFd<'_>, u64),
    to: BorrowedFd<'_>,
    len: usize,
) -> Result<usize, Errno> {
    call(Syscall::Sendfile, Some(from), Some(to), len, |len| {
        rustix::fs::sendfile(to, from, Some(&mut offset), len)
    })
}
