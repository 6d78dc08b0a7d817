//! A thread that reads.

use std::io::{self, Read};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;

/// A thread that reads one end of a stream to its end, and keeps what it read.
///
/// It is waited for when dropped, unless the test has failed: then it may never end.
#[derive(Debug)]
#[must_use = "ask it for what it read"]
pub struct Collector(Option<JoinHandle<io::Result<Vec<u8>>>>);

impl Collector {
    /// Reads `from` to its end.
    pub fn start(mut from: impl Read + Send + 'static) -> Collector {
        Collector(Some(thread::spawn(move || {
            let mut all = Vec::new();
            match from.read_to_end(&mut all) {
                // How a pseudo-terminal says that the other end is closed.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(all),
                other => other.map(|_| all),
            }
        })))
    }

    /// All that it read. The other end has to be closed before.
    #[track_caller]
    pub fn finish(mut self) -> Vec<u8> {
        let thread = self.0.take().expect("it is waited for once");
        thread.join().expect("the collector does not panic").expect("a readable end")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && !thread::panicking()
        {
            let _ = thread.join();
        }
    }
}
