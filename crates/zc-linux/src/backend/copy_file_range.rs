//! File to file, by [copy_file_range(2)](https://man7.org/linux/man-pages/man2/copy_file_range.2.html):
//! the file system shares blocks if it can (btrfs, xfs), asks the server to copy (NFS, CIFS), or
//! copies through the page cache.
//!
//! It is the mechanism with the most ways to refuse, some only after an earlier call has moved bytes
//! (rust-lang/rust#91152: EXDEV part-way on overlay). It answers 0 for files of procfs, which are not
//! at their end. A call that gives an errno has moved nothing. So after any errno read/write completes
//! the copy, or meets the error again; Python's shutil and cp do so, too. (FUSE and network file
//! systems pass on any errno their servers invent.)

use zc_core::End;

use super::{Answer, Outcome};
use crate::claim::{self, Claim, KnownEnd};
use crate::flight::Flight;
use crate::sys;

/// `known_end`: how far the source is known to go.
#[inline(never)]
pub(crate) fn step(
    flight: &mut Flight,
    from: End<'_>,
    to: End<'_>,
    limit: u64,
    known_end: &mut KnownEnd,
) -> Answer {
    let mut source = match Claim::of_source(from, limit, known_end) {
        Ok(claim) => claim,
        Err(outcome) => return outcome.into(),
    };
    let mut sink = match Claim::make(to, source.len()) {
        Ok(claim) => claim,
        Err(errno) => {
            return Answer::from_claim((0, 0), Outcome::Refused(errno), source, flight);
        }
    };
    let (moved, outcome) =
        match sys::copy_file_range(source.at(), sink.at(), sys::at_most(source.len())) {
            Ok(0) => (0, Outcome::Nothing),
            Ok(n) => (n as u64, Outcome::Moved { drained: false, full: false }),
            Err(errno) => (0, Outcome::Refused(errno)),
        };
    source.moved(moved);
    sink.moved(moved);
    let refused = if let Outcome::Refused(errno) = outcome { Some(errno) } else { None };
    let (taken, written, error) = claim::complete(source, sink, refused, flight);
    Answer {
        taken: moved + taken,
        delivered: moved + written,
        written,
        outcome: error.map_or(outcome, Outcome::failed),
    }
}
