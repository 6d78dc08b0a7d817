//! From any end that can be spliced to any other, by two
//! [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html) calls with a pipe of our own between
//! them. Pages move from the source into the pipe, and from there to the page cache or a socket's queue.
//!
//! Each call has one side that is not ours, and so names the side that is not ready. While it waits, it holds
//! nothing but our own pipe.
//!
//! Between the two calls bytes are in flight. The second call may refuse when the first has drained
//! the socket: a file in append mode answers EINVAL, as does a device without splice support. Then
//! the pipe's bytes are read into memory and written, and so is the rest.
//!
//! No flags. SPLICE_F_MORE corks the socket as MSG_MORE does, which stalls short messages for 200 ms
//! (golang/go#10948). SPLICE_F_MOVE does nothing since Linux 2.6.21. SPLICE_F_NONBLOCK would make a
//! blocking Unix socket answer EAGAIN.

use rustix::event::PollFlags;
use rustix::io::Errno;
use zc_core::{End, Side};

use super::{Answer, Outcome, failed, is_refusal, is_refusal_at_socket};
use crate::claim::{Claim, KnownEnd};
use crate::flight::Flight;
use crate::kind::Kind;
use crate::pool;
use crate::sys::{self, Syscall};

/// A page, in bytes, on most machines. On one with larger pages a pipe has fewer slots, and what does not
/// fit is read.
const PAGE: u64 = 4096;

/// A sink that takes fewer bytes than this at once is not worth a pipe that others could use.
const WORTH_A_SCARCE_PIPE: u64 = 4096;

