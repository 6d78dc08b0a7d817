//! Pipes to splice through, and the pool they come from and go back to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::sys;

/// How large a pipe is asked for, in bytes, unless a copier says otherwise.
///
/// What counts is how many slots the pipe has, since each segment takes one. From a TCP socket a pipe
/// of 1 MiB halves the receiver's CPU time against one of 256 KiB: the queue is emptied in fewer calls,
/// each of which ends in window updates to the sender. It is also what an ordinary user may ask for at
/// most, by default (/proc/sys/fs/pipe-max-size).
pub(crate) const DEFAULT_SIZE: usize = 1 << 20;

/// A pipe that holds fewer bytes than this is not worth splicing through. It is met when a user is
/// past `pipe-user-pages-soft`, where new pipes have one or two pages (pipe(7)).
const MIN_SIZE: usize = 64 * 1024;

/// A pipe, both ends of it, and what is in it.
///
/// It is in blocking mode: with a non-blocking pipe, a splice from a blocking Unix socket answers
/// EAGAIN instead of waiting. The engine never blocks on it, since it fills it only when it is
/// empty.
#[derive(Debug)]
pub(crate) struct Pipe {
    read_end: OwnedFd,
    write_end: OwnedFd,
    /// How many bytes it can hold.
    capacity: usize,
    /// How large it was asked to be: what the pool knows it by.
    asked: usize,
    /// How many bytes are in it.
    level: usize,
    /// The process that made it: a child that was forked has the same pipes, not copies of them.
    maker: u64,
}

impl Pipe {
    /// A new pipe of about `size` bytes.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE` when descriptors are exhausted; `ENOBUFS` (our word) when the kernel
    /// grants only a pipe too small to be of use.
    fn new(size: usize) -> Result<Pipe, Errno> {
        let (read_end, write_end) = sys::pipe()?;
        // EPERM beyond the user's budget or the system's maximum: the default size will do.
        let capacity = match sys::set_pipe_size(&write_end, size) {
            Ok(capacity) => capacity,
            Err(_) => sys::pipe_size(&write_end)?,
        };
        if capacity < MIN_SIZE.min(size) {
            return Err(Errno::NOBUFS);
        }
        Ok(Pipe { read_end, write_end, capacity, asked: size, level: 0, maker: sys::process() })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// Where bytes are taken out.
    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }

    /// Where bytes are put in.
    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.write_end.as_fd()
    }

    pub(crate) fn put(&mut self, bytes: usize) {
        self.level += bytes;
    }

    pub(crate) fn took(&mut self, bytes: usize) {
        self.level -= bytes;
    }
}

/// The process's pipes.
///
/// Pipes are shared by all copies of the process and lent to one only while it has bytes in flight
/// or is about to. A copy that waits in splice(2) for a blocking socket that has gone quiet still
/// has one, but no more than half of them are used so. A thousand slow connections therefore need
/// no thousand pipes, which would run into `pipe-user-pages-soft`, past which an ordinary user's
/// new pipes shrink to a page or two (pipe(7); `capnproto`#1403 reverted splice over it).
pub mod pool {
    use super::{AtomicUsize, Errno, Mutex, Ordering, Pipe, PoisonError, sys};

    /// The most pipes lent out at one time. A copy that would need one more uses read/write.
    ///
    /// At the default size they can hold 32 MiB: half of what all the pipes of an ordinary user may,
    /// before new ones shrink.
    pub const MAX_LENT: usize = 32;

    /// The most empty pipes kept for later.
    pub const MAX_IDLE: usize = 8;

    /// In place, so that no copy ever allocates for it.
    type Idle = [Option<Pipe>; MAX_IDLE];

    static IDLE: Mutex<Idle> = Mutex::new([const { None }; MAX_IDLE]);
    static LENT: AtomicUsize = AtomicUsize::new(0);

