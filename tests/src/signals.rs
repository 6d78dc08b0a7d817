//! Real signals, which interrupt calls.

use std::sync::Once;

/// A thread that can be interrupted.
#[derive(Clone, Copy, Debug)]
pub struct Interruptible {
    thread: libc::pthread_t,
}

impl Interruptible {
    /// The calling thread. It must outlive the last [`interrupt`](Interruptible::interrupt).
    ///
    /// From now on SIGUSR1 only interrupts calls in this process (no SA_RESTART).
    pub fn this_thread() -> Interruptible {
        static HANDLER: Once = Once::new();
        extern "C" fn nothing(_: libc::c_int) {}
        HANDLER.call_once(|| {
            let handler: extern "C" fn(libc::c_int) = nothing;
            // SAFETY: the handler does nothing, which is async-signal-safe; the other fields of the
            // zeroed struct are an empty mask and no flags.
            let installed = unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as libc::sighandler_t;
                libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut())
            };
            assert_eq!(installed, 0, "{}", std::io::Error::last_os_error());
        });
        // SAFETY: always allowed.
        Interruptible { thread: unsafe { libc::pthread_self() } }
    }

    /// Interrupts the call that the thread is waiting in.
    pub fn interrupt(self) {
        // SAFETY: the thread is alive, as `this_thread` demands, and the signal has a handler.
        let sent = unsafe { libc::pthread_kill(self.thread, libc::SIGUSR1) };
        assert_eq!(sent, 0, "a live thread");
    }
}
