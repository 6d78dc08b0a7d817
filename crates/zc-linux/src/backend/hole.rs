//! A hole into a file, by [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html) or by leaving it
//! out: no byte is moved, and what the sink had there is gone.
//!
//! It does not use ftruncate(2), which would cut off what others have written beyond the length that it sets. The
//! range is claimed at both ends like any other. So a hole at the end of the file moves the offsets and the
//! sink's end as its zeros would.
//!
//! Ending a file in a hole takes two calls, a millisecond on ext4. Data after the hole makes them needless.
//! So one step goes through both, and only one that ends in a hole calls.

use rustix::io::Errno;
use zc_core::End;
use zc_core::driver::StepError;

use super::{Answer, Outcome};
use crate::claim::{self, Claim, KnownEnd};
use crate::flight::Flight;
use crate::holes::{Extent, look};
use crate::sys::{self, Identity};

/// How much is claimed with a hole: the data after it, and the holes after that.
pub(crate) const MAX_STEP: u64 = 64 << 20;

/// A source with holes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse<'fd> {
    pub(crate) end: End<'fd>,
    pub(crate) identity: Identity,
    /// How long it is known to be.
    pub(crate) known_end: u64,
}

/// What moved the bytes delivered. Those that neither of these counts were written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) holes: u64,
    /// By copy_file_range.
    pub(crate) copied: u64,
    /// The errno by which copy_file_range refused.
    pub(crate) refused: Option<Errno>,
    /// Others have gone on in the source at the same moment.
    pub(crate) in_company: bool,
}

/// Passes over the hole that was seen from `start` to `until`, and moves what is next to it: at most
/// `limit` bytes together. `by_kernel`: whether copy_file_range may move them.
#[inline(never)]
pub(crate) fn step(
    flight: &mut Flight,
    from: Sparse<'_>,
    to: End<'_>,
    (start, until): (u64, u64),
    limit: u64,
    by_kernel: bool,
) -> (Answer, Passed) {
    let len = limit.min(MAX_STEP.max(until - start));
    let mut known_end = KnownEnd { at: from.known_end, left: len };
    let source = match Claim::of_source(from.end, len, &mut known_end) {
        Ok(claim) => claim,
        Err(outcome) => return (outcome.into(), Passed::default()),
    };
    let sink = match Claim::make(to, source.len()) {
        Ok(claim) => claim,
        Err(errno) => {
            let refused = Outcome::Refused(errno);
            return (Answer::from_claim((0, 0), refused, source, flight), Passed::default());
        }
    };
    // Where the sink ends. What lies beyond belongs to this step alone, and has nothing in it.
    let reaches = sys::stat(to.fd.fd()).map(|stat| stat.len);
    let in_company = source.at().1 != start;
    let passed = Passed { in_company, ..Passed::default() };
    let known = reaches.unwrap_or(0);
    let mut walk = Walk { source, sink, reaches: known, pending: 0, written: 0, passed, by_kernel };
    // Others may have gone on from where the hole was seen. Then it is not what was claimed.
    let seen = match reaches {
        Ok(_) if !in_company => Ok(Extent::Hole(until)),
        Ok(_) => walk.look(from),
        Err(errno) => Err(errno),
    };
    let outcome = walk.on(flight, from, seen);
    let outcome = walk.reach().map_or_else(Outcome::Refused, |()| outcome);
    let Walk { source, sink, written, passed, .. } = walk;
    let moved = passed.holes + passed.copied + written;
    let (taken, more, outcome) = if let Outcome::Failed(_) = outcome {
        sink.give_back();
        (source.give_back_or_keep(flight), 0, outcome)
    } else {
        // What is left goes as zeros, or has an error to tell.
        let (taken, more, error) = claim::complete(source, sink, passed.refused, flight);
        (taken, more, error.map_or(outcome, Outcome::failed))
    };
    let (taken, delivered) = (moved + taken, moved + more);
    (Answer { taken, delivered, written: written + more, outcome }, passed)
}

/// Two claimed ranges, on the way through them.
struct Walk<'fd> {
    source: Claim<'fd>,
    sink: Claim<'fd>,
    reaches: u64,
    /// How many bytes of a hole have been passed over that the sink does not reach yet.
    pending: u64,
    written: u64,
    passed: Passed,
    by_kernel: bool,
}

