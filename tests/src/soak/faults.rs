//! What calls may answer in a copy with one shared end.
//!
//! A call may move less, be interrupted, or refuse. It may fail for good only where no range of the shared file is
//! claimed: at the copy's private end, if that is a stream. (What is claimed of two files is moved by reads and
//! writes, if need be.) Elsewhere an error may leave a gap.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

use zc_std::hook::{self, Action, Call, Guard, Syscall};

use super::workload::Random;

/// Faults for one copy, on any thread.
#[derive(Clone)]
pub(super) struct Faults(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// One call in this many misbehaves; 0 for none.
    every: u64,
    /// Whether mechanisms may refuse. Each that does refuses for the rest of the copy.
    refuses: bool,
    /// The stream that is not shared.
    private: Option<RawFd>,
    made: u64,
    /// Errors that the copy has not reported yet.
    errors: u64,
}

impl Faults {
    pub(super) fn new(mut random: Random, private: Option<RawFd>) -> Self {
        let every = random.pick(&[0, 3, 12, 40]);
        let refuses = random.below(3) == 0;
        Faults(Arc::new(Mutex::new(State { random, every, refuses, private, made: 0, errors: 0 })))
    }

    /// On this thread, until the guard is dropped.
    pub(super) fn here(&self) -> Guard {
        let faults = self.clone();
        hook::replace(move |call| faults.with(|state| state.answer(call)))
    }

    /// How many faults there were.
    pub(super) fn made(&self) -> u64 {
        self.with(|state| state.made)
    }

    /// Whether an error of the copy was one of these.
    pub(super) fn explain_an_error(&self) -> bool {
        self.with(|state| std::mem::take(&mut state.errors) > 0)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Action {
        if self.every == 0 || self.random.below(self.every) != 0 {
            return Action::Proceed;
        }
        let action = self.fault(call);
        self.made += u64::from(action != Action::Proceed);
        action
    }

    fn fault(&mut self, call: &Call) -> Action {
        const EPERM: i32 = 1;
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const EINVAL: i32 = 22;
        const EMFILE: i32 = 24;
        const ENOSYS: i32 = 38;
        let random = &mut self.random;
        match (call.syscall, random.below(4)) {
            (_, 0) => Action::Fail(EINTR),
            (Syscall::Splice | Syscall::CopyFileRange | Syscall::Sendfile, 1) if self.refuses => {
                Action::Fail(random.pick(&[EPERM, EINVAL, ENOSYS]))
            }
            (Syscall::Pipe, 1) if self.refuses => Action::Fail(EMFILE),
            (Syscall::SetPipeSize, 1) if self.refuses => Action::Fail(EPERM),
            (Syscall::Read | Syscall::Write, 1)
                if self.private.is_some() && [call.from, call.to].contains(&self.private) =>
            {
                self.errors += 1;
                Action::Fail(EIO)
            }
            _ if call.len > 0 => {
                Action::Limit(1 + usize::try_from(random.below(call.len as u64)).unwrap_or(0))
            }
            _ => Action::Proceed,
        }
    }
}
