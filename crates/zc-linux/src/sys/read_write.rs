//! read(2), write(2), and what stands in for them on sockets and at offsets.

// `inline(always)` here: see `fast`.

use std::io::IoSliceMut;
use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags};
use zc_core::End;

use super::{MAX_LEN, Syscall, call, is_ready, raw};

/// read(2).
#[inline(always)]
pub(crate) fn read_fd(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    call(Syscall::Read, Some(fd), None, buf.len(), |len| rustix::io::read(fd, &mut buf[..len]))
}

/// write(2).
#[inline(always)]
pub(crate) fn write_fd(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<usize, Errno> {
    let len = buf.len().min(MAX_LEN);
    call(Syscall::Write, None, Some(fd), len, |len| rustix::io::write(fd, &buf[..len]))
}

/// Whether read or write is to try again after a recv or send that failed with this errno. The owner was
/// wrong about its descriptor, or a sandbox denies the one and not the other. EACCES is not among them.
/// It may be the socket's own (an ICMPv6 rejection), which the second call would not see again.
fn only_reads_and_writes(errno: Errno) -> bool {
    matches!(errno, Errno::NOTSOCK | Errno::NOSYS | Errno::PERM)
}

/// Reads from an end of a transfer.
#[inline(always)]
pub(crate) fn read_end(end: End<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    let fd = end.fd.fd();
    if let Some(offset) = end.offset {
        return call(Syscall::Read, Some(fd), None, buf.len(), |len| {
            rustix::io::pread(fd, &mut buf[..len], offset)
        });
    }
    if !end.fd.is_socket() {
        return read_fd(fd, buf);
    }
    call(Syscall::Read, Some(fd), None, buf.len(), |len| {
        match rustix::net::recv(fd, &mut buf[..len], RecvFlags::empty()) {
            Ok((n, _)) => Ok(n),
            Err(errno) if only_reads_and_writes(errno) => rustix::io::read(fd, &mut buf[..len]),
            Err(errno) => Err(errno),
        }
    })
}

/// recvmsg(2), of a socket that keeps the boundaries of messages; and whether the message was longer than `buf`, so
/// that the kernel has dropped its end. (recv with `MSG_TRUNC` tells as much, but is no read of what is a stream
/// after all.)
#[cold]
pub(crate) fn read_message(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<(usize, bool), Errno> {
    let (mut is_longer, room) = (false, buf.len());
    let answer = call(Syscall::Read, Some(fd), None, room, |len| {
        let mut none = RecvAncillaryBuffer::default();
        let mut parts = [IoSliceMut::new(&mut buf[..len])];
        let got = rustix::net::recvmsg(fd, &mut parts, &mut none, RecvFlags::empty())?;
        // A hook that shortens the call is no message that is too long.
        is_longer = got.flags.contains(ReturnFlags::TRUNC) && len == room;
        Ok(got.bytes)
    });
    match answer {
        Err(errno) if only_reads_and_writes(errno) => read_fd(fd, buf).map(|n| (n, false)),
        answer => answer.map(|n| (n, is_longer)),
    }
}

/// recv(2) with `MSG_TRUNC`, of a stream socket: takes at most as many bytes as `room` has, and drops them. TCP
/// copies none of them and leaves `room` as it is (Linux 2.4, tcp(7)); other streams do not know the flag, or
/// fill `room` all the same. So it is always given.
#[inline(always)]
pub(crate) fn discard(fd: BorrowedFd<'_>, room: &mut [u8]) -> Result<usize, Errno> {
    call(Syscall::Discard, Some(fd), None, room.len(), |len| {
        let (_, n) = rustix::net::recv(fd, &mut room[..len], RecvFlags::TRUNC)?;
        // Of a message it says how long it was: that of a socket that is no stream after all.
        Ok(n.min(len))
    })
}

/// Reads from a stream socket what has come already, as [`read_what_is_there`] does, and says whether there is
/// nothing behind it: `false` if that is not known.
pub(crate) fn read_and_look(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<(usize, bool), Errno> {
    let mut is_empty = false;
    let answer = call(Syscall::Read, Some(fd), None, buf.len(), |len| {
        // The look takes a byte.
        let (n, nothing_behind) = match len {
            ..2 => (rustix::net::recv(fd, &mut buf[..len], RecvFlags::DONTWAIT)?.0, false),
            _ => raw::recv_and_look(fd, &mut buf[..len])?,
        };
        is_empty = nothing_behind;
        Ok(n)
    });
    match answer {
        Err(errno) if only_reads_and_writes(errno) => {
            read_what_is_there(fd, buf).map(|n| (n, false))
        }
        answer => answer.map(|n| (n, is_empty)),
    }
}

/// Writes to an end of a transfer.
#[inline(always)]
pub(crate) fn write_end(end: End<'_>, buf: &[u8]) -> Result<usize, Errno> {
    let fd = end.fd.fd();
    let len = buf.len().min(MAX_LEN);
    if let Some(offset) = end.offset {
        return call(Syscall::Write, None, Some(fd), len, |len| {
            rustix::io::pwrite(fd, &buf[..len], offset)
        });
    }
    if !end.fd.is_socket() {
        return write_fd(fd, buf);
    }
    call(Syscall::Write, None, Some(fd), len, |len| {
        match rustix::net::send(fd, &buf[..len], SendFlags::NOSIGNAL) {
            Err(errno) if only_reads_and_writes(errno) => rustix::io::write(fd, &buf[..len]),
            answer => answer,
        }
    })
}

/// Reads from a socket what has come already, and answers EAGAIN rather than wait, also in blocking
/// mode.
#[cold]
pub(crate) fn read_what_is_there(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    let answer = call(Syscall::Read, Some(fd), None, buf.len(), |len| {
        rustix::net::recv(fd, &mut buf[..len], RecvFlags::DONTWAIT).map(|(n, _)| n)
    });
    match answer {
        // A read does not wait for what poll has seen, unless another reader is quicker.
        Err(errno) if only_reads_and_writes(errno) => {
            if is_ready(fd, PollFlags::IN | PollFlags::RDHUP)? {
                read_fd(fd, buf)
            } else {
                Err(Errno::AGAIN)
            }
        }
        answer => answer,
    }
}
