//! The file's half of a step, for a driver that makes it on another thread, without the sink.

use std::os::fd::AsRawFd;

use zc_core::driver::{Mechanism, Next, PageSharing, Step, StepError};
use zc_core::{End, Side};

use super::plan::{Plan, TINY};
use super::{NO_FD, Transfer, step_of};
use crate::backend::{Answer, Outcome, read_write, splice_through};
use crate::claim::KnownEnd;
use crate::kind::{Kind, Nature};
use crate::pool;
use crate::sys;

impl Transfer {
    /// Takes at most `most` bytes of a file, from the end's offset on, and delivers none: they are in flight after
    /// it. They go into a pipe, from which a later step splices them to a socket. They go into memory if they are
    /// few, pipes are scarce or pages must not be lent. Nothing may be in flight before.
    ///
    /// [`Next::Ended`]: the file has. It blocks for as long as the disk does.
    pub fn take_from_file(&mut self, from: End<'_>, most: u64) -> Step {
        self.counted(|transfer| {
            debug_assert_eq!(transfer.in_flight(), 0, "what is in flight goes first");
            let splices = transfer.options.page_sharing != PageSharing::Never
                && !pool::is_scarce()
                && !transfer.plan.as_ref().is_some_and(|plan| plan.refuses_splice);
            if splices {
                let answer = transfer.splice_from_file(from, most);
                match answer.outcome {
                    Outcome::Moved { .. } | Outcome::Failed(_) => {
                        transfer.took_half = true;
                        return step_of(answer, 1);
                    }
                    Outcome::Refused(errno) | Outcome::NoPipe(errno) => {
                        transfer.report.refuse(Mechanism::Splice, errno);
                    }
                    // Only a read that returned 0 is the end of input.
                    _ => {}
                }
                transfer.flight.release_pipe();
                // What a claim could not give back.
                if answer.taken > 0 {
                    return Step::moved(answer.taken, 0, Next::Again);
                }
            }
            transfer.tries(Mechanism::ReadWrite);
            let answer = read_write::take(&mut transfer.flight.buffer, from, most);
            match answer.outcome {
                Outcome::Nothing => Step::idle(Next::Ended),
                outcome => step_of(Answer { outcome, ..answer }, 1),
            }
        })
    }

    fn splice_from_file(&mut self, from: End<'_>, most: u64) -> Answer {
        let len = match sys::stat(from.fd.fd()) {
            Ok(stat) => stat.len,
            Err(errno) => {
                let failed = StepError::at(Side::Source, "statx", errno);
                return Outcome::failed(failed).into();
            }
        };
        // A length of 0 says nothing: procfs files have it too. And for so few bytes a read is right.
        if len.min(most) <= TINY {
            return Outcome::Nothing.into();
        }
        self.tries(Mechanism::Splice);
        let (size, flight) = (self.options.pipe_size, &mut self.flight);
        splice_through::fill(flight, (from, Kind::File), most, &mut KnownEnd::of(len), size)
    }

    /// What is known of `to`, for bytes that a step without a sink has taken.
    pub(super) fn plan_for_taken(&mut self, to: End<'_>) {
        if self.took_half && self.plan.is_none() {
            self.plan = Some(Plan::reading(Kind::File, Nature::of(to.fd).kind));
            self.ends = Some((NO_FD, to.fd.fd().as_raw_fd()));
        }
    }
}
