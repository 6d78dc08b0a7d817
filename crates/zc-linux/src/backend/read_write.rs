//! Anything to anything, by [read(2)](https://man7.org/linux/man-pages/man2/read.2.html) and
//! [write(2)](https://man7.org/linux/man-pages/man2/write.2.html) through memory: the generic copy
//! of `zc-core`, over descriptors and the table of system calls.

use zc_core::{Held, Next, PollFd, Step, generic};

use crate::ends::{Inflow, Outflow};
use crate::flight::Flight;
use crate::sys::{EndReader, EndWriter};

/// One [step](zc_core::generic::step) between two descriptors: writes what is held, or else reads once,
/// at most `limit` bytes, and writes once.
///
/// Blocks as the descriptors do. `limit` is in bytes; 0 with nothing held is [`Next::Done`].
///
/// ```
/// use std::fs::File;
/// use std::io::Write;
/// use zc_core::{Held, PollFd};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"hello")?;
/// let null = File::create("/dev/null")?;
///
/// let step = zc_linux::relay(&mut Held::default(), PollFd::of(&reader), PollFd::of(&null), 4);
/// assert_eq!((step.taken, step.delivered), (4, 4));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn relay(held: &mut Held, from: PollFd<'_>, to: PollFd<'_>, limit: u64) -> Step {
    relay_inline(held, from, to, limit)
}

/// [`relay`], inlined where the extra return would be measurable.
#[inline(always)]
pub(crate) fn relay_inline(held: &mut Held, from: PollFd<'_>, to: PollFd<'_>, limit: u64) -> Step {
    generic::step(held, &mut EndReader(from), &mut EndWriter(to), limit)
}

pub(crate) fn step(flight: &mut Flight, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
    match (from, to) {
        (Inflow::Fd(from), Outflow::Fd(to)) => relay_inline(&mut flight.held, from, to, limit),
        // A user's `write` may panic. By then the layers that this read went past must have been told
        // of it, so the write has to wait for the next step.
        (Inflow::Fd(from), Outflow::Write(_)) => {
            generic::take(&mut flight.held, &mut EndReader(from), limit)
        }
        (Inflow::Read(from), Outflow::Fd(to)) => {
            generic::step(&mut flight.held, from, &mut EndWriter(to), limit)
        }
        (Inflow::Read(from), Outflow::Write(to)) => {
            generic::step(&mut flight.held, from, to, limit)
        }
    }
}

/// Writes once what is held.
pub(crate) fn deliver(flight: &mut Flight, to: Outflow<'_>) -> (u64, Next) {
    match to {
        Outflow::Fd(to) => generic::deliver(&mut flight.held, &mut EndWriter(to)),
        Outflow::Write(to) => generic::deliver(&mut flight.held, to),
    }
}
