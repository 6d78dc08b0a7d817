//! System calls that the tests of real faults need and that no safe crate wraps.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes `syscalls` (numbers, `libc::SYS_…`) fail with `errno` from now on, on the calling thread and those that it
/// starts. It cannot be undone: seccomp(2) filters only add up.
///
/// # Errors
///
/// Those of prctl(2).
pub fn deny(syscalls: &[libc::c_long], errno: i32) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };

    // Offset 0 of seccomp_data is the number of the call.
    let mut program = vec![op(LOAD, 0, 0, 0)];
    for &number in syscalls {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        program.push(op(EQUAL, 0, 1, number));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };

    // SAFETY: PR_SET_NO_NEW_PRIVS takes no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: `filter` points to `len` instructions, which live until the call has copied them.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) })
}

/// Whether a process has a record lock on `file` that this open file does not own (`F_OFD_GETLK`).
///
/// # Errors
///
/// Those of fcntl(2).
pub fn is_locked(file: &File) -> io::Result<bool> {
    // SAFETY: `flock` is a struct of integers, for which all zeros are a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the kernel reads and writes the struct, which lives on.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

/// Shuts down the file system of `root`. Its journal is written, and its data is not.
///
/// # Errors
///
/// Those of ioctl(2); a file system that cannot be shut down answers ENOTTY.
pub fn shut_down(root: &File) -> io::Result<()> {
    // XFS_IOC_GOINGDOWN with XFS_FSOP_GOING_FLAGS_LOGFLUSH; ext4 has the same, EXT4_IOC_SHUTDOWN.
    const SHUTDOWN: libc::Ioctl = 0x8004_587d;
    let how: u32 = 1;
    // SAFETY: the request reads one u32.
    check(unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &how) })
}

/// Ignores `signal` from now on, in the whole process.
///
/// # Errors
///
/// Those of signal(2).
pub fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN runs no code.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives `signal` its default action from now on, in the whole process. (Rust programs ignore SIGPIPE from before
/// `main`.)
///
/// # Errors
///
/// Those of signal(2).
pub fn default_action(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_DFL runs no code.
    let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives free memory back to the system, as far as glibc can. (Each of its arenas keeps some.)
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

static STRUCK: AtomicU64 = AtomicU64::new(0);

extern "C" fn strike(_signal: libc::c_int) {
    STRUCK.fetch_add(1, Ordering::Relaxed);
}

/// Signals to the thread that made it, again and again, until it is dropped.
///
/// The handler is installed without SA_RESTART, so each signal interrupts a call that waits.
#[derive(Debug)]
pub struct Storm {
    timer: libc::timer_t,
}

impl Storm {
    /// One signal every `interval`, which is less than a second.
    ///
    /// # Errors
    ///
    /// Those of sigaction(2) and timer_create(2).
    pub fn every(interval: std::time::Duration) -> io::Result<Storm> {
        // SAFETY: all-zero is a valid sigaction: no flags, no signal blocked.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = strike as *const () as libc::sighandler_t;
        // SAFETY: the handler only adds to an atomic, which is async-signal-safe.
        check(unsafe { libc::sigaction(libc::SIGRTMIN(), &action, std::ptr::null_mut()) })?;

        // SAFETY: all-zero is a valid sigevent.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGRTMIN();
        event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_nonzero().get();
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: `event` is filled in, `timer` has room for the result.
        check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
        let storm = Storm { timer };

        let tick = libc::timespec { tv_sec: 0, tv_nsec: i64::from(interval.subsec_nanos()) };
        let spec = libc::itimerspec { it_interval: tick, it_value: tick };
        // SAFETY: the timer is this storm's and alive; no old value is asked for.
        check(unsafe { libc::timer_settime(storm.timer, 0, &spec, std::ptr::null_mut()) })?;
        Ok(storm)
    }

    /// How many of these signals this process has had so far.
    pub fn strikes() -> u64 {
        STRUCK.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // SAFETY: the timer is this storm's, and not used after this.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// How many extents a file has, and how many of them it shares with other files, by
/// [FIEMAP](https://docs.kernel.org/filesystems/fiemap.html).
///
/// # Errors
///
/// Those of ioctl(2): `EOPNOTSUPP` where the file system cannot tell.
pub fn extents(file: &File) -> io::Result<(usize, usize)> {
    const FS_IOC_FIEMAP: libc::Ioctl = 0xc020_660b_u32 as libc::Ioctl;
    const FIEMAP_FLAG_SYNC: u32 = 1;
    const FIEMAP_EXTENT_SHARED: u32 = 0x2000;
    const ROOM: usize = 512;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Extent {
        logical: u64,
        physical: u64,
        length: u64,
        reserved: [u64; 2],
        flags: u32,
        more_reserved: [u32; 3],
    }
    #[repr(C)]
    struct Map {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; ROOM],
    }
    let mut map = Box::new(Map {
        start: 0,
        length: u64::MAX,
        flags: FIEMAP_FLAG_SYNC,
        mapped: 0,
        count: ROOM as u32,
        reserved: 0,
        extents: [Extent::default(); ROOM],
    });
    // SAFETY: `map` is laid out as struct fiemap, with room for as many extents as `count` promises.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &mut *map) })?;
    let mapped = &map.extents[..map.mapped as usize];
    let shared = mapped.iter().filter(|extent| extent.flags & FIEMAP_EXTENT_SHARED != 0);
    Ok((mapped.len(), shared.count()))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket's `SO_RCVLOWAT`, see [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
///
/// # Errors
///
/// Those of getsockopt(2).
pub fn low_water(socket: &impl AsRawFd) -> io::Result<i32> {
    let mut value = 0;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which is that long and lives on.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// Sets a socket's `SO_RCVLOWAT`.
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn set_low_water(socket: &impl AsRawFd, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads an int's bytes from `value`, and keeps no pointer to it.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
}
