//! Standard error, for people.

use std::fmt;
use std::io::{self, Write};

/// Prints a line on standard error. Where that cannot be written to, the exit status has to do.
pub(crate) fn say(line: impl fmt::Display) {
    // In one piece: others may be saying something, too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
