//! The system calls that rustix does not wrap, or wraps as unsafe functions. All of the engine's unsafe
//! code is here.

#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;

/// How `sockopt` types an option's length.
fn len_of_int() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("4 fits")
}

/// `SO_RCVLOWAT`, see [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
pub(super) fn low_water(fd: BorrowedFd<'_>) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut len = len_of_int();
    // SAFETY: the kernel writes at most `len` bytes to `value`, which is that long and lives on.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    check(answer).map(|()| value)
}

/// Sets `SO_RCVLOWAT`.
pub(super) fn set_low_water(fd: BorrowedFd<'_>, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes from `value` as an int has, and keeps no pointer to it.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            len_of_int(),
        )
    };
    check(answer)
}

fn check(answer: libc::c_int) -> Result<(), Errno> {
    if answer == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// A number, 0 at first, that is 0 again in a forked child, whatever it was in the parent
/// (`MADV_WIPEONFORK`, Linux 4.14,
/// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)); `None` where the kernel
/// will not do that.
///
/// It works for any kind of fork, unlike the handlers of `pthread_atfork`.
pub(super) fn wiped_on_fork() -> Option<&'static AtomicU64> {
    // As much as the smallest page; the kernel rounds up.
    const LEN: usize = 4096;
    // SAFETY: a new mapping, over nobody else's memory.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LEN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is ours, and that long.
    if unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above, and nothing refers to it.
        unsafe { libc::munmap(page, LEN) };
        return None;
    }
    // SAFETY: it is aligned, zeroed, and stays mapped for good.
    Some(unsafe { &*page.cast::<AtomicU64>() })
}
