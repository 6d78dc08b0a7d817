//! A pipe to splice through.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::sys;

/// A pipe smaller than this is not worth splicing through. The kernel grants only one or two pages
/// to a user past `pipe-user-pages-soft` (pipe(7)).
const MIN_SIZE: usize = 64 * 1024;

/// A pipe, both ends of it, and what is in it.
///
/// It is in blocking mode: with a non-blocking pipe, a splice from a blocking Unix socket answers
/// EAGAIN instead of waiting. The engine never blocks on it, since it fills it only when it is
/// empty.
#[derive(Debug)]
pub(crate) struct Pipe {
    read_end: OwnedFd,
    write_end: OwnedFd,
    /// How many bytes it can hold.
    capacity: usize,
    /// How large it was asked to be: what the pool knows it by.
    pub(crate) asked: usize,
    /// How many bytes are in it.
    level: usize,
    /// The process that made it: a child that was forked has the same pipes, not copies of them.
    pub(crate) maker: u64,
}

impl Pipe {
    /// A new pipe of about `size` bytes.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE` when descriptors are exhausted; `ENOBUFS` (our word) when the kernel
    /// grants only a pipe too small to be of use.
    pub(crate) fn new(size: usize) -> Result<Pipe, Errno> {
        let (read_end, write_end) = sys::pipe()?;
        // EPERM beyond the user's budget or the system's maximum: the default size will do.
        let capacity = match sys::set_pipe_size(&write_end, size) {
            Ok(capacity) => capacity,
            Err(_) => sys::pipe_size(write_end.as_fd())?,
        };
        if capacity < MIN_SIZE.min(size) {
            return Err(Errno::NOBUFS);
        }
        Ok(Pipe { read_end, write_end, capacity, asked: size, level: 0, maker: sys::process() })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// The read end.
    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }

    /// The write end.
    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.write_end.as_fd()
    }

    pub(crate) fn put(&mut self, bytes: usize) {
        self.level += bytes;
    }

    pub(crate) fn took(&mut self, bytes: usize) {
        self.level -= bytes;
    }
}
