//! A thread that writes.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

/// A thread that writes to one end of a stream and then closes it.
///
/// It is waited for when dropped, unless the test has failed: then it may never end.
#[derive(Debug)]
#[must_use = "dropping it waits for it"]
pub struct Feeder<T = ()>(Option<JoinHandle<io::Result<T>>>);

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
}

impl Feeder<usize> {
    /// Writes `data` until all is written or a write fails, then drops `to`: for an end that goes away meanwhile.
    /// Finishes with how many bytes were taken.
    pub fn until_refused(
        mut to: impl Write + Send + 'static,
        data: impl AsRef<[u8]> + Send + 'static,
    ) -> Feeder<usize> {
        Feeder::run(move || {
            let (data, mut taken) = (data.as_ref(), 0);
            while taken < data.len() {
                match to.write(&data[taken..]) {
                    Ok(n) => taken += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            Ok(taken)
        })
    }
}

impl<T: Send + 'static> Feeder<T> {
    /// Runs `feed` on a thread of its own.
    pub fn run(feed: impl FnOnce() -> io::Result<T> + Send + 'static) -> Feeder<T> {
        Feeder(Some(thread::spawn(feed)))
    }

    /// Waits for the thread. `BrokenPipe` and `ConnectionReset` mean that the other end has read all that it wants.
    ///
    /// # Errors
    ///
    /// Those of the thread's `write`.
    pub fn finish(mut self) -> io::Result<T> {
        joined(self.0.take().expect("it is waited for once"))
    }
}

impl<T> Drop for Feeder<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && !thread::panicking()
        {
            let _ = joined(thread);
        }
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().expect("the feeder does not panic")
}
