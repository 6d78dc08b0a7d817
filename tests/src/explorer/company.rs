//! Another user of a copy's ends: of the same open files, through duplicates of their descriptors.
//!
//! It acts between two system calls of the copy, on the copy's own thread or on one that is waited for. So a schedule
//! says exactly what the other user did when, and a run can be repeated.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use zc_std::{Copier, Fd};

use super::Act;
use crate::forked::forked;

/// Marks each byte that the other user has written. A payload that is shared has no such byte.
const THEIRS: u8 = 0x80;

/// What the other user has read and written so far.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Ranges of the payload, in order.
    read: RefCell<Vec<Range<usize>>>,
    written: RefCell<Vec<u8>>,
    /// How many bytes of a sink's file are a gap that is never filled.
    gap: Cell<usize>,
}

impl Books {
    /// How many bytes the other user has taken from the source.
    pub(crate) fn read(&self) -> usize {
        self.read.borrow().iter().map(Range::len).sum()
    }

    /// How many bytes the other user has written.
    pub(crate) fn written(&self) -> usize {
        self.written.borrow().len()
    }

    /// How many bytes of the sink are a gap.
    pub(crate) fn gap(&self) -> usize {
        self.gap.get()
    }

    /// Whether the other user has read bytes twice, or out of order.
    pub(crate) fn is_out_of_order(&self) -> bool {
        self.read.borrow().windows(2).any(|two| two[1].start < two[0].end)
    }

    /// The copy's own part of `payload`.
    pub(crate) fn own(&self, payload: &[u8]) -> Vec<u8> {
        let (mut own, mut at) = (Vec::new(), 0);
        for theirs in &*self.read.borrow() {
            own.extend_from_slice(&payload[at..theirs.start]);
            at = theirs.end;
        }
        own.extend_from_slice(&payload[at..]);
        own
    }

    /// The copy's own part of a sink's `content`.
    ///
    /// # Errors
    ///
    /// That what the other user wrote is not there as it was written.
    pub(crate) fn strip(&self, content: Vec<u8>) -> Result<Vec<u8>, String> {
        let (theirs, own): (Vec<u8>, Vec<u8>) =
            content.into_iter().partition(|byte| byte & THEIRS != 0);
        let written = self.written.borrow();
        if theirs != *written {
            let same = theirs.iter().zip(&*written).take_while(|(one, other)| one == other);
            let (right, len) = (same.count(), theirs.len());
            return Err(format!(
                "of {} bytes that others have written, {len} are there, {right} in order",
                written.len()
            ));
        }
        let (own, gap): (Vec<u8>, Vec<u8>) = own.into_iter().partition(|&byte| byte != 0);
        self.gap.set(gap.len());
        Ok(own)
    }
}

/// The other user.
pub(crate) struct Company {
    pub(crate) payload: Vec<u8>,
    pub(crate) source: Option<OwnedFd>,
    pub(crate) sink: Option<OwnedFd>,
    /// How many bytes have come into a source that is a queue; `None` for a file.
    pub(crate) fed: Option<Rc<Cell<usize>>>,
    pub(crate) books: Rc<Books>,
}

/// Clears the mark from all of `payload`, and leaves no zero.
pub(crate) fn without_marks(payload: &mut [u8]) {
    payload.iter_mut().for_each(|byte| *byte = *byte & !THEIRS | 1);
}

impl Company {
    /// Acts; `false` if there was nothing to do.
    pub(crate) fn act(&mut self, act: Act) -> Result<bool, String> {
        let failed = |errno: Errno| format!("the harness itself failed: {errno}");
        match act {
            Act::Write => self.write().map_err(failed),
            Act::CopyIn => self.copy_in(),
            Act::Read => self.read(),
            Act::CopyOut => self.copy_out(),
            Act::Skip => self.skip().map_err(failed),
            Act::Fork => {
                forked(copy_something).finish_within(Duration::from_secs(60)).map(|()| true)
            }
        }
    }

    /// The next bytes that the other user writes.
    fn marks(&self, len: usize) -> Vec<u8> {
        let from = self.books.written();
        (from..from + len).map(|n| THEIRS | (n * 37 % 127) as u8).collect()
    }

    fn wrote(&self, bytes: &[u8]) -> bool {
        self.books.written.borrow_mut().extend_from_slice(bytes);
        !bytes.is_empty()
    }

