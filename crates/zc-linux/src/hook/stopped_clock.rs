//! A clock that stands still, for tests that count calls.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Instant;

thread_local! {
    static STOPPED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Starts the clock again when dropped.
#[derive(Debug)]
#[must_use = "dropping the guard starts the clock again"]
pub struct StoppedClock {
    before: Option<Instant>,
    /// It belongs to the thread that stopped it.
    _thread: PhantomData<Rc<()>>,
}

/// Lets the copies of the calling thread judge every source as if it had given its bytes at once.
///
/// Whether a copy waits for a handful of a TCP source ([`Options::handfuls`](zc_core::driver::Options::handfuls))
/// depends on how fast the source has been. On a busy machine that is chance, and a test that counts calls would fail
/// once in a while. Nothing else goes by this clock: deadlines, timeouts and rates go on, and so does each wait.
///
/// It never blocks. Guards nest, and are to be dropped in the order of variables in a block.
///
/// ```
/// let _clock = zc_linux::hook::stop_clock();
/// // … copy from a TcpStream, and count the calls.
/// ```
pub fn stop_clock() -> StoppedClock {
    let before = STOPPED.get();
    STOPPED.set(before.or_else(|| Some(Instant::now())));
    StoppedClock { before, _thread: PhantomData }
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        STOPPED.set(self.before);
    }
}

/// When the calling thread's clock was stopped, if it is.
pub(crate) fn stopped_at() -> Option<Instant> {
    STOPPED.get()
}
