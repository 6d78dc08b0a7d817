//! File to file, by [copy_file_range(2)](https://man7.org/linux/man-pages/man2/copy_file_range.2.html):
//! the file system shares blocks if it can (btrfs, xfs), asks the server to copy (NFS, CIFS), or
//! copies through the page cache.
//!
//! It is the mechanism with the most ways to refuse, some only after having moved bytes
//! (rust-lang/rust#91152: EXDEV part-way on overlay); and it answers 0 for files of procfs, which
//! are not at their end. Both file offsets advance by what it moved, so the next mechanism can continue.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use zc_core::{Next, Step};

use super::{CHUNK, failed, is_refusal, moved};
use crate::sys::{self, Syscall};

pub(crate) fn step(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: u64) -> Result<Step, Errno> {
    match sys::copy_file_range(from, to, sys::at_most(limit.min(CHUNK))) {
        Ok(0) => Ok(Step::idle(Next::Done)),
        Ok(n) => Ok(moved(n)),
        // It should never answer EAGAIN; if it means it, read/write knows what to do.
        Err(errno) if is_refusal(errno) || errno == Errno::AGAIN => Err(errno),
        Err(errno) => Ok(Step::idle(failed(Syscall::CopyFileRange, errno))),
    }
}
