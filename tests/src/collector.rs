//! Somebody who reads.

use std::io::{self, Read};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;

/// A thread that reads one end of something until it ends, and keeps what it read.
#[derive(Debug)]
#[must_use = "ask it for what it read"]
pub struct Collector(JoinHandle<io::Result<Vec<u8>>>);

impl Collector {
    /// Reads `from` to its end.
    pub fn start(mut from: impl Read + Send + 'static) -> Collector {
        Collector(thread::spawn(move || {
            let mut all = Vec::new();
            match from.read_to_end(&mut all) {
                // A pseudo-terminal's way of saying that nobody has the other end open any more.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(all),
                other => other.map(|_| all),
            }
        }))
    }

    /// All that it read. Close the other end first.
    #[track_caller]
    pub fn finish(self) -> Vec<u8> {
        self.0.join().expect("the collector does not panic").expect("a readable end")
    }
}
