//! The system calls that rustix does not wrap, or wraps as unsafe functions. All of the engine's unsafe
//! code is here.

#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::io::Errno;

/// How `sockopt` types an option's length.
fn len_of_int() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("4 fits")
}

/// `SO_RCVLOWAT`, see [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
pub(super) fn low_water(fd: BorrowedFd<'_>) -> Result<libc::c_int, Errno> {
    let (value, _) = option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT)?;
    Ok(value)
}

/// Whether a socket has a `TCP_ULP`. Its value is a name, of which an int has the beginning; without one its
/// length is 0.
pub(super) fn has_protocol_above(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (_, len) = option(fd, libc::IPPROTO_TCP, libc::TCP_ULP)?;
    Ok(len > 0)
}

/// An option's value, as far as an int holds it, and how long the kernel says that is.
fn option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> Result<(libc::c_int, libc::socklen_t), Errno> {
    let mut value: libc::c_int = 0;
    let mut len = len_of_int();
    // SAFETY: the kernel writes at most `len` bytes to `value`, which is that long and lives on.
    let answer = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
    };
    check(answer).map(|()| (value, len))
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
    Err(last_error())
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

/// How many bytes of a socket's send buffer are in use (`SIOCOUTQ`,
/// [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html),
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)).
pub(super) fn unsent(fd: BorrowedFd<'_>) -> Result<libc::c_int, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which lives on. (The command has the terminals' name, too.)
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(bytes)
}

/// How large a socket's send buffer is, and how much of it what it has queued takes up, both as the kernel counts
/// where it decides whether there is room (`SO_MEMINFO`, Linux 4.12).
pub(super) fn send_buffer(fd: BorrowedFd<'_>) -> Result<(u32, u32), Errno> {
    /// From asm-generic/socket.h, as on every machine that Android runs on.
    #[cfg(target_os = "android")]
    const SO_MEMINFO: libc::c_int = 55;
    #[cfg(not(target_os = "android"))]
    use libc::SO_MEMINFO;
    // From linux/sock_diag.h. Unix sockets count what is allocated, TCP what is queued, and each leaves the other
    // at about nothing.
    const ALLOCATED: usize = 2;
    const SEND_BUFFER: usize = 3;
    const QUEUED: usize = 5;

    let mut values = [0_u32; 9];
    let size = size_of_val(&values);
    let mut len = libc::socklen_t::try_from(size).expect("36 fits");
    // SAFETY: the kernel writes at most `len` bytes to `values`, which is that long and lives on.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    Ok((values[SEND_BUFFER], values[ALLOCATED].max(values[QUEUED])))
}

/// Whether a TCP socket's next byte is its urgent one (`SIOCATMARK`, see
/// [sockatmark(3)](https://man7.org/linux/man-pages/man3/sockatmark.3.html)).
pub(super) fn is_at_mark(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// From linux/sockios.h.
    const SIOCATMARK: libc::Ioctl = 0x8905;
    let mut is_there: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which lives on.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCATMARK, &raw mut is_there) })?;
    Ok(is_there != 0)
}

/// Reads what a stream socket has, and looks whether there is more behind, all in one call
/// ([recvmmsg(2)](https://man7.org/linux/man-pages/man2/recvmmsg.2.html)): `true` if it has said that there is
/// nothing now. It never waits. The look may bring one byte, for which the last of `buf` is kept.
pub(super) fn recv_and_look(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<(usize, bool), Errno> {
    let last = buf.len() - 1;
    let (first, behind) = buf.split_at_mut(last);
    let part = |bytes: &mut [u8]| libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut parts = [part(first), part(behind)];
    // SAFETY: structs of integers and pointers, for which all zeros are a value: no address, no control data.
    let mut messages: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
    }
    let no_timeout = std::ptr::null_mut::<libc::timespec>();
    // SAFETY: the kernel reads and writes the two headers, and writes to the two parts of `buf`, which are as long
    // as it is told. All of them live on, and it keeps no pointer to any.
    let answer = unsafe {
        let messages = messages.as_mut_ptr();
        libc::syscall(
            libc::SYS_recvmmsg,
            fd.as_raw_fd(),
            messages,
            2,
            libc::MSG_DONTWAIT,
            no_timeout,
        )
    };
    let [n, more] = messages.map(|message| message.msg_len as usize);
    match answer {
        ..0 => Err(last_error()),
        // The second would have waited.
        0 | 1 => Ok((n, answer == 1)),
        _ => {
            buf.copy_within(last..last + more, n);
            Ok((n + more, false))
        }
    }
}

