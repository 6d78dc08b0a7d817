//! Pipes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{Syscall, ask, call};

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

pub(crate) fn pipe_size(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    call(Syscall::GetPipeSize, Some(pipe), None, 0, |_| rustix::pipe::fcntl_getpipe_size(pipe))
}

/// About how many bytes a pipe takes without waiting, in whole pages.
pub(crate) fn room_in_pipe(pipe: BorrowedFd<'_>) -> Result<u64, Errno> {
    let size = pipe_size(pipe)? as u64;
    let held = ask(Syscall::Unread, Some(pipe), || rustix::io::ioctl_fionread(pipe))?;
    Ok(size.saturating_sub(held.next_multiple_of(4096)))
}
