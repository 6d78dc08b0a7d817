//! Standard error, for people.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long not to say again what cannot be done: it may have been possible in between.
const SILENCE: Duration = Duration::from_secs(60);

/// Prints a line on standard error. Where that cannot be written to, the exit status has to do.
pub(crate) fn say(line: impl fmt::Display) {
    // In one piece: others may be saying something, too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Something that happens again and again, and is said now and then.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether to say it, now that it has happened.
    pub(crate) fn is_said(&mut self) -> bool {
        let is_said = self.0.is_none_or(|said| said.elapsed() > SILENCE);
        if is_said {
            self.0 = Some(Instant::now());
        }
        is_said
    }
}
