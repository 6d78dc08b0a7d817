//! What a socket is, and when it wakes a reader.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{Syscall, ask, call, raw};

/// What a socket speaks, as far as it matters to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A TCP connection.
    Tcp,
    /// A Multipath TCP connection.
    Mptcp,
    /// Another byte stream: a Unix stream socket, as a rule.
    OtherStream,
    /// Datagrams, sequenced packets, or what is not known to be a byte stream.
    Messages,
}

/// What a socket speaks: one getsockopt(2) for messages, two for streams. Other families number their protocols
/// in their own way, and have no streams.
pub(crate) fn protocol(fd: BorrowedFd<'_>) -> Result<Protocol, Errno> {
    /// From linux/in.h.
    const MPTCP: u32 = 262;

    if !is_stream(fd)? {
        return Ok(Protocol::Messages);
    }
    let protocol = ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_protocol(fd))?;
    Ok(match protocol.map(|protocol| protocol.as_raw().get()) {
        None => Protocol::OtherStream,
        Some(6) => Protocol::Tcp,
        Some(MPTCP) => Protocol::Mptcp,
        // SCTP calls its sequence of messages a stream, so another protocol's word is not taken.
        Some(_) => Protocol::Messages,
    })
}

/// Whether the bytes of a TCP connection are another protocol's, which the kernel speaks (`TCP_ULP`): TLS
/// (Linux 4.13) for one, whose records are no bytes of the stream. Kernels before know no such option.
pub(crate) fn has_protocol_above(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    match ask(Syscall::GetSockOpt, Some(fd), || raw::has_protocol_above(fd)) {
        Err(Errno::NOPROTOOPT) => Ok(false),
        answer => answer,
    }
}

/// Whether a socket is of type `SOCK_STREAM`: one getsockopt(2).
pub(crate) fn is_stream(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let kind = ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_type(fd))?;
    Ok(kind == SocketType::STREAM)
}

/// About how many bytes a socket takes without waiting.
pub(crate) fn room(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let all = ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_send_buffer_size(fd))?;
    Ok((all as u64).saturating_sub(unsent(fd)?))
}

/// How many bytes of memory a socket's send buffer has left, or `None` before Linux 4.12.
pub(crate) fn room_in_memory(fd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    match ask(Syscall::GetSockOpt, Some(fd), || raw::send_buffer(fd)) {
        Ok((all, used)) => Ok(Some(u64::from(all.saturating_sub(used)))),
        Err(Errno::NOPROTOOPT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether a socket counts in its send buffer what its peer has not taken: the Internet's and Unix ones. The peer of a
/// vsock one, for example, has a buffer that it says nothing of.
pub(crate) fn counts_what_it_queues(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let domain = ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_domain(fd))?;
    Ok(matches!(domain, AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX))
}

/// Whether urgent data is next, before which splice stops. It takes no lock of the socket's.
pub(crate) fn is_at_mark(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    ask(Syscall::AtMark, Some(fd), || raw::is_at_mark(fd))
}

/// How many bytes of a socket's send buffer are in use (`SIOCOUTQ`).
pub(crate) fn unsent(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let used = ask(Syscall::Unsent, Some(fd), || raw::unsent(fd))?;
    Ok(u64::try_from(used).unwrap_or(0))
}

/// Has close(2) discard what is unsent and reset the connection (`SO_LINGER` of no time).
pub(crate) fn reset_when_closed(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let at_once = || sockopt::set_socket_linger(fd, Some(Duration::ZERO));
    call(Syscall::SetSockOpt, None, Some(fd), 0, |_| at_once().map(|()| 0))?;
    Ok(())
}

/// The error that a socket has to report, which it does once (`SO_ERROR`).
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> Result<Option<Errno>, Errno> {
    ask(Syscall::GetSockOpt, Some(fd), || Ok(sockopt::socket_error(fd)?.err()))
}

/// How large a socket's receive buffer is, by the kernel's count (`SO_RCVBUF`): about half of it are the bytes.
pub(crate) fn receive_buffer(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_recv_buffer_size(fd))? as u64)
}

/// How long a read of a socket waits (`SO_RCVTIMEO`). `None`: for as long as it takes.
pub(crate) fn receive_timeout(fd: BorrowedFd<'_>) -> Result<Option<Duration>, Errno> {
    ask(Syscall::GetSockOpt, Some(fd), || sockopt::socket_timeout(fd, sockopt::Timeout::Recv))
}

/// `SO_RCVLOWAT`, in bytes.
pub(crate) fn low_water(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let value = ask(Syscall::GetSockOpt, Some(fd), || raw::low_water(fd))?;
    u32::try_from(value).map_err(|_| Errno::NOSYS)
}

/// Sets `SO_RCVLOWAT`, in bytes.
pub(crate) fn set_low_water(fd: BorrowedFd<'_>, bytes: u32) -> Result<(), Errno> {
    let value = i32::try_from(bytes).map_err(|_| Errno::INVAL)?;
    call(Syscall::SetSockOpt, None, Some(fd), 0, |_| raw::set_low_water(fd, value).map(|()| 0))?;
    Ok(())
}
