//! Wall time and the thread's CPU time, side by side.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// By the clock on the wall.
    pub wall: Duration,
    /// On a processor, in the kernel or outside it.
    pub cpu: Duration,
}

/// Runs `work` on this thread, and says how long it took.
///
/// Work that the kernel does in other contexts (write-back, the sender's half of a loopback segment) is only in the
/// wall time.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (start, cpu) = (Instant::now(), thread_cpu());
    let out = work();
    let cpu = thread_cpu().saturating_sub(cpu);
    (out, Took { wall: start.elapsed(), cpu })
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
