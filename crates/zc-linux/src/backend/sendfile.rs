//! File to socket or file, by [sendfile(2)](https://man7.org/linux/man-pages/man2/sendfile.2.html).
//!
//! To a socket it lends the page cache's pages instead of copying them: until the peer has read them, a
//! write to the file changes them.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use zc_core::{Next, Step};

use super::{failed, is_refusal, moved};
use crate::sys::{self, Syscall};

/// The most that one call sends, in bytes. Into a blocking socket the call lasts until all of it is
/// sent, which over a slow link is long for whoever watches the progress.
///
/// All but the last 64 KiB of a call are sent as if with MSG_MORE, and into TCP over loopback that can make
/// sender and receiver take turns, at twice the cost. With 4 MiB to a call they did so in half of all runs
/// (359 and 414 ns/KiB, against 215), with as much as this in none; where they do not, the more calls
/// take 2 to 3 % longer. docs/performance.md has the figures.
const CHUNK: u64 = 512 * 1024;

pub(crate) fn step(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: u64) -> Result<Step, Errno> {
    match sys::sendfile(from, to, sys::at_most(limit.min(CHUNK))) {
        Ok(0) => Ok(Step::idle(Next::Done)),
        Ok(n) => Ok(moved(n)),
        // Regular files never answer EAGAIN: it is the sink that is full.
        Err(Errno::AGAIN) => Ok(Step::idle(Next::Writable)),
        Err(errno) if is_refusal(errno) => Err(errno),
        Err(errno) => Ok(Step::idle(failed(Syscall::Sendfile, errno))),
    }
}
