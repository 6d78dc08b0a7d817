//! Anything to anything, by [read(2)](https://man7.org/linux/man-pages/man2/read.2.html) and
//! [write(2)](https://man7.org/linux/man-pages/man2/write.2.html) through memory: the generic copy
//! of `zc-core`, with descriptors read and written by way of the table.

use zc_core::{Next, Step, generic};

use crate::ends::{Inflow, Outflow};
use crate::flight::Flight;
use crate::sys::{FdReader, FdWriter};

pub(crate) fn step(flight: &mut Flight, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
    let held = &mut flight.held;
    match (from, to) {
        (Inflow::Fd(from), Outflow::Fd(to)) => {
            generic::step(held, &mut FdReader(from.fd()), &mut FdWriter(to.fd()), limit)
        }
        // A `write` of somebody's own may panic. By then the layers that this read went past must
        // have been told of it, so it has to wait for the next step.
        (Inflow::Fd(from), Outflow::Write(_)) => {
            generic::take(held, &mut FdReader(from.fd()), limit)
        }
        (Inflow::Read(from), Outflow::Fd(to)) => {
            generic::step(held, from, &mut FdWriter(to.fd()), limit)
        }
        (Inflow::Read(from), Outflow::Write(to)) => generic::step(held, from, to, limit),
    }
}

/// Writes once what is held.
pub(crate) fn deliver(flight: &mut Flight, to: Outflow<'_>) -> (u64, Next) {
    match to {
        Outflow::Fd(to) => generic::deliver(&mut flight.held, &mut FdWriter(to.fd())),
        Outflow::Write(to) => generic::deliver(&mut flight.held, to),
    }
}
