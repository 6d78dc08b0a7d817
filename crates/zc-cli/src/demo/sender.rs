//! The sending end: this program again, in a process of its own, so that its CPU time is not the
//! receiver's.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::net::{Shutdown, shutdown};

use super::cell::Transport;
use super::pattern::Pattern;

/// How much the sender writes at a time.
pub(crate) const CHUNK: u64 = 128 * 1024;

/// A connection with a sender at its other end.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) stream: Stream,
    sender: Child,
}

/// The receiving end, as the type that a program would have.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Upload {
    /// Starts sending the `size` bytes of `seed`.
    pub(crate) fn start(transport: Transport, size: u64, seed: u64) -> io::Result<Upload> {
        let (stream, theirs): (Stream, OwnedFd) = match transport {
            Transport::Tcp => {
                let (stream, theirs) = tcp_pair()?;
                (Stream::Tcp(stream), theirs.into())
            }
            Transport::Unix => {
                let (stream, theirs) = UnixStream::pair()?;
                (Stream::Unix(stream), theirs.into())
            }
        };
        // The link, not what it leads to: the program may have been replaced since it was started.
        let sender = Command::new("/proc/self/exe")
            .arg0("zc")
            .args(["demo-sender", &size.to_string(), &seed.to_string()])
            .stdin(Stdio::null())
            .stdout(theirs)
            .spawn()?;
        Ok(Upload { stream, sender })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = self.sender.kill();
        let _ = self.sender.wait();
    }
}

/// The sending process: writes the bytes of `seed` to the socket on its standard output.
pub(crate) fn send(size: u64, seed: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut socket = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut at = 0;
    while at < size {
        let bytes = pattern.at(at, CHUNK.min(size - at));
        socket.write_all(bytes)?;
        at += bytes.len() as u64;
    }
    // Now, not when the process has been taken down.
    shutdown(&socket, Shutdown::Both)?;
    Ok(())
}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (ours, peer) = listener.accept()?;
        if peer == theirs.local_addr()? {
            return Ok((ours, theirs));
        }
    }
}
