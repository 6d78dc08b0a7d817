//! Standard output for lines that nothing waits for: a reader may stop reading (Ctrl-S on a terminal, a full pipe), and
//! a relay goes on.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use zc_linux::fd::wait_writable;

use crate::say::say;

/// How many lines may wait for the reader.
const MOST: usize = 10_000;

/// How long the last lines may take, once there will be no more.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// Prints lines, in order, on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Printer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    /// Each with its end.
    waiting: String,
    count: usize,
    is_writing: bool,
    /// How many there was no room for.
    left_out: u64,
}

impl Printer {
    pub(crate) fn start() -> io::Result<Printer> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().spawn(move || ours.write_all())?;
        Ok(Printer(shared))
    }

    /// Has `line` printed, unless too many wait already.
    pub(crate) fn print(&self, line: &str) {
        let mut lines = self.0.lines();
        if lines.count < MOST {
            lines.waiting.push_str(line);
            lines.waiting.push('\n');
            lines.count += 1;
            self.0.changed.notify_all();
        } else {
            lines.left_out += 1;
        }
    }

    /// Waits until all lines are written, or until it is certain that nobody reads them.
    pub(crate) fn finish(&self) {
        let is_busy = |lines: &mut Lines| lines.is_writing || !lines.waiting.is_empty();
        let _ = self.0.changed.wait_timeout_while(self.0.lines(), FAREWELL, is_busy);
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        let mut lines = self.lines();
        loop {
            let waited = self.changed.wait_while(lines, |lines| lines.waiting.is_empty());
            lines = waited.unwrap_or_else(PoisonError::into_inner);
            let Lines { waiting, left_out, .. } = std::mem::take(&mut *lines);
            lines.is_writing = true;
            drop(lines);
            // Without a reader the relay goes on all the same.
            let _ = write(waiting.as_bytes());
            if left_out > 0 {
                say(format_args!(
                    "zc relay: {left_out} connections have no line: nobody read them"
                ));
            }
            lines = self.lines();
            lines.is_writing = false;
            self.changed.notify_all();
        }
    }
}

/// Writes all of it, past std's buffer, also if standard output was passed on to us in non-blocking mode.
fn write(mut bytes: &[u8]) -> io::Result<()> {
    let to = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(to.as_fd(), None).map(drop)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
