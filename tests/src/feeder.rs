//! Somebody who writes.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

/// A thread that writes to one end of something and then closes it.
///
/// It is waited for when dropped, unless the test has already failed (it may then never end).
#[derive(Debug)]
#[must_use = "dropping it waits for it"]
pub struct Feeder(Option<JoinHandle<io::Result<()>>>);

impl Feeder {
    /// Writes each of `chunks` with one `write_all`, then drops `to`.
    pub fn chunks<W, C>(mut to: W, chunks: C) -> Feeder
    where
        W: Write + Send + 'static,
        C: IntoIterator<Item: AsRef<[u8]>> + Send + 'static,
    {
        Feeder::run(move || {
            for chunk in chunks {
                to.write_all(chunk.as_ref())?;
            }
            to.flush()
        })
    }

    /// Writes `data` in pieces of `piece` bytes, then drops `to`.
    pub fn pieces(
        mut to: impl Write + Send + 'static,
        data: impl AsRef<[u8]> + Send + 'static,
        piece: usize,
    ) -> Feeder {
        Feeder::run(move || {
            for chunk in data.as_ref().chunks(piece) {
                to.write_all(chunk)?;
            }
            to.flush()
        })
    }

    /// Runs `feed` on a thread of its own.
    pub fn run(feed: impl FnOnce() -> io::Result<()> + Send + 'static) -> Feeder {
        Feeder(Some(thread::spawn(feed)))
    }

    /// Waits for it. `BrokenPipe` and `ConnectionReset` are what it gets when the other end has
    /// heard enough.
    ///
    /// # Errors
    ///
    /// Those of its `write`.
    pub fn finish(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.0.take().map_or(Ok(()), |thread| thread.join().expect("the feeder does not panic"))
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = self.join();
        }
    }
}
