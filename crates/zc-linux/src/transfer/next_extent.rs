//! A step of a file whose holes are kept: through a hole, or data up to the next one.

use zc_core::End;
use zc_core::driver::{Mechanism, Step};

use super::{Transfer, step_of};
use crate::backend::Outcome;
use crate::backend::hole::{self, Sparse};
use crate::holes::Extent;
use crate::sys;
use crate::table::Way;

/// What comes next of the source.
pub(super) enum NextExtent {
    /// At least this many bytes of data.
    Data(u64),
    /// A hole, which this step has passed over; it may have moved some data behind it, too.
    Passed(Step),
}

impl Transfer {
    /// Passes over the hole that is next in the source, and moves what follows it, together at most `limit`
    /// bytes. Or says how much data comes before a hole.
    pub(super) fn next_extent(&mut self, from: End<'_>, to: End<'_>, limit: u64) -> NextExtent {
        let Some(plan) = &mut self.plan else { return NextExtent::Data(u64::MAX) };
        let by_kernel = plan.way() == Way::CopyFileRange;
        let Some(holes) = &mut plan.holes else { return NextExtent::Data(u64::MAX) };
        let (start, until) = match holes.at(from) {
            Ok((at, Extent::Data(until))) => return NextExtent::Data(until - at),
            Ok((start, Extent::Hole(until))) => (start, until),
            Ok((_, Extent::Nothing)) => return NextExtent::Data(u64::MAX),
            Err(_) => return self.fills_holes(),
        };
        // It may have been put in append mode since the plan was made. Then it has no place for a hole.
        if sys::appends(to.fd.fd()) {
            return self.fills_holes();
        }
        let source = Sparse { end: from, identity: holes.identity, known_end: holes.known_end };
        let until = until.min(start + holes.max_step);
        let (mut answer, passed) =
            hole::step(&mut self.flight, source, to, (start, until), limit, by_kernel);
        if passed.in_company {
            holes.max_step = hole::MAX_STEP;
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
            let data = self.fills_holes();
            if answer.taken == 0 {
                return data;
            }
            answer.outcome = Outcome::Moved { drained: false, full: false };
        }
        NextExtent::Passed(step_of(answer, 1))
    }

    /// From here on holes are copied as zeros.
    fn fills_holes(&mut self) -> NextExtent {
        if let Some(plan) = &mut self.plan {
            plan.holes = None;
        }
        NextExtent::Data(u64::MAX)
    }
}
