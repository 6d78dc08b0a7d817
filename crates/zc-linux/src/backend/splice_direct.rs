//! From a pipe, or from a file to a pipe, by one
//! [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html) call: nothing is ever in flight.
//!
//! The kernel takes a pipe in non-blocking mode as a wish that the whole call be non-blocking. A
//! blocking pipe at the other end then answers EAGAIN instead of waiting; taken at its word, that
//! makes a copy spin (golang/go#75304). Where the two ends differ in mode, read/write gives each the
//! waiting it was set to.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zc_core::{Next, Step};

use super::{CHUNK, failed, is_refusal, moved};
use crate::sys::{self, Syscall};

pub(crate) fn step(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: u64) -> Result<Step, Errno> {
    match sys::splice(from, to, sys::at_most(limit.min(CHUNK))) {
        Ok(0) => Ok(Step::idle(Next::Done)),
        Ok(n) => Ok(moved(n)),
        Err(Errno::AGAIN) => blame(from, to).map(Step::idle),
        Err(errno) if is_refusal(errno) => Err(errno),
        Err(errno) => Ok(Step::idle(failed(Syscall::Splice, errno))),
    }
}

/// Which end said EAGAIN. `Err`: they differ in mode, or both are ready now, and only read/write
/// can tell.
fn blame(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Next, Errno> {
    let waits = |fd| sys::flags(fd).map(|flags| !flags.contains(OFlags::NONBLOCK));
    if waits(from)? != waits(to)? {
        return Err(Errno::AGAIN);
    }
    // Both non-blocking; or both blocking, and a socket's timeout has expired.
    if !sys::is_ready(to, PollFlags::OUT)? {
        return Ok(Next::Writable);
    }
    // If the sink has become ready since, the source may have had bytes all along, and whoever
    // waits for a change in it (EPOLLET) would wait in vain.
    if sys::is_ready(from, PollFlags::IN)? { Err(Errno::AGAIN) } else { Ok(Next::Readable) }
}
