//! A hole into a file, by [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html): no byte is
//! moved, and what the sink had there is gone.
//!
//! Not by ftruncate(2): the length it sets is that of one moment, and what others have written beyond it would
//! be cut off. The range is claimed at both ends like any other, so a hole that is the last of the file moves
//! the offsets and the sink's end as its zeros would.

use rustix::io::Errno;
use zc_core::End;

use super::{Answer, Outcome};
use crate::claim::{self, Claim};
use crate::flight::Flight;
use crate::holes::{Extent, look};
use crate::sys::{self, Identity};

/// Passes over at most `limit` bytes that are a hole from `start` on. `known_end`: the length that the source
/// is known to have. Returns how many of the bytes delivered were holes, too.
pub(crate) fn step(
    flight: &mut Flight,
    (from, identity): (End<'_>, Identity),
    to: End<'_>,
    (start, limit): (u64, u64),
    known_end: u64,
) -> (Answer, Passed) {
    let mut passed = Passed::default();
    let mut source = match Claim::of_source(from, limit, known_end) {
        Ok(claim) => claim,
        Err(outcome) => return (outcome.into(), passed),
    };
    let mut sink = match Claim::make(to, source.len()) {
        Ok(claim) => claim,
        Err(errno) => {
            let refused = Outcome::Refused(errno);
            return (Answer::from_claim((0, 0), refused, source, flight), passed);
        }
    };
    // Others may have gone on from where the hole was seen. Then there may be data in what was claimed.
    let mut extent = Ok(Extent::Hole(start + limit));
    if source.at().1 != start {
        extent = look(from.fd, identity, source.at().1);
    }
    let outcome = loop {
        if source.len() == 0 {
            break Outcome::Moved { drained: false, full: false };
        }
        let at = source.at().1;
        let (count, answer) = match extent {
            Ok(Extent::Hole(until)) => {
                let len = source.len().min(until - at);
                (&mut passed.holes, clear(&sink, len).map(|()| len))
            }
            Ok(Extent::Data(until)) => {
                let len = sys::at_most(source.len().min(until - at));
                let copied = sys::copy_file_range(source.at(), sink.at(), len);
                (&mut passed.copied, copied.map(|n| n as u64))
            }
            // A read finds out what there is.
            Ok(Extent::Nothing) => break Outcome::Nothing,
            Err(errno) => break Outcome::Refused(errno),
        };
        match answer {
            Ok(0) => break Outcome::Nothing,
            Ok(n) => {
                *count += n;
                source.moved(n);
                sink.moved(n);
            }
            Err(errno) => break Outcome::Refused(errno),
        }
        if source.len() > 0 {
            extent = look(from.fd, identity, source.at().1);
        }
    };
    // What is left goes as zeros, or has an error to tell.
    let (taken, written, error) = claim::complete(source, sink, flight);
    let moved = passed.holes + passed.copied;
    let answer = Answer {
        taken: moved + taken,
        delivered: moved + written,
        written,
        outcome: error.map_or(outcome, Outcome::Failed),
    };
    (answer, passed)
}

/// How many bytes went which way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) holes: u64,
    /// By copy_file_range.
    pub(crate) copied: u64,
}

/// Makes the first `len` bytes of the sink's range a hole, and has the file reach as far as they do.
fn clear(sink: &Claim<'_>, len: u64) -> Result<(), Errno> {
    let (fd, at) = sink.at();
    let end = at + len;
    match sys::extend(fd, end).and_then(|()| sys::punch(fd, at, len)) {
        // Beyond a file's end there is nothing to clear, and its last byte makes the rest a hole.
        Err(errno) if sys::stat(fd)?.len <= at => {
            let last = End { fd: sink.end().fd, offset: Some(end - 1) };
            match sys::write_end(last, &[0]) {
                Ok(1) => Ok(()),
                _ => Err(errno),
            }
        }
        answer => answer,
    }
}
