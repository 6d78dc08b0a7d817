//! Bytes taken by one way of the route, other than read/write.

use zc_core::End;
use zc_core::driver::{Next, Step};

use super::{MAX_AFTER_STALL, Transfer};
use crate::backend::{
    Answer, Outcome, copy_file_range, discard, sendfile, splice_direct, splice_through,
};
use crate::kind::Kind;
use crate::pool;
use crate::table::Way;

impl Transfer {
    /// Takes at most `limit` bytes one way.
    #[inline(always)]
    pub(super) fn take_by(&mut self, way: Way, from: End<'_>, to: End<'_>, limit: u64) -> Answer {
        let Self { flight, plan, options, stalled, .. } = self;
        let plan = plan.as_mut().expect("the caller has one");
        let of_file = limit.min(plan.most_of_file());
        let answer = match way {
            Way::CopyFileRange => {
                copy_file_range::step(flight, from, to, of_file, &mut plan.known_end)
            }
            Way::Sendfile => {
                let waits_for_room = of_file <= sendfile::LEAST || plan.sink_waits(to);
                let to = (to, plan.sink);
                sendfile::step(flight, from, to, of_file, waits_for_room, &mut plan.known_end)
            }
            Way::Discard => discard::step(from, limit),
            Way::SpliceDirect if plan.source == Kind::File => {
                splice_direct::step_from_file(flight, from, to, of_file, &mut plan.known_end)
            }
            Way::SpliceDirect => splice_direct::step(from, to, limit),
            Way::SpliceThrough => {
                let most = if *stalled > 0 { MAX_AFTER_STALL } else { u64::MAX };
                let room = if pool::is_scarce() {
                    splice_through::most_while_scarce((to, plan.sink))
                } else {
                    Ok(u64::MAX)
                };
                match room {
                    Ok(room) => splice_through::fill(
                        flight,
                        (from, plan.source),
                        of_file.min(most).min(room),
                        &mut plan.known_end,
                        options.pipe_size,
                    ),
                    Err(errno) => Outcome::NoPipe(errno).into(),
                }
            }
            Way::ReadWrite => unreachable!("the caller reads and writes"),
        };
        self.tries(way.mechanism());
        self.count(way.mechanism(), &answer);
        answer
    }

    /// Delivers what a splice has just taken.
    #[inline(always)]
    pub(super) fn deliver_taken(&mut self, taken: u64, to: End<'_>) -> Step {
        let mut step = match &self.plan {
            Some(plan) if self.flight.is_in_pipe() && self.flight.buffer.is_empty() => {
                self.drain_pipe(to, plan.sink)
            }
            // What was kept of a claim is in memory.
            _ => Step::idle(Next::Again),
        };
        step.taken = taken;
        self.went_through();
        step
    }
}
