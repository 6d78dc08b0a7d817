//! The holes of a file that is copied into another, if they are to be kept.

use std::ops::Range;

use rustix::io::Errno;
use zc_core::End;
use zc_core::driver::{Mechanism, Step};

use super::{Transfer, step_of};
use crate::backend::Outcome;
use crate::backend::hole::{self, Sparse};
use crate::holes::{Extent, look};
use crate::kind::Nature;
use crate::sys::{self, Identity};
use crate::table::Way;

/// The most of a hole that one step passes over, alone: what is claimed must be moved, if need be by way of
/// memory, where others go on in the source and the sink then fails.
const ALONE: u64 = 16 << 30;

/// What is known of a source's holes.
#[derive(Debug)]
pub(crate) struct Holes {
    identity: Identity,
    /// How long the source is known to be.
    known_end: u64,
    /// The most of a hole to pass over at once.
    piece: u64,
    /// Where data was seen last. A hole is looked up at each step: what is written there meanwhile must not be
    /// missed.
    data: Range<u64>,
}

/// What comes next of the source.
pub(super) enum Ahead {
    /// So many bytes to be moved; of more than those nothing is known.
    Data(u64),
    /// A hole, which this step has passed over, and may have moved some data behind it.
    Passed(Step),
}

impl Holes {
    pub(crate) fn new(source: &Nature) -> Self {
        Holes { identity: source.identity, known_end: source.len, piece: ALONE, data: 0..0 }
    }

    /// Whether it is worth while to look for any.
    pub(crate) fn are_likely(from: End<'_>) -> bool {
        sys::has_fewer_blocks(from.fd.fd())
    }

    /// Where the source stands, and what it has there.
    fn at(&mut self, from: End<'_>) -> Result<(u64, Extent), Errno> {
        let at = from.offset.map_or_else(|| sys::position(from.fd.fd()), Ok)?;
        if at >= self.known_end {
            return Ok((at, Extent::Nothing));
        }
        if self.data.contains(&at) {
            return Ok((at, Extent::Data(self.data.end)));
        }
        let extent = look(from.fd, self.identity, at)?;
        if let Extent::Data(until) = extent {
            // Up to its end, the file is as it would be without holes: one opened with O_DIRECT is read in whole
            // blocks.
            self.data = at..if until < self.known_end { until } else { u64::MAX };
        }
        Ok((at, extent))
    }
}

impl Transfer {
    /// Passes over the hole that is next in the source, and moves what is next to it, together at most `limit`
    /// bytes; or says how much data comes before a hole.
    pub(super) fn look_ahead(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> Ahead {
        let Some(plan) = &mut self.plan else { return Ahead::Data(u64::MAX) };
        let by_kernel = plan.way() == Way::CopyFileRange;
        let Some(holes) = &mut plan.holes else { return Ahead::Data(u64::MAX) };
        let (start, until) = match holes.at(from) {
            Ok((at, Extent::Data(until))) => return Ahead::Data(until - at),
            Ok((start, Extent::Hole(until))) => (start, until),
            Ok((_, Extent::Nothing)) => return Ahead::Data(u64::MAX),
            Err(_) => return self.fills_holes(),
        };
        let source = Sparse { end: from, identity: holes.identity, known_end: holes.known_end };
        let until = until.min(start + holes.piece);
        let (mut answer, passed) =
            hole::step(&mut self.flight, source, to, (start, until), limit, by_kernel);
        if passed.in_company {
            holes.piece = hole::PIECE;
        }
        self.report.pass_over(passed.holes);
        if passed.copied > 0 || passed.refused.is_some() {
            self.tries(Mechanism::CopyFileRange);
        }
        if answer.written > 0 || answer.taken > answer.delivered {
            self.tries(Mechanism::ReadWrite);
        }
        self.report.deliver(Mechanism::CopyFileRange, passed.copied);
        self.report.deliver(Mechanism::ReadWrite, answer.written);
        if let Some(errno) = passed.refused {
            self.refused(Way::CopyFileRange, errno);
        }
        if let Some(plan) = &mut self.plan {
            plan.took_aside(answer.taken);
        }
        if let Outcome::Refused(_) | Outcome::Nothing = answer.outcome {
            // What comes next is read, and only a read that returns 0 is the end.
            let ahead = self.fills_holes();
            if answer.taken == 0 {
                return ahead;
            }
            answer.outcome = Outcome::Moved { drained: false, full: false };
        }
        Ahead::Passed(step_of(answer, 1))
    }

    /// From here on holes are copied as zeros.
    fn fills_holes(&mut self) -> Ahead {
        if let Some(plan) = &mut self.plan {
            plan.holes = None;
        }
        Ahead::Data(u64::MAX)
    }
}
