//! The pool of pipes.
//!
//! Pipes are shared by all copies of the process and lent to one only while it has bytes in flight or is
//! about to. A copy that waits in splice(2) for a blocking socket that has gone quiet still has one, but no
//! more than half of them are used so. So a thousand slow connections need no thousand pipes. That many
//! would exceed `pipe-user-pages-soft`, beyond which an ordinary user's new pipes have a page or two
//! (pipe(7); `capnproto`#1403 reverted splice over it).
//!
//! No thread ever waits for another here: each slot for an idle pipe has a lock that is only ever tried.
//! One that another thread held at a fork stays locked in the child, which then has one slot fewer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use rustix::io::Errno;

use crate::pipe::Pipe;
use crate::sys;

/// The most pipes in use at one time. A copy that would need one more uses read/write.
///
/// At the default size they can hold 32 MiB: half of what all the pipes of an ordinary user may,
/// before new ones shrink.
pub const MAX_IN_USE: usize = 32;

/// The most empty pipes kept for later.
pub const MAX_IDLE: usize = 8;

/// How many requests get no pipe, without asking again, after the kernel has refused one: past the budget, each
/// would make a pipe, find it too small and close it.
const COOL_DOWN: u32 = 64;

/// Static, so that no copy ever allocates for it.
static IDLE: [Mutex<Option<Pipe>>; MAX_IDLE] = [const { Mutex::new(None) }; MAX_IDLE];

/// How many pipes are in use (the low 16 bits), and in which process (the rest): a forked child has none.
static LENT: AtomicU64 = AtomicU64::new(0);

/// How many more requests get no new pipe (the low 16 bits), and the errno that they get.
static REFUSING: AtomicU32 = AtomicU32::new(0);

const COUNT: u64 = 0xffff;

/// Whether more than half of the pipes are in use. Then no copy should keep one while it waits: the
/// other half is for copies that have bytes to move. It takes no lock, and the answer may change at
/// once.
///
/// ```
/// assert!(!zc_linux::pool::is_scarce(), "nothing is being copied");
/// ```
pub fn is_scarce() -> bool {
    in_use() > MAX_IN_USE / 2
}

/// How many empty pipes are kept for later.
///
/// It waits for nothing and makes no blocking call. Copies on other threads may change the answer at
/// once, and a slot that another thread is looking at counts as empty.
///
/// ```
/// use zc_linux::pool;
///
/// assert!(pool::idle() <= pool::MAX_IDLE);
/// ```
pub fn idle() -> usize {
    slots().filter(|slot| slot.is_some()).count()
}

/// How many pipes are in use by copies of this process now.
///
/// It takes no lock. Copies on other threads may change the answer at once.
///
/// ```
/// assert_eq!(zc_linux::pool::in_use(), 0, "nothing is being copied");
/// ```
pub fn in_use() -> usize {
    let (process, count) = unpack(LENT.load(Ordering::Relaxed));
    if process == this_process() { count } else { 0 }
}

/// Closes the pipes kept for later, and asks the kernel again for new ones if it has refused some. Pipes in
/// use stay, and are kept once they are given back.
///
/// It waits for nothing and makes no blocking call. Copies on other threads may give pipes back at once.
///
/// ```
/// use zc_linux::pool;
///
/// pool::clear();
/// assert_eq!(pool::idle(), 0);
/// ```
pub fn clear() {
    slots().for_each(|mut slot| drop(slot.take()));
    REFUSING.store(0, Ordering::Relaxed);
}

/// Borrows a pipe of about `size` bytes.
///
/// # Errors
///
/// As for a new pipe, and `ENOBUFS` when [`MAX_IN_USE`] are in use, or the kernel has refused one lately.
pub(crate) fn lend(size: usize) -> Result<Lent, Errno> {
    if !count_one_more() {
        return Err(Errno::NOBUFS);
    }
    // From here on its drop undoes the count on every path.
    let mut lent = Lent { pipe: None, process: sys::process() };
    lent.pipe = slots().find_map(|mut slot| slot.take_if(|pipe| pipe.asked == size));
    if lent.pipe.is_none() {
        lent.pipe = Some(new_pipe(size)?);
    }
    Ok(lent)
}