    fn write(&self) -> Result<bool, Errno> {
        let Some(sink) = &self.sink else { return Ok(false) };
        let bytes = self.marks(100);
        let sent = rustix::net::send(sink, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let n = match sent {
            Err(Errno::NOTSOCK) if is_ready(sink, PollFlags::OUT)? => {
                rustix::io::write(sink, &bytes)
            }
            sent => sent,
        };
        match n {
            Ok(n) => Ok(self.wrote(&bytes[..n])),
            Err(Errno::AGAIN | Errno::NOTSOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn copy_in(&self) -> Result<bool, String> {
        let Some(sink) = &self.sink else { return Ok(false) };
        let bytes = self.marks(3000);
        let (mut client, stream) = UnixStream::pair().map_err(|error| error.to_string())?;
        client.write_all(&bytes).map_err(|error| error.to_string())?;
        drop(client);
        let moved = elsewhere(|| {
            let mut sink = Fd::new(sink).expect("an open descriptor");
            let mut copier = Copier::new().adaptive(false);
            let copied = copier.copy(&mut &stream, &mut sink);
            copied.map_or_else(
                |error| (error.moved(), error.waits_for().is_some()),
                |report| (report.moved(), true),
            )
        });
        let (moved, is_well) = moved;
        let moved = usize::try_from(moved).expect("a few bytes");
        if is_well { Ok(self.wrote(&bytes[..moved])) } else { Err("their copy failed".to_owned()) }
    }

    /// Where in the payload the source stands, and how many bytes it has.
    fn source(&self) -> Result<Option<(&OwnedFd, usize, usize)>, Errno> {
        let Some(source) = &self.source else { return Ok(None) };
        let queued = || Ok::<_, Errno>(rustix::io::ioctl_fionread(source)? as usize);
        let (at, left) = match &self.fed {
            Some(fed) => {
                let queued = queued()?;
                (fed.get() - queued, queued)
            }
            None => {
                let at = seek(source, SeekFrom::Current(0))? as usize;
                (at, self.payload.len().saturating_sub(at))
            }
        };
        Ok((left > 0).then_some((source, at, left)))
    }

    fn took(&self, at: usize, bytes: &[u8]) -> Result<bool, String> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let range = at..at + bytes.len();
        if self.payload.get(range.clone()) != Some(bytes) {
            return Err(format!("they did not get the bytes at {range:?}"));
        }
        self.books.read.borrow_mut().push(range);
        Ok(true)
    }

    fn read(&self) -> Result<bool, String> {
        let failed = |errno: Errno| format!("the harness itself failed: {errno}");
        let Some((source, at, _)) = self.source().map_err(failed)? else { return Ok(false) };
        // More than one message of a source with messages.
        let mut room = vec![0; 5000];
        let limit = if self.is_messages() { room.len() } else { 700 };
        let room = &mut room[..limit];
        let n = match rustix::net::recv(source, &mut *room, RecvFlags::DONTWAIT) {
            Ok((n, _)) => n,
            Err(Errno::NOTSOCK) => rustix::io::read(source, &mut *room).map_err(failed)?,
            Err(errno) => return Err(failed(errno)),
        };
        self.took(at, &room[..n])
    }

    fn is_messages(&self) -> bool {
        let kind = self.source.as_ref().map(rustix::net::sockopt::socket_type);
        kind == Some(Ok(rustix::net::SocketType::SEQPACKET))
    }

    fn copy_out(&self) -> Result<bool, String> {
        let failed = |errno: Errno| format!("the harness itself failed: {errno}");
        let Some((source, at, left)) = self.source().map_err(failed)? else { return Ok(false) };
        let (out, mut came) = UnixStream::pair().map_err(|error| error.to_string())?;
        let copied = elsewhere(|| {
            let source = Fd::new(source).expect("an open descriptor");
            Copier::new().adaptive(false).copy(&mut source.take(left.min(500) as u64), &mut &out)
        });
        copied.map_err(|error| format!("their copy failed: {error}"))?;
        drop(out);
        let mut bytes = Vec::new();
        came.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        self.took(at, &bytes)
    }

    fn skip(&self) -> Result<bool, Errno> {
        let Some((source, at, left)) = self.source()? else { return Ok(false) };
        let by = left.min(300);
        seek(source, SeekFrom::Current(by as i64))?;
        self.books.read.borrow_mut().push(at..at + by);
        Ok(true)
    }
}

/// Runs on another thread, which no hook watches.
fn elsewhere<T: Send>(copy: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| crate::each_cell::joined(scope.spawn(copy)))
}

fn is_ready(fd: impl AsFd, events: PollFlags) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(&fd, events)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

/// A forked child's own copy, through a pipe.
fn copy_something() {
    let bytes = [7; 9000];
    let (mut client, stream) = UnixStream::pair().expect("two descriptors");
    let (to, mut server) = UnixStream::pair().expect("two descriptors");
    client.write_all(&bytes).expect("room");
    drop(client);
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut &to).expect("a copy");
    assert_eq!(report.moved(), bytes.len() as u64);
    drop(to);
    let mut came = Vec::new();
    server.read_to_end(&mut came).expect("what was copied");
    assert!(came == bytes, "the child's own bytes");
}
