//! Standard output for lines that nothing waits for: a reader may stop reading (Ctrl-S on a terminal, a full pipe), and
//! a relay goes on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;
use tokio::sync::Notify;
use zc_linux::fd::wait_writable;

use crate::say::say;

/// How many lines may wait for the reader.
const MOST: usize = 10_000;

/// How long a reader may read nothing of the last lines, once there will be no more.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// Prints lines, in order, on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Printer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    there_are_some: Condvar,
    /// After each piece.
    written: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    /// Each with its end.
    waiting: VecDeque<String>,
    /// How many are being written.
    taken: usize,
    /// How many there was no room for.
    left_out: usize,
}

impl Lines {
    /// The first ones, in a piece that a pipe takes as a whole: another process may write there, too.
    fn take(&mut self) -> String {
        let mut piece = String::new();
        while let Some(line) = self.waiting.front()
            && (piece.is_empty() || piece.len() + line.len() <= PIPE_BUF)
        {
            piece.push_str(line);
            self.waiting.pop_front();
            self.taken += 1;
        }
        piece
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.taken == 0
    }
}

impl Printer {
    pub(crate) fn start() -> io::Result<Printer> {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::Builder::new().spawn(move || ours.write_all())?;
        Ok(Printer(shared))
    }

    /// Has `line` printed, unless too many wait already.
    pub(crate) fn print(&self, mut line: String) {
        line.push('\n');
        let mut lines = self.0.lines();
        if lines.waiting.len() < MOST {
            lines.waiting.push_back(line);
            self.0.there_are_some.notify_one();
        } else {
            lines.left_out += 1;
        }
    }

    /// Waits until all lines are written, or until for a while none has been.
    pub(crate) async fn finish(&self) {
        while !self.0.lines().is_empty() {
            if tokio::time::timeout(FAREWELL, self.0.written.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Says how many lines nobody has read, unless that is not read either.
    pub(crate) fn say_what_is_left(&self) {
        let lines = self.0.lines();
        let left = lines.waiting.len() + lines.taken + lines.left_out;
        let now = Some(Instant::now());
        if left > 0 && wait_writable(io::stderr().as_fd(), now).is_ok_and(|is_ready| is_ready) {
            say_unread(left);
        }
    }
}

fn say_unread(count: usize) {
    say(format_args!("zc relay: lines left out, since nobody read them: {count}"));
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        let mut lines = self.lines();
        loop {
            let none = |lines: &mut Lines| lines.waiting.is_empty();
            let waited = self.there_are_some.wait_while(lines, none);
            lines = waited.unwrap_or_else(PoisonError::into_inner);
            let piece = lines.take();
            // Said once the reader has caught up, and not again and again.
            let has_caught_up = lines.waiting.is_empty();
            let left_out = if has_caught_up { std::mem::take(&mut lines.left_out) } else { 0 };
            drop(lines);
            // Without a reader the relay goes on all the same.
            let _ = write(piece.as_bytes());
            if left_out > 0 {
                say_unread(left_out);
            }
            lines = self.lines();
            lines.taken = 0;
            self.written.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_no_longer_than_a_pipe_takes_as_a_whole() {
        let mut lines = Lines::default();
        let lengths = [PIPE_BUF - 1, 1, 1, PIPE_BUF + 1, 2, PIPE_BUF - 1];
        lines.waiting.extend(lengths.map(|len| "x".repeat(len)));
        let pieces: Vec<_> = (0..5).map(|_| (lines.take().len(), lines.taken)).collect();
        let (first, long) = (PIPE_BUF, PIPE_BUF + 1);
        assert_eq!(pieces, [(first, 2), (1, 3), (long, 4), (2, 5), (PIPE_BUF - 1, 6)]);
        assert!(lines.take().is_empty());
    }
}
