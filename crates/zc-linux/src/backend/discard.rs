//! From TCP to nowhere, by [recv(2)](https://man7.org/linux/man-pages/man2/recv.2.html) with `MSG_TRUNC`: the
//! bytes are taken off the socket's queue and not copied.
//!
//! In all else it is a read: it waits as long, stops at urgent data, reports a pending error once, and
//! returns 0 at the end. So its 0 proves the end as a read's does, and its EAGAIN can only mean the source.

// `inline(always)` here: see `fast`.

use std::cell::Cell;
use std::io;

use rustix::io::Errno;
use zc_core::driver::{Buffer, StepError};
use zc_core::{End, Side};

use super::{Answer, Outcome, failed, is_refusal_at_socket, read_write};
use crate::sys::{self, Syscall};

/// The room that a call is given, in bytes, which TCP leaves untouched: as much as a receive buffer holds at a time.
/// With 256 KiB a sender of a MiB at a time costs a quarter more.
const ROOM: usize = 1 << 20;

thread_local! {
    /// That room, of which no page is ever touched where it is TCP.
    static SPARE: Cell<Box<[u8]>> = Cell::default();
}

/// Takes at most `limit` bytes of TCP and drops them. [`Outcome::Nothing`] is the end here, or a limit of 0.
#[inline(always)]
pub(crate) fn step(from: End<'_>, limit: u64) -> Answer {
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    let mut room = if spare.is_empty() { vec![0; ROOM].into() } else { spare };
    let most = sys::at_most(limit).min(room.len());
    let answer = sys::discard(from.fd.fd(), &mut room[..most]);
    // None can be kept while the thread is being torn down.
    let _ = SPARE.try_with(|spare| spare.set(room));
    dropped(answer.map(|n| (n, n < most)).map_err(io::Error::from))
}

/// The same for a socket that is only taken for TCP, and may fill the room.
#[inline(always)]
pub(crate) fn unasked(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    dropped(buffer.drop_some(limit, |room| Ok(sys::discard(from.fd.fd(), room)?)))
}

/// The same by a read, for any source.
#[inline(always)]
pub(crate) fn read(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Answer {
    let answer = read_write::took(buffer.drop_some(limit, |room| Ok(sys::read_end(from, room)?)));
    Answer { delivered: answer.taken, ..answer }
}

/// Discards or reads, for a copy that is one call. Where the type says TCP, no call asks: if the socket
/// speaks something else, its bytes are copied and dropped.
#[inline(always)]
pub(crate) fn once(buffer: &mut Buffer, from: End<'_>, limit: u64) -> Result<usize, StepError> {
    let failed = |syscall: Syscall| move |error| StepError::at(Side::Source, syscall.name(), error);
    if suits(from) {
        match buffer.drop_some(limit, |room| Ok(sys::discard(from.fd.fd(), room)?)) {
            Err(error) if is_refusal(&error) => {}
            answer => return answer.map(|(n, _)| n).map_err(failed(Syscall::Discard)),
        }
    }
    let answer = buffer.drop_some(limit, |room| Ok(sys::read_end(from, room)?));
    answer.map(|(n, _)| n).map_err(failed(Syscall::Read))
}

/// Whether to discard from `from` without having asked what it is. At an offset of a layer's own a socket cannot be
/// read, and a read says so.
#[inline(always)]
pub(crate) fn suits(from: End<'_>) -> bool {
    from.fd.is_tcp() && from.fd.is_stream() && from.offset.is_none()
}

fn dropped(answer: io::Result<(usize, bool)>) -> Answer {
    match answer {
        Ok((0, _)) => Outcome::Nothing.into(),
        Ok((n, drained)) => {
            Answer { outcome: Outcome::Moved { drained, full: false }, ..Answer::moved(n as u64) }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::WantRead.into(),
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            if is_refusal(&error) {
                Outcome::Refused(errno).into()
            } else {
                failed(Some(Side::Source), Syscall::Discard, errno).into()
            }
        }
    }
}

/// A sandbox may deny recv(2), or this flag; and the owner may be wrong about its descriptor.
#[cold]
fn is_refusal(error: &io::Error) -> bool {
    Errno::from_io_error(error)
        .is_some_and(|errno| is_refusal_at_socket(errno) || errno == Errno::NOTSOCK)
}