/// Whether two descriptors are one open file, duplicates of each other
/// ([kcmp(2)](https://man7.org/linux/man-pages/man2/kcmp.2.html)).
///
/// A sandbox may forbid it. To move one offset and look at the other would be seen by others; so would a lock
/// that belongs to the open file, which may have one there already.
pub(super) fn is_one_open_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// From linux/kcmp.h.
    const KCMP_FILE: libc::c_long = 0;
    let process = libc::c_long::from(std::process::id().cast_signed());
    let [one, other] = [one, other].map(|fd| libc::c_long::from(fd.as_raw_fd()));
    // SAFETY: it takes five numbers, and neither reads nor writes any memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_kcmp, process, process, KCMP_FILE, one, other) };
    if answer < 0 {
        return Err(last_error());
    }
    Ok(answer == 0)
}

/// Whether some process has a record lock on the file that does not belong to this open file, its own process
/// included (`F_OFD_GETLK`, [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)).
pub(super) fn is_locked(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    // For a lock of an open file the kernel fills the long struct, also on machines of 32 bits. There a C library may
    // have a shorter one, and hand the pointer on as it is (Android's, and glibc before 2.28). So no library is asked.
    #[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
    use libc::SYS_fcntl as FCNTL;
    #[cfg(any(target_arch = "arm", target_arch = "x86"))]
    use libc::SYS_fcntl64 as FCNTL;

    // SAFETY: `flock64` is a struct of integers, for which all zeros are a value. These mean: the whole file.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    let (write, none) = (libc::F_WRLCK, libc::F_UNLCK);
    lock.l_type = libc::c_short::try_from(write).expect("one of three small numbers");
    // SAFETY: the kernel reads and writes the struct, which lives on and is of the length that it goes by, and keeps no
    // pointer to it.
    let answer = unsafe { libc::syscall(FCNTL, fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if answer < 0 {
        return Err(last_error());
    }
    Ok(libc::c_int::from(lock.l_type) != none)
}

/// A number that is 0 at first, and 0 again in a forked child (`MADV_WIPEONFORK`, Linux 4.14,
/// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html)); `None` where the kernel
/// will not do that. `address` keeps its address, or 1 for `None`; before the first call it is 0.
///
/// It works for any kind of fork, unlike the handlers of `pthread_atfork`. No thread ever waits for
/// another here, so that a fork in between leaves nothing locked.
#[inline]
pub(super) fn wiped_on_fork(address: &'static AtomicUsize) -> Option<&'static AtomicU64> {
    let page = match address.load(Ordering::Acquire) {
        0 => new_page(address),
        known => known,
    };
    if page == NO_PAGE {
        return None;
    }
    // SAFETY: `new_page` has put the address of a page there that is mapped for good, aligned, and zeroed
    // when it was new. It is only ever used as this one atomic.
    Some(unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(page) })
}

/// What stands for the address where there is none.
const NO_PAGE: usize = 1;

/// Maps a page and makes it known, unless another thread has been quicker. Returns what is known then.
#[cold]
fn new_page(address: &'static AtomicUsize) -> usize {
    // As much as the smallest page; the kernel rounds up.
    const LEN: usize = 4096;
    // SAFETY: a new mapping, over no memory in use.
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
    let mapped = page != libc::MAP_FAILED;
    // Miri knows no such advice, and no fork.
    // SAFETY: if it is mapped, the mapping is ours, and that long.
    let wipes =
        mapped && (cfg!(miri) || unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } == 0);
    let new = if wipes { page.expose_provenance() } else { NO_PAGE };
    let known = match address.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other_thread) => other_thread,
    };
    if mapped && known != page.addr() {
        // SAFETY: as above, and nothing refers to it.
        unsafe { libc::munmap(page, LEN) };
    }
    known
}
