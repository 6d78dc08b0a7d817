//! The table of system calls. Every call that the engine makes is here, except the few that tell a
//! forked child from its parent (see `process`); nothing else in this crate makes any.
//!
//! Each function is one call, retried on EINTR, counted, and open to `hook`. With that feature off
//! nothing stands between the function and the kernel but the count. (A recv or send that falls back to
//! read or write counts once.)

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

mod raw;
mod stat;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::SpliceFlags;
use zc_core::PollFd;

pub(crate) use stat::{Stat, stat};

/// The calls of the table, by the names of their manual pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
// Public through `hook`.
#[cfg_attr(not(feature = "hook"), allow(dead_code, unreachable_pub))]
pub enum Syscall {
    /// read(2); on what is known to be a socket its equal, recv(2) without flags
    Read,
    /// write(2); on what is known to be a socket its equal, send(2), without SIGPIPE
    Write,
    /// splice(2)
    Splice,
    /// copy_file_range(2)
    CopyFileRange,
    /// sendfile(2)
    Sendfile,
    /// pipe2(2)
    Pipe,
    /// fcntl(2) with `F_SETPIPE_SZ`
    SetPipeSize,
    /// fcntl(2) with `F_GETPIPE_SZ`
    GetPipeSize,
    /// fcntl(2) with `F_GETFL`
    GetFlags,
    /// statx(2)
    Statx,
    /// fstat(2), where statx will not do
    Fstat,
    /// fstatfs(2)
    Fstatfs,
    /// lseek(2)
    Seek,
    /// poll(2)
    Poll,
    /// getsockopt(2)
    GetSockOpt,
    /// setsockopt(2)
    SetSockOpt,
    /// clock_gettime(2)
    ClockGetTime,
}

#[cfg_attr(not(feature = "hook"), allow(unreachable_pub))]
impl Syscall {
    /// The name, as errors give it.
    pub fn name(self) -> &'static str {
        match self {
            Syscall::Read => "read",
            Syscall::Write => "write",
            Syscall::Splice => "splice",
            Syscall::CopyFileRange => "copy_file_range",
            Syscall::Sendfile => "sendfile",
            Syscall::Pipe => "pipe2",
            Syscall::SetPipeSize | Syscall::GetPipeSize | Syscall::GetFlags => "fcntl",
            Syscall::Statx => "statx",
            Syscall::Fstat => "fstat",
            Syscall::Fstatfs => "fstatfs",
            Syscall::Seek => "lseek",
            Syscall::Poll => "poll",
            Syscall::GetSockOpt => "getsockopt",
            Syscall::SetSockOpt => "setsockopt",
            Syscall::ClockGetTime => "clock_gettime",
        }
    }
}

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

/// Makes one call that moves nothing, and returns its answer; `ENOSYS` if a hook has answered in its
/// place, which knows none.
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

/// Undoes what a call has done, by another that only a hook can make fail once the first has succeeded:
/// again a few times, since what was done must not stay. `false`: it stays.
pub(crate) fn insist(mut undo: impl FnMut() -> Result<(), Errno>) -> bool {
    const PATIENCE: usize = 16;
    (0..PATIENCE).any(|_| undo().is_ok())
}

fn raw_fd(fd: Option<BorrowedFd<'_>>) -> Option<RawFd> {
    fd.map(|fd| fd.as_raw_fd())
}

/// One call moves at most this many bytes, whatever it is asked (sendfile(2), read(2)).
const MAX_LEN: usize = 0x7fff_f000;

/// `limit` bytes, or as many as one call can move.
#[inline]
pub(crate) fn at_most(limit: u64) -> usize {
    usize::try_from(limit).map_or(MAX_LEN, |limit| limit.min(MAX_LEN))
}

/// [read(2)](https://man7.org/linux/man-pages/man2/read.2.html), by way of the table: counted, and open
/// to `hook`. Blocks as read(2) does.
///
/// # Errors
///
/// Those of the call, but EINTR, which is retried.
#[inline(always)]
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let n = call(Syscall::Read, Some(fd), None, buf.len(), |len| {
        rustix::io::read(fd, &mut buf[..len])
    })?;
    Ok(n)
}

/// [write(2)](https://man7.org/linux/man-pages/man2/write.2.html), by way of the table: counted,
/// and open to `hook`. Blocks as write(2) does. It raises SIGPIPE where write(2) does.
///
/// # Errors
///
/// Those of the call, but EINTR, which is retried.
#[inline(always)]
pub fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    let len = buf.len().min(MAX_LEN);
    let n = call(Syscall::Write, None, Some(fd), len, |len| rustix::io::write(fd, &buf[..len]))?;
    Ok(n)
}

