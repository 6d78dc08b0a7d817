//! Calls on one descriptor, for the sibling crates and the tool: a hook sees them like the engine's own.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::fs::FileType;
use zc_core::{End, PollFd};

use crate::sys;

/// read(2).
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(sys::read_fd(fd, buf)?)
}

/// write(2).
pub fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    Ok(sys::write_fd(fd, buf)?)
}

/// pread(2).
pub fn read_at(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(sys::read_end(at(fd, offset), buf)?)
}

/// pwrite(2).
pub fn write_at(fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
    Ok(sys::write_end(at(fd, offset), buf)?)
}

fn at(fd: BorrowedFd<'_>, offset: u64) -> End<'_> {
    End { fd: PollFd::stream(fd), offset: Some(offset) }
}

/// The offset of the open file, if it has one.
pub fn position(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(sys::position(fd)?)
}

/// Whether two descriptors are one open file; where the kernel does not tell (kcmp(2)), whether they are one file. It
/// waits for no disk.
pub fn is_one_open_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let is_one_file = || sys::known_identity(one) == sys::known_identity(other);
    sys::is_one_open_file(one, other).unwrap_or_else(|_| is_one_file())
}

/// Whether two descriptors are known to be one regular file.
pub fn is_one_regular_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let is_one = match (sys::known_identity(one), sys::known_identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    is_one && sys::stat(one).is_ok_and(|stat| stat.kind == FileType::RegularFile)
}

/// Whether it is known to be in append mode.
pub fn appends(fd: BorrowedFd<'_>) -> bool {
    sys::appends(fd)
}

/// Waits until a read would find bytes, the end or an error; `false` if `deadline` came first.
pub fn wait_readable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    Ok(sys::wait_readable(fd, deadline)?)
}

/// Waits until a write would find room or an error; `false` if `deadline` came first.
pub fn wait_writable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    Ok(sys::wait_for(fd, PollFlags::OUT, deadline)?)
}

/// `SO_RCVLOWAT`, in bytes.
pub fn low_water(fd: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(sys::low_water(fd)?)
}

/// Sets `SO_RCVLOWAT`, in bytes.
pub fn set_low_water(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    Ok(sys::set_low_water(fd, bytes)?)
}

/// The error that a socket has to report, which it does once (`SO_ERROR`).
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    Ok(sys::take_error(fd)?.map(io::Error::from))
}

/// About how many bytes a socket takes without waiting: the rest of its send buffer, by the memory that is in use.
/// Pages that are spliced into it take up little more than their bytes. Of a socket that [does not
/// count](counts_what_it_queues) what it queues, it says nothing.
pub fn room(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(match sys::room_in_memory(fd)? {
        Some(room) => room,
        // By the bytes, which are half of the memory or more. (Before Linux 4.12.)
        None => sys::room(fd)? / 2,
    })
}

/// Whether [`room`] is known of a socket.
pub fn counts_what_it_queues(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sys::counts_what_it_queues(fd)?)
}

/// `SIOCOUTQ`. TCP: how many bytes the peer's kernel has not acknowledged, where an end of the stream counts for
/// one. Unix: the memory that holds what the peer has not read.
pub fn unsent(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(sys::unsent(fd)?)
}

/// Sets `SO_LINGER` to no time: closing a TCP connection then resets it.
pub fn reset_when_closed(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(sys::reset_when_closed(fd)?)
}
