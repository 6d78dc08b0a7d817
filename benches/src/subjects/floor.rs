//! The bare loops: the fewest lines that move the bytes, with the calls known beforehand. The best of them, by CPU
//! time, is the least that a cell costs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::pipe::SpliceFlags;

use super::Subject;
use crate::cells::{Cell, Place};
use crate::ends::End;

const KIB: usize = 1 << 10;

/// The bare loops that can do this cell.
pub fn of(cell: &Cell) -> Vec<(&'static str, Box<dyn Subject>)> {
    let mut loops: Vec<(&'static str, Box<dyn Subject>)> = Vec::new();
    if gathers(cell) {
        for (name, bytes) in
            [("wait-128K", 128 << 10), ("wait-256K", 256 << 10), ("wait-512K", 512 << 10)]
        {
            let inner: Box<dyn Once> = match cell.to {
                Place::Null | Place::Sink => Box::new(RecvTrunc::default()),
                _ => Box::new(Splice::new(1024 * KIB)),
            };
            loops.push((name, Box::new(Waiting { bytes, inner })));
        }
    }
    if cell.to == Place::Sink {
        loops.push(("recv-trunc", Box::new(RecvTrunc::default())));
        return loops;
    }
    loops.push(("rw-64K", Box::new(ReadWrite::new(64 * KIB))));
    if cell.frame.is_none_or(|n| n > 64 * KIB as u64) {
        loops.push(("rw-256K", Box::new(ReadWrite::new(256 * KIB))));
        loops.push(("rw-1M", Box::new(ReadWrite::new(1024 * KIB))));
    }
    let from_socket = matches!(cell.from, Place::Tcp | Place::Unix);
    match (cell.from, cell.to) {
        // By default a file's pages are not lent to a pipe, so the floor copies them, too.
        (from, Place::Pipe) if from.is_file() => {}
        (Place::Pipe, _) => loops.push(("splice", Box::new(Direct))),
        // Pages gather in a pipe of the loop's own while the reader is behind. The reader's pipe holds little, so
        // that each call straight into it waits for room.
        (_, Place::Pipe) => {
            loops.push(("splice", Box::new(Direct)));
            loops.push(("splice-256K", Box::new(Splice::new(256 * KIB))));
            loops.push(("splice-1M", Box::new(Splice::new(1024 * KIB))));
        }
        (from, to) if from.is_file() && to.is_file() => {
            loops.push(("copy_file_range", Box::new(CopyFileRange)));
            loops.push(("sendfile", Box::new(Sendfile)));
        }
        (from, _) if from.is_file() => {
            loops.push(("sendfile", Box::new(Sendfile)));
            loops.push(("splice-256K", Box::new(Splice::new(256 * KIB))));
        }
        _ => {
            loops.push(("splice-64K", Box::new(Splice::new(64 * KIB))));
            if cell.frame.is_none_or(|n| n > 64 * KIB as u64) {
                loops.push(("splice-256K", Box::new(Splice::new(256 * KIB))));
                loops.push(("splice-1M", Box::new(Splice::new(1024 * KIB))));
            }
        }
    }
    if from_socket && cell.to == Place::Null {
        loops.push(("recv-trunc", Box::new(RecvTrunc::default())));
    }
    loops
}

/// At most `size` bytes, or what is left of the limit.
fn at_most(size: usize, left: u64) -> usize {
    usize::try_from(left).map_or(size, |left| left.min(size))
}

/// Calls `some` with what is left of the limit, until that is 0 or the input ends.
fn repeat(limit: Option<u64>, mut some: impl FnMut(u64) -> io::Result<usize>) -> io::Result<u64> {
    let limit = limit.unwrap_or(u64::MAX);
    let mut moved = 0;
    while moved < limit {
        match some(limit - moved)? {
            0 => break,
            n => moved += n as u64,
        }
    }
    Ok(moved)
}

/// A loop, called once for each turn.
trait Once {
    /// Moves some bytes, at most `left`; 0 at the end of input.
    fn once(&mut self, from: &End, to: &End, left: u64) -> io::Result<usize>;
}

/// read(2) and write(2) through one buffer.
struct ReadWrite {
    buffer: Vec<u8>,
}

impl ReadWrite {
    fn new(size: usize) -> Self {
        ReadWrite { buffer: vec![0; size] }
    }
}

impl Subject for ReadWrite {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let (from, to) = (from.as_fd(), to.as_fd());
        repeat(limit, |left| {
            let want = at_most(self.buffer.len(), left);
            let n = rustix::io::read(from, &mut self.buffer[..want])?;
            let mut written = 0;
            while written < n {
                written += rustix::io::write(to, &self.buffer[written..n])?;
            }
            Ok(n)
        })
    }
}