/// Whether a recv or send that failed with this errno is left to read or write: the owner was wrong
/// about its descriptor; or a sandbox denies the one and not the other, with any of the last three.
fn only_reads_and_writes(errno: Errno) -> bool {
    matches!(errno, Errno::NOTSOCK | Errno::NOSYS | Errno::PERM | Errno::ACCESS)
}

/// Reads from an end of a copy.
#[inline(always)]
pub(crate) fn take(end: PollFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let fd = end.fd();
    if !end.is_socket() {
        return read(fd, buf);
    }
    let n = call(Syscall::Read, Some(fd), None, buf.len(), |len| {
        match rustix::net::recv(fd, &mut buf[..len], RecvFlags::empty()) {
            Ok((n, _)) => Ok(n),
            Err(errno) if only_reads_and_writes(errno) => rustix::io::read(fd, &mut buf[..len]),
            Err(errno) => Err(errno),
        }
    })?;
    Ok(n)
}

/// Writes to an end of a copy.
#[inline(always)]
pub(crate) fn give(end: PollFd<'_>, buf: &[u8]) -> io::Result<usize> {
    let fd = end.fd();
    if !end.is_socket() {
        return write(fd, buf);
    }
    let len = buf.len().min(MAX_LEN);
    let n = call(Syscall::Write, None, Some(fd), len, |len| {
        match rustix::net::send(fd, &buf[..len], SendFlags::NOSIGNAL) {
            Err(errno) if only_reads_and_writes(errno) => rustix::io::write(fd, &buf[..len]),
            answer => answer,
        }
    })?;
    Ok(n)
}

pub(crate) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
    call(Syscall::Splice, Some(from), Some(to), len, |len| {
        rustix::pipe::splice(from, None, to, None, len, SpliceFlags::empty())
    })
}

pub(crate) fn copy_file_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
) -> Result<usize, Errno> {
    call(Syscall::CopyFileRange, Some(from), Some(to), len, |len| {
        rustix::fs::copy_file_range(from, None, to, None, len)
    })
}

pub(crate) fn sendfile(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
) -> Result<usize, Errno> {
    call(Syscall::Sendfile, Some(from), Some(to), len, |len| {
        rustix::fs::sendfile(to, from, None, len)
    })
}

/// The read end and the write end of a new pipe, both blocking and closed on exec.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    ask(Syscall::Pipe, None, || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC))
}

/// The capacity granted, which may be more than was asked for.
pub(crate) fn set_pipe_size(pipe: &OwnedFd, size: usize) -> Result<usize, Errno> {
    call(Syscall::SetPipeSize, None, Some(pipe.as_fd()), 0, |_| {
        rustix::pipe::fcntl_setpipe_size(pipe, size)
    })
}

pub(crate) fn pipe_size(pipe: &OwnedFd) -> Result<usize, Errno> {
    call(Syscall::GetPipeSize, Some(pipe.as_fd()), None, 0, |_| {
        rustix::pipe::fcntl_getpipe_size(pipe)
    })
}

pub(crate) fn flags(fd: BorrowedFd<'_>) -> Result<rustix::fs::OFlags, Errno> {
    ask(Syscall::GetFlags, Some(fd), || rustix::fs::fcntl_getfl(fd))
}

/// The magic number of the file system that a file is on.
pub(crate) fn file_system(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let statfs = ask(Syscall::Fstatfs, Some(fd), || rustix::fs::fstatfs(fd))?;
    // Some architectures sign-extend a number that is 32 bits wide everywhere.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits")]
    let magic = statfs.f_type as u32;
    Ok(magic)
}

/// Where a file stands.
pub(crate) fn position(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    ask(Syscall::Seek, Some(fd), || rustix::fs::seek(fd, rustix::fs::SeekFrom::Current(0)))
}

/// Sets a file to `position`.
pub(crate) fn seek(fd: BorrowedFd<'_>, position: u64) -> Result<(), Errno> {
    ask(Syscall::Seek, Some(fd), || rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(position)))?;
    Ok(())
}

/// A number that a forked child does not share with its parent, nor with any other process whose
/// memory it has a copy of. The calls behind it move nothing, so the table leaves them out.
///
/// The process id is only the last resort: every PID namespace has a 1, and asking for it is a
/// system call.
pub(crate) fn process() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    static NUMBER: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

    let Some(number) = NUMBER.get_or_init(raw::wiped_on_fork) else {
        return std::process::id().into();
    };
    match number.load(Ordering::Relaxed) {
        0 => {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            let taken = number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
            taken.map_or_else(|other_thread| other_thread, |_| new)
        }
        known => known,
    }
}

