//! Which steps to make, in which order and size: the same in every run.

use std::fmt;

/// How the bytes come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All that will come is there, and there is room for all that goes.
    Ready,
    /// The stream is non-blocking, and every so often has nothing to give, or no room.
    Scarce,
}

/// What to do next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// `read` or `write`, with this many bytes.
    Through(usize),
    /// How many steps past it, and how many bytes to each.
    Past { len: usize, steps: usize },
    /// `read` or `write`, with no bytes.
    Empty,
    /// `flush`.
    Flush,
}

#[derive(Clone, Copy, Debug)]
enum Mix {
    Through,
    Past,
    Alternate,
    Any,
}

/// One schedule.
#[derive(Debug)]
pub(super) struct Script {
    number: usize,
    pub(super) mode: Mode,
    mix: Mix,
    largest: usize,
    random: u64,
    turn: bool,
    flushes: bool,
    log: Vec<Act>,
}

const MODES: [Mode; 2] = [Mode::Ready, Mode::Scarce];
const MIXES: [Mix; 4] = [Mix::Through, Mix::Past, Mix::Alternate, Mix::Any];
/// The largest step of a schedule: from less than any buffer to more than `BufReader`'s 8 KiB.
const LARGEST: [usize; 4] = [40, 300, 1500, 9000];
const ROUNDS: usize = 3;
/// Twice the room of a Unix socket, which takes a part of a write only if that is larger than 48 KiB.
const LARGE: usize = 400 * 1024;

const COUNT: usize = MODES.len() * MIXES.len() * LARGEST.len() * ROUNDS;

impl Script {
    /// All schedules; only those for sinks have flushes in them.
    pub(super) fn all(flushes: bool) -> impl Iterator<Item = Script> {
        (0..COUNT).map(move |number| Script {
            number,
            mode: MODES[number % 2],
            mix: MIXES[number / 2 % 4],
            largest: LARGEST[number / 8 % 4],
            random: 0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 20),
            turn: number / 32 % 2 == 0,
            flushes,
            log: Vec::new(),
        })
    }

    /// More schedules for sinks, of writes that the stream takes a part of.
    pub(super) fn all_large() -> impl Iterator<Item = Script> {
        Script::all(true)
            .filter(|script| script.mode == Mode::Scarce)
            .take(MIXES.len())
            .map(|script| Script { number: script.number + COUNT, largest: LARGE, ..script })
    }

    /// Whether every byte bypasses the type.
    pub(super) fn is_all_past(&self) -> bool {
        matches!(self.mix, Mix::Past)
    }

    /// The next step.
    pub(super) fn next(&mut self) -> Act {
        let len = self.upto(self.largest);
        let past = Act::Past { len, steps: self.upto(3) };
        self.turn = !self.turn;
        let act = match (self.mix, self.upto(16)) {
            (Mix::Past, _) => past,
            (_, 1) => Act::Empty,
            (_, 2) if self.flushes => Act::Flush,
            (Mix::Alternate, _) if self.turn => past,
            (Mix::Any, 3..=9) => past,
            _ => Act::Through(len),
        };
        self.log.push(act);
        act
    }

    /// How many steps it has made.
    pub(super) fn steps(&self) -> usize {
        self.log.len()
    }

    /// The schedule up to its step of that number, to be shown.
    pub(super) fn up_to(mut self, steps: usize) -> Self {
        self.log.truncate(steps);
        self
    }

    /// How many bytes to make available at a time.
    pub(super) fn piece(&mut self) -> usize {
        self.upto(self.largest)
    }

    /// Once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.upto(n) == 1
    }

    /// From 1 to `n`, by xorshift.
    fn upto(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        1 + (self.random >> 33) as usize % n
    }
}

/// The schedule as failures tell it: its last steps.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let mode = match self.mode {
            Mode::Ready => "never blocked",
            Mode::Scarce => "often blocked",
        };
        write!(f, "schedule {} ({mode}), after: ", self.number)?;
        let skipped = self.log.len().saturating_sub(SHOWN);
        if skipped > 0 {
            write!(f, "{skipped} more, ")?;
        }
        for (i, act) in self.log[skipped..].iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match act {
                Act::Through(len) => write!(f, "{comma}through {len}")?,
                Act::Past { len, steps: 1 } => write!(f, "{comma}past {len}")?,
                Act::Past { len, steps } => write!(f, "{comma}past {steps} x {len}")?,
                Act::Empty => write!(f, "{comma}through 0")?,
                Act::Flush => write!(f, "{comma}flush")?,
            }
        }
        Ok(())
    }
}
