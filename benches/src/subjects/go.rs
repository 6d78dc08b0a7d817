//! Go's `io.Copy`, in a process of its own (`benches/go/main.go`): as it is now, and as it was before splice, a loop
//! of reads and writes.
//!
//! It accepts, opens and dials its ends itself: Go takes its fast paths only for descriptors that its own runtime has
//! opened. The sender and the drain are the same as for all subjects. Its CPU time is the whole process's, with
//! collector and poller.

use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::alloc::Allocated;
use crate::clock::Took;
use crate::peer::line;

/// One of Go's two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoPath {
    /// With `io.ReaderFrom` and `io.WriterTo` hidden, so that `io.Copy` finds neither.
    Old,
    /// As it is now.
    New,
}

impl GoPath {
    /// Its word in an order.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GoPath::Old => "old",
            GoPath::New => "new",
        }
    }
}

/// The running program.
#[derive(Debug)]
pub struct Go {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Where it accepts TCP connections.
    pub tcp: String,
    /// The toolchain that built it.
    pub version: String,
}

impl Go {
    /// Starts the program, which will keep its Unix socket at `unix`.
    ///
    /// # Errors
    ///
    /// Those of starting a process.
    pub fn start(program: &Path, unix: &Path) -> io::Result<Self> {
        let mut child =
            Command::new(program).arg(unix).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("asked for"));
        let tcp = line(&mut answers)?;
        let version = line(&mut answers)?;
        Ok(Go { child, orders, answers, tcp, version })
    }

    /// Has it make the ends ready; `round` names places and addresses as the program expects them.
    ///
    /// # Errors
    ///
    /// Those of a pipe.
    pub fn round(&mut self, round: &str) -> io::Result<()> {
        self.order(round)
    }

    /// Waits until its ends are ready.
    ///
    /// # Errors
    ///
    /// The program's error.
    pub fn ready(&mut self) -> io::Result<()> {
        match line(&mut self.answers)?.as_str() {
            "ready" => Ok(()),
            other => Err(io::Error::other(other.to_owned())),
        }
    }

    /// Has it copy. Returns how many bytes moved, how long that took and what its runtime allocated.
    ///
    /// # Errors
    ///
    /// The program's error.
    pub fn go(&mut self) -> io::Result<(u64, Took, Allocated)> {
        self.order("go")?;
        let answer = line(&mut self.answers)?;
        let bad = || io::Error::other(answer.clone());
        let mut words = answer.split(' ').map(str::parse::<u64>);
        let mut next = || words.next().and_then(Result::ok).ok_or_else(bad);
        let (moved, wall, cpu) = (next()?, next()?, next()?);
        let allocated = Allocated { calls: next()?, bytes: next()? };
        let took = Took { wall: Duration::from_nanos(wall), cpu: Duration::from_nanos(cpu) };
        Ok((moved, took, allocated))
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        writeln!(self.orders.as_mut().expect("closed by drop alone"), "{order}")
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