/// Whether `events` are there now.
pub(crate) fn is_ready(
    fd: BorrowedFd<'_>,
    events: rustix::event::PollFlags,
) -> Result<bool, Errno> {
    let n = call(Syscall::Poll, Some(fd), None, 0, |_| {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, events)];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
    })?;
    Ok(n > 0)
}

/// Waits until `fd` is readable, has ended or failed, or `deadline` has come, if there is one.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<bool, Errno> {
    let n = call(Syscall::Poll, Some(fd), None, 0, |_| {
        // Taken anew each time, since a signal must not start the wait over.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // More seconds than a timespec holds are as good as no timeout.
        let timeout = left.and_then(|left| rustix::event::Timespec::try_from(left).ok());
        let events = rustix::event::PollFlags::IN | rustix::event::PollFlags::RDHUP;
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, events)];
        rustix::event::poll(&mut fds, timeout.as_ref())
    })?;
    Ok(n > 0)
}

/// The processor time this thread has used; `None` where the clock cannot be asked. (A sandbox can
/// forbid it unnoticed: the common clocks take no system call, this one does.)
pub(crate) fn thread_time() -> Option<Duration> {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

    // `clock_gettime` would panic where this one returns an error.
    let clock = DynamicClockId::Known(ClockId::ThreadCPUTime);
    let now = ask(Syscall::ClockGetTime, None, || clock_gettime_dynamic(clock)).ok()?;
    Duration::try_from(now).ok()
}

/// Whether `fd` is a TCP socket.
pub(crate) fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    let protocol = ask(Syscall::GetSockOpt, Some(fd), || rustix::net::sockopt::socket_protocol(fd));
    protocol == Ok(Some(rustix::net::ipproto::TCP))
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

/// What a descriptor turned out to be, as far as a copy has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Make {
    /// False for sockets that keep message boundaries, true for everything else.
    pub is_stream: bool,
    /// Whether it is a socket.
    pub is_socket: bool,
}

/// Asks the kernel what kind of descriptor `fd` is. Blocks as statx(2) does, which is not at all on
/// local file systems, on sockets and on pipes.
///
/// # Errors
///
/// `EBADF` and the like, from statx(2), fstat(2) or getsockopt(2).
///
/// ```
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixDatagram;
/// use zc_linux::Make;
///
/// let made = zc_linux::make(UnixDatagram::unbound()?.as_fd())?;
/// assert_eq!(made, Make { is_stream: false, is_socket: true });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn make(fd: BorrowedFd<'_>) -> io::Result<Make> {
    if stat(fd)?.kind != rustix::fs::FileType::Socket {
        return Ok(Make { is_stream: true, is_socket: false });
    }
    let kind = ask(Syscall::GetSockOpt, Some(fd), || rustix::net::sockopt::socket_type(fd))?;
    Ok(Make { is_stream: kind == rustix::net::SocketType::STREAM, is_socket: true })
}

/// `Read` of a descriptor by way of the table.
#[derive(Debug)]
pub(crate) struct FdReader<'fd>(pub(crate) BorrowedFd<'fd>);

impl Read for FdReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        read(self.0, buf)
    }
}

/// `Read` of a socket that answers `WouldBlock` rather than wait, whatever mode it is in.
#[derive(Debug)]
pub(crate) struct ReaderOfWhatIsThere<'fd>(pub(crate) BorrowedFd<'fd>);

impl Read for ReaderOfWhatIsThere<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n =
            call(Syscall::Read, Some(self.0), None, buf.len(), |len| {
                match rustix::net::recv(self.0, &mut buf[..len], RecvFlags::DONTWAIT) {
                    Ok((n, _)) => Ok(n),
                    Err(errno) if only_reads_and_writes(errno) => Err(Errno::AGAIN),
                    Err(errno) => Err(errno),
                }
            })?;
        Ok(n)
    }
}

/// `Read` of a copy's end.
#[derive(Debug)]
pub(crate) struct EndReader<'fd>(pub(crate) PollFd<'fd>);

impl Read for EndReader<'_> {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        take(self.0, buf)
    }
}

/// `Write` to a copy's end.
#[derive(Debug)]
pub(crate) struct EndWriter<'fd>(pub(crate) PollFd<'fd>);

impl Write for EndWriter<'_> {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        give(self.0, buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