    /// Whether so many pipes are lent out that no copy should keep one while it waits: half of them are
    /// reserved for copies that have bytes to move.
    pub(crate) fn is_scarce() -> bool {
        lent() > MAX_LENT / 2
    }

    /// How many empty pipes are kept for later.
    ///
    /// It takes a process-wide lock for a moment and makes no blocking call. Copies on other threads may
    /// change the answer at once.
    ///
    /// ```
    /// use zc_linux::pool;
    ///
    /// assert!(pool::idle() <= pool::MAX_IDLE);
    /// ```
    pub fn idle() -> usize {
        lock().iter().flatten().count()
    }

    /// How many pipes are in use by copies now.
    ///
    /// It takes no lock. Copies on other threads may change the answer at once, and one that is being
    /// refused a pipe counts for a moment.
    ///
    /// ```
    /// assert_eq!(zc_linux::pool::lent(), 0, "nothing is being copied");
    /// ```
    pub fn lent() -> usize {
        LENT.load(Ordering::Relaxed)
    }

    /// Closes the pipes kept for later. Pipes in use stay, and are kept once they are given back.
    ///
    /// It takes a process-wide lock for a moment and makes no blocking call. Copies on other threads may
    /// give pipes back at once.
    ///
    /// ```
    /// use zc_linux::pool;
    ///
    /// pool::clear();
    /// assert_eq!(pool::idle(), 0);
    /// ```
    pub fn clear() {
        lock().fill_with(|| None);
    }

    /// Borrows a pipe of about `size` bytes.
    ///
    /// # Errors
    ///
    /// As for a new pipe, and `ENOBUFS` when [`MAX_LENT`] are lent out.
    pub(crate) fn lend(size: usize) -> Result<Lent, Errno> {
        if LENT.fetch_add(1, Ordering::Relaxed) >= MAX_LENT {
            LENT.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::NOBUFS);
        }
        // From here on its drop undoes the count, whatever happens.
        let mut lent = Lent(None);
        let spare =
            lock().iter_mut().rev().find_map(|idle| idle.take_if(|pipe| pipe.asked == size));
        lent.0 = Some(match spare {
            Some(pipe) => pipe,
            None => Pipe::new(size)?,
        });
        Ok(lent)
    }

    /// A pipe on loan. It goes back when dropped, but only empty: one with bytes in it is closed,
    /// so that nobody else's copy begins with them.
    #[derive(Debug)]
    pub(crate) struct Lent(Option<Pipe>);

    impl Drop for Lent {
        fn drop(&mut self) {
            LENT.fetch_sub(1, Ordering::Relaxed);
            if let Some(pipe) = self.0.take()
                && pipe.level == 0
            {
                keep(pipe);
            }
        }
    }

    impl std::ops::Deref for Lent {
        type Target = Pipe;
        fn deref(&self) -> &Pipe {
            self.0.as_ref().expect("set by lend, taken by drop")
        }
    }

    impl std::ops::DerefMut for Lent {
        fn deref_mut(&mut self) -> &mut Pipe {
            self.0.as_mut().expect("set by lend, taken by drop")
        }
    }

    fn keep(pipe: Pipe) {
        let mut idle = lock();
        let place = idle.iter().position(Option::is_none).unwrap_or_else(|| {
            // The one that has been there longest may be of a size that nobody asks for any more.
            idle.rotate_left(1);
            MAX_IDLE - 1
        });
        idle[place] = Some(pipe);
    }

    /// The pipes kept for later, those of this process alone: what a parent and its forked child
    /// put into the same pipe, either might take out.
    ///
    /// The parent's are forgotten and not closed. A child that has closed all its descriptors, as daemons do,
    /// may have other things under their numbers.
    fn lock() -> std::sync::MutexGuard<'static, Idle> {
        // A panic cannot leave the list half-changed.
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let process = sys::process();
        for idle in idle.iter_mut() {
            std::mem::forget(idle.take_if(|pipe| pipe.maker != process));
        }
        idle
    }
}