impl Walk<'_> {
    /// Where the source's next byte is.
    fn at(&self) -> u64 {
        self.source.at().1
    }

    fn look(&self, from: Sparse<'_>) -> Result<Extent, Errno> {
        look(from.end.fd, from.identity, self.at())
    }

    /// Goes on to the end of the claim, or to where it cannot.
    fn on(
        &mut self,
        flight: &mut Flight,
        from: Sparse<'_>,
        mut seen: Result<Extent, Errno>,
    ) -> Outcome {
        while self.source.len() > 0 {
            match seen {
                Ok(Extent::Hole(until)) => {
                    let len = self.source.len().min(until - self.at());
                    if let Err(errno) = self.pass_over(len) {
                        return Outcome::Refused(errno);
                    }
                }
                Ok(Extent::Data(until)) => {
                    let len = self.source.len().min(until - self.at());
                    match self.carry(len, flight) {
                        Ok(0) => return Outcome::Nothing,
                        Ok(_) => {}
                        Err(error) => return Outcome::failed(error),
                    }
                }
                // A read finds out what there is.
                Ok(Extent::Nothing) => return Outcome::Nothing,
                Err(errno) => return Outcome::Refused(errno),
            }
            if self.source.len() > 0 {
                seen = self.look(from);
            }
        }
        Outcome::Moved { drained: false, full: false }
    }

    /// Passes over `n` bytes of a hole. What the sink has there is cleared.
    fn pass_over(&mut self, len: u64) -> Result<(), Errno> {
        let (fd, at) = self.sink.at();
        let old = self.reaches.saturating_sub(at).min(len);
        if old > 0 {
            sys::punch(fd, at, old)?;
        }
        self.source.moved(len);
        self.sink.moved(len);
        self.passed.holes += len;
        self.pending += len - old;
        Ok(())
    }

    /// Moves some of `n` bytes of data; 0 if the source has become shorter, or the kernel would choose the place.
    fn carry(&mut self, len: u64, flight: &mut Flight) -> Result<u64, StepError> {
        if self.by_kernel {
            let n = sys::at_most(len);
            match sys::copy_file_range(self.source.at(), self.sink.at(), n) {
                Ok(n @ 1..) => {
                    let n = n as u64;
                    self.passed.copied += n;
                    self.source.moved(n);
                    self.sink.moved(n);
                    self.reached();
                    return Ok(n);
                }
                Ok(0) => self.by_kernel = false,
                Err(errno) => {
                    self.by_kernel = false;
                    self.passed.refused = Some(errno);
                    // Put in append mode just now: pwrite would write elsewhere.
                    if errno == Errno::BADF && self.sink.appends(true) {
                        return Ok(0);
                    }
                }
            }
        }
        let (n, error) = claim::carry(&mut self.source, &mut self.sink, len, flight);
        self.written += n;
        if n > 0 {
            self.reached();
        }
        error.map_or(Ok(n), Err)
    }

    /// The sink has data up to where the next byte goes.
    fn reached(&mut self) {
        self.reaches = self.reaches.max(self.sink.at().1);
        self.pending = 0;
    }

    /// Makes the sink as long as the hole that was passed over last. `Err`: that could not be done, and the
    /// hole was not passed over.
    fn reach(&mut self) -> Result<(), Errno> {
        if self.pending == 0 {
            return Ok(());
        }
        let (fd, end) = self.sink.at();
        let mut reached = sys::extend(fd, end);
        if reached.is_ok() {
            // The block that was given to its last byte.
            let len = self.pending;
            let _ = sys::punch(fd, end - len, len);
        } else {
            // Without fallocate, a written byte does it.
            let last = End { offset: Some(end - 1), ..self.sink.end() };
            if let Ok(1) = sys::write_end(last, &[0]) {
                reached = Ok(());
            }
        }
        if reached.is_err() {
            self.source.back(self.pending);
            self.sink.back(self.pending);
            self.passed.holes -= self.pending;
        }
        self.pending = 0;
        reached
    }
}
