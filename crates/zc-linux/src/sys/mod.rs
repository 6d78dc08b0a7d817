//! The table of system calls. Every call that the engine makes is here, except the few that tell a
//! forked child from its parent (see `process`); nothing else in this crate makes any. One file a family of
//! calls.
//!
//! Each function is one call, retried on EINTR, counted, and open to `hook`. With that feature off
//! nothing stands between the function and the kernel but the count. (A recv or send that falls back to
//! read or write counts once.)

// `inline(always)` here: see `fast`.

mod files;
mod holes;
mod kernel;
mod pipes;
mod process;
mod raw;
mod read_write;
mod sockets;
mod stat;
mod wait;

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

pub(crate) use files::{advance, appends, flags, is_one_open_file, is_written_to, position};
pub(crate) use holes::{extend, is_locked, next_data, next_hole, punch, reopen};
pub(crate) use kernel::{copy_file_range, sendfile, splice};
pub(crate) use pipes::{pipe, pipe_size, room_in_pipe, set_pipe_size};
pub(crate) use process::process;
pub(crate) use read_write::{
    discard, read_and_look, read_end, read_fd, read_message, read_what_is_there, write_end,
    write_fd,
};
pub(crate) use sockets::{
    Protocol, counts_what_it_queues, has_protocol_above, is_at_mark, is_stream, low_water,
    protocol, receive_buffer, receive_timeout, reset_when_closed, room, room_in_memory,
    set_low_water, take_error, unsent,
};
pub(crate) use stat::{Identity, Stat, has_fewer_blocks, known_identity, shares_no_blocks, stat};
pub(crate) use wait::{is_ready, readiness, wait_for, wait_readable};

pub(crate) use crate::syscall::Syscall;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// How many calls this thread has made through the table.
#[inline]
pub(crate) fn calls() -> u64 {
    CALLS.with(Cell::get)
}

/// How many calls this thread has made since it had made `before`; takes them off the thread's count.
pub(crate) fn count_from(before: u64) -> u64 {
    CALLS.with(|calls| calls.replace(before)) - before
}

/// Makes one call, again for as long as signals interrupt it.
///
/// `len` is how much it may move; a hook can make it less. Calls that move nothing have a `len` of
/// 0 and return 0.
#[inline(always)]
fn call(
    syscall: Syscall,
    from: Option<BorrowedFd<'_>>,
    to: Option<BorrowedFd<'_>>,
    len: usize,
    mut real: impl FnMut(usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        #[cfg(feature = "hook")]
        let answer = crate::hook::intercept(syscall, raw_fd(from), raw_fd(to), len, &mut real);
        #[cfg(not(feature = "hook"))]
        let answer = {
            let _ = (syscall, raw_fd(from), raw_fd(to));
            real(len)
        };
        match answer {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// Makes one call that moves nothing, and returns its answer; `ENOSYS` if a hook has answered instead, which has
/// none to give.
#[inline(always)]
fn ask<T>(
    syscall: Syscall,
    about: Option<BorrowedFd<'_>>,
    mut real: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut told = None;
    call(syscall, about, None, 0, |_| {
        told = Some(real()?);
        Ok(0)
    })?;
    told.ok_or(Errno::NOSYS)
}

/// Undoes what a call has done, by another call that only a hook can make fail. Tries a few times,
/// since what was done must not stay. `false`: it stays.
pub(crate) fn insist(mut undo: impl FnMut() -> Result<(), Errno>) -> bool {
    const PATIENCE: usize = 16;
    (0..PATIENCE).any(|_| undo().is_ok())
}

fn raw_fd(fd: Option<BorrowedFd<'_>>) -> Option<RawFd> {
    fd.map(|fd| fd.as_raw_fd())
}

/// The most bytes that one call moves, even if it is asked for more (sendfile(2), read(2)).
const MAX_LEN: usize = 0x7fff_f000;

/// `limit` bytes, or as many as one call can move.
#[inline]
pub(crate) fn at_most(limit: u64) -> usize {
    usize::try_from(limit).map_or(MAX_LEN, |limit| limit.min(MAX_LEN))
}
