//! Workers, and what they did.

use std::ops::AddAssign;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a worker may take for its last copy before it counts as hanging.
const GRACE: Duration = Duration::from_secs(120);

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Copies that were completed and checked.
    pub copies: u64,
    /// Bytes they moved.
    pub bytes: u64,
    /// Calls that a hook made fail or fall short.
    pub faults: u64,
    /// Copies that stopped with an error, and were resumed.
    pub resumed: u64,
    /// How many of the copies shared an open file with others.
    pub shared: u64,
    /// Forks while other threads copied.
    pub forks: u64,
    /// Steps that were made on another thread than the one before.
    pub handed_over: u64,
    /// Bytes that arrived nowhere.
    pub lost: u64,
    /// Bytes that arrived once too often, or were never written.
    pub doubled: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        let Tally { copies, bytes, faults, resumed, shared, forks, handed_over, lost, doubled } =
            other;
        self.copies += copies;
        self.bytes += bytes;
        self.faults += faults;
        self.resumed += resumed;
        self.shared += shared;
        self.forks += forks;
        self.handed_over += handed_over;
        self.lost += lost;
        self.doubled += doubled;
    }
}

/// What one thread does until its deadline.
pub type Worker = Box<dyn FnOnce() -> Tally + Send>;

/// At least one worker hangs.
#[derive(Debug)]
pub struct Hung {
    /// How many workers hang.
    pub workers: usize,
    /// What the others did.
    pub tally: Tally,
}

/// Runs all workers at once. They end soon after `deadline`.
///
/// # Errors
///
/// If one does not.
///
/// # Panics
///
/// As the worker does.
pub fn together(deadline: Instant, workers: Vec<Worker>) -> Result<Tally, Hung> {
    let (done, results) = mpsc::channel();
    let threads: Vec<_> = workers
        .into_iter()
        .map(|work| {
            let done = done.clone();
            thread::spawn(move || {
                let _ = done.send(work());
            })
        })
        .collect();
    drop(done);
    let (mut tally, mut at_work) = (Tally::default(), threads.len());
    loop {
        let patience = deadline.saturating_duration_since(Instant::now()) + GRACE;
        match results.recv_timeout(patience) {
            Ok(more) => (tally, at_work) = (sum(tally, more), at_work - 1),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(Hung { workers: at_work, tally }),
        }
    }
    for thread in threads {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    Ok(tally)
}

fn sum(mut one: Tally, other: Tally) -> Tally {
    one += other;
    one
}
