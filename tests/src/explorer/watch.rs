//! A watch over runs that hang.
//!
//! A copy that hangs takes the explorer with it, without a word of why. So a thread looks on. If a run takes a minute
//! (a million times its usual time), the thread says which run that is, and ends the process.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Schedule;

const PATIENCE: Duration = Duration::from_secs(60);

/// The runs that are watched, on all threads.
static WATCHED: Mutex<Vec<Weak<Watched>>> = Mutex::new(Vec::new());

struct Watched {
    name: String,
    run: Mutex<Option<(Instant, Schedule)>>,
}

/// One explorer's entry.
pub(crate) struct Watch(Arc<Watched>);

impl Watch {
    pub(crate) fn new(name: &str) -> Watch {
        static START: Once = Once::new();
        START.call_once(|| {
            std::thread::spawn(look_on);
        });
        let watched = Arc::new(Watched { name: name.to_owned(), run: Mutex::default() });
        lock(&WATCHED).push(Arc::downgrade(&watched));
        Watch(watched)
    }

    /// A run begins.
    pub(crate) fn begin(&self, schedule: &Schedule) {
        *lock(&self.0.run) = Some((Instant::now(), schedule.clone()));
    }

    /// The run has ended.
    pub(crate) fn end(&self) {
        *lock(&self.0.run) = None;
    }
}

fn look_on() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        lock(&WATCHED).retain(|watched| {
            let Some(watched) = watched.upgrade() else { return false };
            if let Some((begun, schedule)) = &*lock(&watched.run)
                && begun.elapsed() > PATIENCE
            {
                eprintln!("hangs: replay({}, {schedule})", watched.name);
                std::process::abort();
            }
            true
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