/// A new pipe, unless the kernel has refused one lately.
fn new_pipe(size: usize) -> Result<Pipe, Errno> {
    const LEFT: u32 = 0xffff;
    let refusing = REFUSING.load(Ordering::Relaxed);
    if refusing & LEFT > 0 {
        REFUSING.store(refusing - 1, Ordering::Relaxed);
        let errno = i32::try_from(refusing >> LEFT.count_ones()).expect("16 bits");
        return Err(Errno::from_raw_os_error(errno));
    }
    Pipe::new(size).inspect_err(|errno| {
        let errno = errno.raw_os_error().unsigned_abs();
        REFUSING.store((errno << LEFT.count_ones()) | COOL_DOWN, Ordering::Relaxed);
    })
}

/// A pipe on loan. It goes back when dropped, but only empty: one with bytes in it is closed, so that no
/// other copy begins with them.
#[derive(Debug)]
pub(crate) struct Lent {
    pipe: Option<Pipe>,
    /// The process that borrowed it.
    process: u64,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A forked child's copy of a loan is no loan of its own, and the pipe is its parent's.
        if self.process != sys::process() {
            std::mem::forget(self.pipe.take());
            return;
        }
        update_lent(|packed| {
            let (process, count) = unpack(packed);
            (process == this_process() && count > 0).then(|| packed - 1)
        });
        if let Some(pipe) = self.pipe.take()
            && pipe.level() == 0
        {
            keep(pipe);
        }
    }
}

impl std::ops::Deref for Lent {
    type Target = Pipe;
    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("set by lend, taken by drop")
    }
}

impl std::ops::DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("set by lend, taken by drop")
    }
}

/// Keeps a pipe for later. Without a free slot it replaces another one, which may be of a size that is
/// not asked for any more.
fn keep(pipe: Pipe) {
    let mut pipe = Some(pipe);
    for mut slot in slots() {
        if slot.is_none() {
            *slot = pipe.take();
            return;
        }
    }
    if let Some(mut slot) = slots().next() {
        *slot = pipe;
    }
}

/// The slots for idle pipes that no other thread is looking at, without pipes of another process. A
/// parent and its forked child that used the same pipe could take each other's bytes.
///
/// A parent's pipes are forgotten and not closed. A child that has closed all its descriptors, as daemons
/// do, may have other things under their numbers.
fn slots() -> impl Iterator<Item = MutexGuard<'static, Option<Pipe>>> {
    let process = sys::process();
    IDLE.iter().filter_map(move |slot| {
        let mut slot = match slot.try_lock() {
            Ok(slot) => slot,
            // A panic cannot leave it half-changed.
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        std::mem::forget(slot.take_if(|pipe| pipe.maker != process));
        Some(slot)
    })
}

/// `false`: there are as many as there may be.
fn count_one_more() -> bool {
    update_lent(|packed| {
        let (process, count) = unpack(packed);
        let count = if process == this_process() { count } else { 0 };
        (count < MAX_IN_USE).then(|| (this_process() << COUNT.count_ones()) + count as u64 + 1)
    })
}

/// Whether `change` has changed [`LENT`]. std's `fetch_update` is deprecated, and its `try_update` is not in
/// Rust 1.88.
fn update_lent(change: impl Fn(u64) -> Option<u64>) -> bool {
    let mut packed = LENT.load(Ordering::Relaxed);
    while let Some(next) = change(packed) {
        match LENT.compare_exchange_weak(packed, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(since) => packed = since,
        }
    }
    false
}

/// The process, as far as there is room for it beside the count.
fn this_process() -> u64 {
    sys::process() & (u64::MAX >> COUNT.count_ones())
}

fn unpack(packed: u64) -> (u64, usize) {
    let count = usize::try_from(packed & COUNT).expect("16 bits");
    (packed >> COUNT.count_ones(), count)
}
