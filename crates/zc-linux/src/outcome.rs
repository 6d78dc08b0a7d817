//! The answers of a mechanism, and of a claim.

use rustix::io::Errno;
use zc_core::driver::StepError;

/// What a mechanism says.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It moved bytes.
    Moved {
        /// The source had no more.
        drained: bool,
        /// The sink had no room for more.
        full: bool,
    },
    /// The call returned 0. That may be the end, but only a read knows.
    Nothing,
    /// The source has nothing now.
    WantRead,
    /// The sink takes nothing now.
    WantWrite,
    /// There is no pipe to be had now.
    NoPipe(Errno),
    /// One side has nothing or takes nothing now; only a read or a write can tell which.
    Unclear,
    /// Not by this mechanism, now or later: the next one continues from the same byte.
    Refused(Errno),
    /// Not at all.
    Failed(Box<StepError>),
}

impl Outcome {
    #[cold]
    pub(crate) fn failed(error: StepError) -> Self {
        Outcome::Failed(Box::new(error))
    }
}
