//! The names of the system calls.

/// The calls of the table, by the names of their manual pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
// Public through `hook`.
#[cfg_attr(not(feature = "hook"), allow(dead_code, unreachable_pub))]
pub enum Syscall {
    /// read(2) or pread(2); on what is known to be a socket its equal, recv(2)
    Read,
    /// write(2) or pwrite(2); on what is known to be a socket its equal, send(2), without SIGPIPE
    Write,
    /// recv(2) with `MSG_TRUNC`, of a stream socket: its bytes are taken and dropped
    Discard,
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
    /// ioctl(2) with `SIOCOUTQ`
    Unsent,
    /// ioctl(2) with `SIOCATMARK`
    AtMark,
    /// ioctl(2) with `FIONREAD`
    Unread,
    /// kcmp(2)
    Kcmp,
    /// lseek(2)
    Seek,
    /// lseek(2) with `SEEK_DATA`
    SeekData,
    /// lseek(2) with `SEEK_HOLE`
    SeekHole,
    /// fallocate(2)
    Fallocate,
    /// openat(2)
    Open,
    /// fcntl(2) with `F_OFD_GETLK`
    GetLock,
    /// poll(2)
    Poll,
    /// getsockopt(2)
    GetSockOpt,
    /// setsockopt(2)
    SetSockOpt,
}

#[cfg_attr(not(feature = "hook"), allow(unreachable_pub))]
impl Syscall {
    /// The name, as errors give it.
    pub fn name(self) -> &'static str {
        match self {
            Syscall::Read => "read",
            Syscall::Write => "write",
            Syscall::Discard => "recv",
            Syscall::Splice => "splice",
            Syscall::CopyFileRange => "copy_file_range",
            Syscall::Sendfile => "sendfile",
            Syscall::Pipe => "pipe2",
            Syscall::SetPipeSize | Syscall::GetPipeSize | Syscall::GetFlags | Syscall::GetLock => {
                "fcntl"
            }
            Syscall::Kcmp => "kcmp",
            Syscall::Statx => "statx",
            Syscall::Fstat => "fstat",
            Syscall::Fstatfs => "fstatfs",
            Syscall::Unsent | Syscall::AtMark | Syscall::Unread => "ioctl",
            Syscall::Seek | Syscall::SeekData | Syscall::SeekHole => "lseek",
            Syscall::Fallocate => "fallocate",
            Syscall::Open => "openat",
            Syscall::Poll => "poll",
            Syscall::GetSockOpt => "getsockopt",
            Syscall::SetSockOpt => "setsockopt",
        }
    }
}