/// splice(2) into a pipe of the loop's own and out of it. The pipe is made once, and costs nothing.
struct Splice {
    pipe: io::Result<(OwnedFd, OwnedFd)>,
    size: usize,
}

impl Splice {
    fn new(size: usize) -> Self {
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).and_then(|pipe| {
            rustix::pipe::fcntl_setpipe_size(&pipe.1, size)?;
            Ok(pipe)
        });
        Splice { pipe: pipe.map_err(io::Error::from), size }
    }
}

impl Once for Splice {
    fn once(&mut self, from: &End, to: &End, left: u64) -> io::Result<usize> {
        let (from, to) = (from.as_fd(), to.as_fd());
        let (read_end, write_end) =
            self.pipe.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        let want = at_most(self.size, left);
        let flags = SpliceFlags::empty();
        let n = rustix::pipe::splice(from, None, write_end, None, want, flags)?;
        let mut out = 0;
        while out < n {
            out += rustix::pipe::splice(read_end, None, to, None, n - out, flags)?;
        }
        Ok(n)
    }
}

impl Subject for Splice {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        repeat(limit, |left| self.once(from, to, left))
    }
}

/// Whether the receiver may wait for bytes to gather: those of a bulk sender over TCP, on the way to a sink that
/// nothing waits for.
pub(super) fn gathers(cell: &Cell) -> bool {
    let waits = cell.to.is_file() || matches!(cell.to, Place::Null | Place::Sink);
    cell.from == Place::Tcp && cell.frame.is_none() && waits
}

/// Another loop's calls, each after a poll(2) that sleeps until this many bytes are there, or a millisecond is over.
/// This loop knows that its sender is a bulk sender, and the kernel makes the receive buffer large enough.
struct Waiting {
    bytes: u32,
    inner: Box<dyn Once>,
}

impl Subject for Waiting {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let longest = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        repeat(limit, |left| {
            let fd = from.as_fd();
            zc_linux::fd::set_low_water(fd, self.bytes)?;
            poll(&mut [PollFd::new(&fd, PollFlags::IN | PollFlags::RDHUP)], Some(&longest))?;
            zc_linux::fd::set_low_water(fd, 1)?;
            self.inner.once(from, to, left)
        })
    }
}

/// splice(2) where one of the ends is a pipe.
struct Direct;

impl Subject for Direct {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let (from, to) = (from.as_fd(), to.as_fd());
        repeat(limit, |left| {
            let want = at_most(1024 * KIB, left);
            Ok(rustix::pipe::splice(from, None, to, None, want, SpliceFlags::empty())?)
        })
    }
}

/// copy_file_range(2).
struct CopyFileRange;

impl Subject for CopyFileRange {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let (from, to) = (from.as_fd(), to.as_fd());
        repeat(limit, |left| {
            let want = at_most(1 << 30, left);
            Ok(rustix::fs::copy_file_range(from, None, to, None, want)?)
        })
    }
}

/// sendfile(2).
struct Sendfile;

impl Subject for Sendfile {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let (from, to) = (from.as_fd(), to.as_fd());
        repeat(limit, |left| Ok(rustix::fs::sendfile(to, from, None, at_most(1 << 30, left))?))
    }
}

/// recv(2) with `MSG_TRUNC`, which drops bytes without copying them (TCP only: a Unix socket still copies them). No
/// call moves bytes to /dev/null for less.
struct RecvTrunc {
    buffer: Vec<u8>,
}

impl Default for RecvTrunc {
    fn default() -> Self {
        RecvTrunc { buffer: vec![0; 1024 * KIB] }
    }
}

impl Once for RecvTrunc {
    fn once(&mut self, from: &End, _: &End, left: u64) -> io::Result<usize> {
        let room = &mut self.buffer[..];
        let want = at_most(room.len(), left);
        let (_, n) = rustix::net::recv(from.as_fd(), &mut room[..want], RecvFlags::TRUNC)?;
        Ok(n)
    }
}

impl Subject for RecvTrunc {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        repeat(limit, |left| self.once(from, to, left))
    }
}
