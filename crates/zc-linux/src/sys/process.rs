//! Which process this is.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::raw;

/// A number that a forked child does not share with its parent, nor with any other process whose memory it
/// has a copy of. Never 0. The calls behind it move nothing, so the table leaves them out.
///
/// No lock is taken, since a fork can happen while another thread holds one. The process id is the last
/// resort: every PID namespace has a 1, and asking for it is a system call.
pub(crate) fn process() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    /// The address of the number; 0 before the first call, 1 where the kernel cannot wipe it.
    static WIPED: AtomicUsize = AtomicUsize::new(0);

    let Some(number) = raw::wiped_on_fork(&WIPED) else {
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
