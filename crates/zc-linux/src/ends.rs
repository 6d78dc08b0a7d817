//! The two ends of a step, below all layers.

use std::io::{Read, Write};

use zc_core::PollFd;

/// Where a step takes bytes from.
pub enum Inflow<'a> {
    /// A descriptor.
    Fd(PollFd<'a>),
    /// Only by `read`.
    Read(&'a mut dyn Read),
}

/// Where a step delivers bytes to.
pub enum Outflow<'a> {
    /// A descriptor.
    Fd(PollFd<'a>),
    /// Only by `write`.
    Write(&'a mut dyn Write),
}

impl std::fmt::Debug for Inflow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Inflow::Fd(_) => "Fd",
            Inflow::Read(_) => "Read",
        })
    }
}

impl std::fmt::Debug for Outflow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outflow::Fd(_) => "Fd",
            Outflow::Write(_) => "Write",
        })
    }
}
