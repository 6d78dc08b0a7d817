//! The reply: what the peer says while we send, and how it ends.
//!
//! The sender reads all the while: a peer that replies, such as an echo server, stops reading when its reply
//! is not read, and both would wait for ever.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use zc_linux::fd::wait_writable;

use crate::error::Failure;
use crate::sink::Sink;

/// A thread that reads the reply.
#[derive(Debug)]
pub(crate) struct Reply {
    end: Receiver<Ended>,
    bytes: Arc<AtomicU64>,
}

/// How the reply ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether the peer ended its side in order.
    pub(crate) peer: io::Result<()>,
    /// Where the reply went, or why not all of it did.
    pub(crate) sink: Result<Option<Sink>, Failure>,
}

impl Reply {
    /// Reads `stream` to its end, into `sink` or into nothing.
    pub(crate) fn listen(stream: OwnedFd, sink: Option<Sink>) -> io::Result<Reply> {
        let bytes = Arc::new(AtomicU64::new(0));
        let (say, end) = sync_channel(1);
        let count = Arc::clone(&bytes);
        thread::Builder::new().spawn(move || {
            let ended = read(stream.into(), sink, &count);
            // A sender that has failed does not want it any more.
            let _ = say.send(ended);
        })?;
        Ok(Reply { end, bytes })
    }

    /// How long it is until now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Does without the rest, and lets go of what it was written to.
    pub(crate) fn abandon(&self, stream: impl AsFd) {
        // Our own side ends as its owner wants: in order, or by a reset.
        let _ = shutdown(stream, Shutdown::Read);
        // It may be written to what takes nothing, and there is no way to stop that.
        drop(self.wait(Duration::from_secs(1)));
    }

    /// Waits for its end; `None` if it does not come in time.
    pub(crate) fn wait(&self, time: Duration) -> Option<Ended> {
        match self.end.recv_timeout(time) {
            Ok(ended) => Some(ended),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let peer = Err(io::Error::other("the thread that reads the answer is gone"));
                Some(Ended { peer, sink: Ok(None) })
            }
        }
    }
}

fn read(mut stream: File, mut sink: Option<Sink>, bytes: &AtomicU64) -> Ended {
    let mut buffer = vec![0; 128 * 1024];
    let mut failure = None;
    let peer = loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Err(error),
        };
        bytes.fetch_add(n as u64, Relaxed);
        if let Some(to) = &mut sink
            && let Err(error) = write(to, &buffer[..n])
        {
            // The rest is read all the same, or the peer would not get what we send.
            let what = format!("cannot write the answer to {}", to.end.about.name);
            failure = Some(Failure::io(what, &error));
            sink = None;
        }
    };
    Ended { peer, sink: failure.map_or(Ok(sink), Err) }
}

fn write(sink: &mut Sink, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.end.fd.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Passed on to us in non-blocking mode.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_writable(sink.end.fd.as_fd(), None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
