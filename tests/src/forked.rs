//! Children made by fork(2) without an exec, which `std::process` does not offer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// A forked child, which is killed when dropped unless it has been waited for.
#[derive(Debug)]
#[must_use = "dropping it kills it"]
pub struct Forked(Option<Pid>);

/// Runs `body` in a child that is a copy of this process without its other threads. The child has to end without a
/// panic.
///
/// # Panics
///
/// If the kernel refuses.
pub fn forked(body: impl FnOnce()) -> Forked {
    // SAFETY: the child goes on with the code of this thread. Locks that other threads held stay locked in it; the
    // tests are to show that the engine copes with that (glibc's own locks are safe).
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let ended = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: always allowed. Handlers and buffers of the parent are skipped.
        unsafe { libc::_exit(i32::from(ended.is_err())) }
    }
    assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    Forked(Pid::from_raw(pid))
}

impl Forked {
    /// Waits a few seconds for the child.
    ///
    /// # Errors
    ///
    /// That the child hangs, or how it failed.
    pub fn finish(self) -> Result<(), String> {
        self.finish_within(Duration::from_secs(5))
    }

    /// Waits for the child.
    ///
    /// # Errors
    ///
    /// That the child hangs, or how it failed.
    pub fn finish_within(mut self, patience: Duration) -> Result<(), String> {
        let pid = self.0.expect("not waited for yet");
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG).expect("it is ours")
            {
                self.0 = None;
                let well = status.exit_status() == Some(0);
                return if well { Ok(()) } else { Err(format!("the child failed: {status:?}")) };
            }
            thread::sleep(Duration::from_micros(100));
        }
        Err("the child hangs".into())
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}