/// The most bytes to take while pipes are scarce, so that no copy waits for its sink with a pipe. Half
/// of what a socket takes without waiting: its buffer counts more than the bytes.
pub(crate) fn most_while_scarce((to, kind): (End<'_>, Kind)) -> Result<u64, Errno> {
    let fd = to.fd.fd();
    let most = match kind {
        Kind::File | Kind::Null => u64::MAX,
        kind if kind.is_socket() => sys::room(fd)? / 2,
        _ if sys::is_ready(fd, PollFlags::OUT)? => WORTH_A_SCARCE_PIPE,
        _ => 0,
    };
    if most < WORTH_A_SCARCE_PIPE { Err(Errno::NOBUFS) } else { Ok(most) }
}

/// Fills the pipe, which is empty. What it took is in flight.
#[inline(always)]
pub(crate) fn fill(
    flight: &mut Flight,
    (from, kind): (End<'_>, Kind),
    limit: u64,
    known_end: &mut KnownEnd,
    pipe_size: usize,
) -> Answer {
    let pipe = match flight.pipe(pipe_size) {
        Ok(pipe) => pipe,
        Err(errno) => return Outcome::NoPipe(errno).into(),
    };
    debug_assert_eq!(pipe.level(), 0, "a pipe that is not empty may be full, and block");
    let fd = from.fd.fd();
    if kind == Kind::File {
        return fill_from_file(flight, from, limit, known_end);
    }
    // A splice that waits for its source keeps its pipe all the while. Only half the pipes may be used so.
    if pool::is_scarce() && sys::is_ready(fd, PollFlags::IN | PollFlags::RDHUP) != Ok(true) {
        return Outcome::NoPipe(Errno::NOBUFS).into();
    }
    let len = pipe.capacity().min(sys::at_most(limit));
    let is_refusal = if kind.is_socket() { is_refusal_at_socket } else { is_refusal };
    match sys::splice((fd, None), (pipe.write_end(), None), len) {
        Ok(0) => Outcome::Nothing.into(),
        Ok(n) => {
            pipe.put(n);
            Answer::took(n as u64, Outcome::Moved { drained: false, full: false })
        }
        // TCP also answers EAGAIN ahead of urgent data, however many bytes follow (tcp_splice_read,
        // still so in Linux 6.18). A driver that waited for the socket then would be woken at once,
        // again and again, or never, since the edge is past. (MPTCP does not say where its mark is.)
        Err(Errno::AGAIN)
            if matches!(kind, Kind::Tcp | Kind::Mptcp) && sys::is_at_mark(fd) != Ok(false) =>
        {
            Outcome::Unclear.into()
        }
        Err(Errno::AGAIN) => Outcome::WantRead.into(),
        Err(errno) if is_refusal(errno) => Outcome::Refused(errno).into(),
        Err(errno) => failed(Some(Side::Source), Syscall::Splice, errno).into(),
    }
}

#[inline(never)]
fn fill_from_file(
    flight: &mut Flight,
    from: End<'_>,
    limit: u64,
    known_end: &mut KnownEnd,
) -> Answer {
    let pipe = flight.pipe.as_mut().expect("the caller has one");
    // Each page takes a slot, also one of which only a part is wanted: one more than the bytes would need.
    let len = limit.min((pipe.capacity() as u64).saturating_sub(PAGE).max(PAGE));
    let mut source = match Claim::of_source(from, len, known_end) {
        Ok(claim) => claim,
        Err(outcome) => return outcome.into(),
    };
    let (fd, offset) = source.at();
    let len = sys::at_most(source.len());
    let (taken, outcome) = match sys::splice((fd, Some(offset)), (pipe.write_end(), None), len) {
        Ok(0) => (0, Outcome::Nothing),
        Ok(n) => (n, Outcome::Moved { drained: false, full: false }),
        // A read meets the same error again.
        Err(errno) => (0, Outcome::Refused(errno)),
    };
    pipe.put(taken);
    source.moved(taken as u64);
    Answer::from_claim((taken as u64, 0), outcome, source, flight)
}

/// Drains the pipe, which is not empty, once; into a file until it is empty.
#[inline(always)]
pub(crate) fn drain(flight: &mut Flight, (to, kind): (End<'_>, Kind)) -> Answer {
    if kind == Kind::File {
        return drain_into_file(flight, to);
    }
    let pipe = flight.pipe.as_mut().expect("bytes are in it");
    let is_refusal = if kind.is_socket() { is_refusal_at_socket } else { is_refusal };
    match sys::splice((pipe.read_end(), None), (to.fd.fd(), None), pipe.level()) {
        // There are bytes in the pipe, so this is not the end; and asking again would not help.
        Ok(0) => Outcome::Refused(Errno::INVAL).into(),
        Ok(n) => {
            pipe.took(n);
            Answer::gave(n as u64, Outcome::Moved { drained: false, full: pipe.level() > 0 })
        }
        Err(Errno::AGAIN) => Outcome::WantWrite.into(),
        Err(errno) if is_refusal(errno) => Outcome::Refused(errno).into(),
        Err(errno) => failed(Some(Side::Sink), Syscall::Splice, errno).into(),
    }
}

/// The range is claimed only now, when as many bytes are in our own pipe: no call waits with it.
fn drain_into_file(flight: &mut Flight, to: End<'_>) -> Answer {
    let pipe = flight.pipe.as_mut().expect("bytes are in it");
    let mut sink = match Claim::make(to, pipe.level() as u64) {
        Ok(claim) => claim,
        Err(errno) => return Outcome::Refused(errno).into(),
    };
    let mut delivered = 0;
    let outcome = loop {
        let (fd, offset) = sink.at();
        match sys::splice((pipe.read_end(), None), (fd, Some(offset)), pipe.level()) {
            Ok(0) => break Outcome::Refused(Errno::INVAL),
            Ok(n) => {
                pipe.took(n);
                sink.moved(n as u64);
                delivered += n as u64;
                if sink.len() == 0 {
                    break Outcome::Moved { drained: false, full: false };
                }
            }
            // No file waits for a peer. A file system that answers EAGAIN all the same means no splice.
            Err(errno) if is_refusal(errno) || errno == Errno::AGAIN => {
                break Outcome::Refused(errno);
            }
            Err(errno) => break failed(Some(Side::Sink), Syscall::Splice, errno),
        }
    };
    let (more, error) = match outcome {
        Outcome::Failed(_) => sink.give_back_or_fill(flight),
        _ => sink.fill(flight),
    };
    let outcome = match (outcome, error) {
        // The write's error is the later one, and says why the rest is not delivered.
        (_, Some(error)) => Outcome::failed(error),
        // What splice could not, a write has filled the range with.
        (Outcome::Failed(_), None) if more > 0 && flight.len() == 0 => {
            Outcome::Moved { drained: false, full: false }
        }
        (outcome, None) => outcome,
    };
    Answer { written: more, ..Answer::gave(delivered + more, outcome) }
}
