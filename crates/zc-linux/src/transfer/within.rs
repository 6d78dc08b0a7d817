//! A sink whose limit is not above the source's: only what fits is taken.
//!
//! If the source has more than fits, the copy fails. Only a read can tell, of one byte, which is then in flight; the
//! next step fails.

use std::os::fd::AsRawFd;

use zc_core::End;
use zc_core::driver::straight::Place;
use zc_core::driver::{Mechanism, Next, Step, StepError};

use super::boundaries::of_messages;
use super::{NO_FD, Transfer, plan, step_of};
use crate::backend::{Answer, Outcome, read_write};
use crate::sys;

/// How many bytes the source has left, if it is the sink's own file. What the copy adds to it is not the source's, and a
/// read would find it. `u64::MAX`: it is another.
fn own_left(from: End<'_>, to: Option<End<'_>>) -> u64 {
    let left = match to {
        Some(to) if !from.fd.is_socket() && !to.fd.is_socket() => {
            plan::left_of_same_file(from, to).ok().flatten()
        }
        _ => None,
    };
    left.unwrap_or(u64::MAX)
}

impl Transfer {
    /// Moves at most `budget` bytes, in a copy of `limit`, to a sink that takes `fits` of them and has no descriptor
    /// if it keeps none. [`Next::Ended`]: this link of the source has.
    #[cold]
    pub(super) fn within(
        &mut self,
        fits: u64,
        from: End<'_>,
        to: Option<End<'_>>,
        (limit, budget): (u64, u64),
    ) -> Step {
        self.meets((from.fd.fd().as_raw_fd(), to.map_or(NO_FD, |to| to.fd.fd().as_raw_fd())));
        let reads_messages = self.reads_messages(from);
        let limit = limit.min(*self.own_left.get_or_insert_with(|| own_left(from, to)));
        if limit == 0 {
            return Step::idle(Next::Ended);
        }
        let step = match to {
            Some(to) if fits > 0 && !reads_messages => {
                self.end_to_end((from, limit.min(fits)), Place::Fd(to), budget)
            }
            // A message is taken whole, or the rest of it would be lost.
            _ if reads_messages => self.take_alone(of_messages(from), limit),
            _ => self.take_alone(from, limit.min(budget).min(fits.max(1))),
        };
        self.own_left = self.own_left.map(|left| left.saturating_sub(step.taken));
        step
    }

    /// Reads once, and delivers nothing.
    fn take_alone(&mut self, from: End<'_>, most: u64) -> Step {
        self.flight.release_pipe();
        self.tries(Mechanism::ReadWrite);
        let answer = self.read(from, most, false);
        match answer.outcome {
            Outcome::Nothing => Step::idle(Next::Ended),
            // Here, too, only a stream socket's short read says that there is no more.
            Outcome::Moved { .. } => Step::moved(answer.taken, 0, Next::Again),
            outcome => step_of(Answer { outcome, ..answer }, 1),
        }
    }

    /// Delivers from what is in flight, which is more than the `fits` bytes that the sink takes.
    #[cold]
    pub(super) fn deliver_within(&mut self, fits: u64, to: Option<End<'_>>) -> Step {
        if fits == 0 {
            return Step::failed(StepError::beyond_limit());
        }
        let Some(to) = to else { return self.drop_in_flight(fits) };
        if let Err(errno) = self.flight.land() {
            return Step::failed(StepError::new("read", errno));
        }
        self.tries(Mechanism::ReadWrite);
        let most = usize::try_from(fits).unwrap_or(usize::MAX);
        let wrote = self.flight.buffer.drain(|bytes| {
            let some = &bytes[..bytes.len().min(most)];
            Ok(sys::write_end(to, some)?)
        });
        let answer = read_write::gave(wrote, most);
        self.report.deliver(Mechanism::ReadWrite, answer.delivered);
        step_of(answer, 1)
    }
}
