//! Socket to anything, by two [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html)
//! calls with a pipe between them: pages move from the socket's queue into the pipe, and from there
//! to the page cache or another socket's queue.
//!
//! Between the two calls bytes are in flight, and the second call may refuse when the first has
//! long drained the socket: a file in append mode answers EINVAL, as does a device without splice
//! support. Then the pipe's bytes are read into memory and written, and so is the rest.
//!
//! No flags: SPLICE_F_MORE corks the socket as MSG_MORE does, which means stalls of 200 ms for short
//! messages (golang/go#10948); SPLICE_F_MOVE does nothing since Linux 2.6.21; SPLICE_F_NONBLOCK
//! would make a blocking Unix socket answer EAGAIN.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use zc_core::{Next, Step};

use super::{failed, is_refusal};
use crate::flight::Flight;
use crate::pipe::pool;
use crate::sys::{self, Syscall};

/// Fills the pipe, which is empty, and drains it once. `Err` with `EMFILE`, `ENFILE` or `ENOBUFS`: no
/// pipe can be had now. With `EAGAIN`: probably nothing to read, but only a read knows.
pub(crate) fn step(
    flight: &mut Flight,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    limit: u64,
    pipe_size: usize,
) -> Result<Step, Errno> {
    let pipe = flight.pipe(pipe_size)?;
    // A splice that waits for a blocking socket keeps its pipe all the while. Only half the pipes may
    // be used so.
    if pool::is_scarce() && !sys::is_ready(from, PollFlags::IN | PollFlags::RDHUP)? {
        return Err(Errno::NOBUFS);
    }
    debug_assert_eq!(pipe.level(), 0, "a pipe that is not empty may be full, and block");
    let len = pipe.capacity().min(sys::at_most(limit));
    let taken = match sys::splice(from, pipe.write_end(), len) {
        Ok(0) => return Ok(Step::idle(Next::Done)),
        Ok(n) => n,
        // TCP also answers EAGAIN ahead of urgent data, however many bytes follow (tcp_splice_read,
        // still so in Linux 6.18). Whoever waited for the socket then would be told at once, again
        // and again.
        Err(errno) if errno == Errno::AGAIN || is_refusal(errno) => return Err(errno),
        Err(errno) => return Ok(Step::idle(failed(Syscall::Splice, errno))),
    };
    pipe.put(taken);
    // A refusal here is not the end of the step: its bytes were taken. They are in flight, and
    // whoever delivers them next meets the refusal again.
    let (delivered, next) = deliver(flight, to).unwrap_or((0, Next::Again));
    Ok(Step { taken: taken as u64, delivered, next })
}

/// Drains the pipe, which is not empty, once. `Err`: `to` cannot be spliced to.
pub(crate) fn deliver(flight: &mut Flight, to: BorrowedFd<'_>) -> Result<(u64, Next), Errno> {
    let pipe = flight.pipe.as_mut().expect("bytes are in it");
    match sys::splice(pipe.read_end(), to, pipe.level()) {
        // There are bytes in the pipe, so this is not the end; and asking again would not help.
        Ok(0) => Err(Errno::INVAL),
        Ok(n) => {
            pipe.took(n);
            Ok((n as u64, Next::Again))
        }
        Err(Errno::AGAIN) => Ok((0, Next::Writable)),
        Err(errno) if is_refusal(errno) => Err(errno),
        Err(errno) => Ok((0, failed(Syscall::Splice, errno))),
    }
}
