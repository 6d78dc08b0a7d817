//! What a pump means to do for the pair of descriptors at hand.

use zc_core::{Fault, PollFd};

use crate::kind::Nature;
use crate::learn::{Learn, Way};
use crate::options::Options;
use crate::report::Mechanism;
use crate::route::route;
use crate::sharing::Sharing;
use crate::{Kind, overlap, sys};

/// Copies limited to this many bytes are read and written at once: they fit one read, and asking what
/// the descriptors are, let alone fetching a pipe, would cost more than it saves.
const SMALL: u64 = 64 * 1024;

/// How much of a file is read at a time for a pipe: an eighth of what one holds by default, so that its
/// reader has something to do while the next piece is being read. With 256 KiB at a time the two wait
/// for each other, and a copy takes half as long again.
const PIPE_PIECE: u64 = 8 * 1024;

/// A file of so many bytes is read and written: what it shares is not worth a call.
const TINY: u64 = 8 * 1024;

const READ_WRITE: &[Mechanism] = &[Mechanism::ReadWrite];

#[derive(Debug)]
pub(crate) struct Plan {
    /// The mechanisms still to be tried, the current one first. Never empty, and read/write is last.
    pub(crate) route: &'static [Mechanism],
    /// What the ends are.
    ends: (Kind, Kind),
    /// Which way pays.
    pub(crate) learn: Learn,
    /// How many more bytes the copy of a file into itself may take.
    pub(crate) remaining: u64,
    /// How many more bytes the file had, from its beginning, when the plan was made: with none left, a
    /// read that finds the end spares a call that would only claim it.
    expected: u64,
}

impl Plan {
    /// Whether a copy of `limit` bytes is worth a plan.
    #[inline]
    pub(crate) fn pays(limit: u64, options: &Options) -> bool {
        limit > SMALL || !options.adaptive
    }

    /// Looks at the descriptors. `rich`: a read from this source has brought a good piece.
    ///
    /// # Errors
    ///
    /// A file that is copied into itself over its own bytes, see [`overlap::check`].
    pub(crate) fn make(
        from: PollFd<'_>,
        to: PollFd<'_>,
        limit: u64,
        rich: bool,
        options: &Options,
    ) -> Result<Plan, Fault> {
        let (source, sink) = (Nature::of(from), Nature::of(to));
        let mut plan = Plan {
            route: route(source.kind, sink.kind, options.page_sharing),
            ends: (source.kind, sink.kind),
            learn: Learn::Settled(Way::Offload),
            remaining: u64::MAX,
            expected: u64::MAX,
        };
        // A length of 0 says nothing: so have the files of procfs.
        if source.kind == Kind::File && source.len > 0 && options.adaptive {
            plan.expected = source.len;
        }
        if plan.ends == (Kind::File, Kind::File) && source.identity == sink.identity {
            plan.remaining = overlap::check(from.fd(), to.fd(), source.len, limit)?;
        }
        if !options.adaptive || plan.route == READ_WRITE {
            return Ok(plan);
        }
        let bytes = plan.expected.min(limit);
        match plan.ends {
            (Kind::File, _) if bytes <= TINY => plan.only_read_write(),
            (Kind::File, Kind::File) => plan.learn = Learn::files(Sharing::of(to.fd()), bytes),
            (Kind::Socket, _) if sys::is_tcp(from.fd()) => plan.learn = Learn::pieces(rich),
            (Kind::Socket, _) => plan.learn = Learn::pieces_and_costs(rich),
            _ => {}
        }
        Ok(plan)
    }

    /// Splice goes through a pipe of our own.
    ///
    /// Also from a socket to somebody's pipe: a splice that waits for a socket keeps the pipe it
    /// fills locked all the while (splice_file_to_pipe), and whoever reads the other end is stuck,
    /// even with bytes in the pipe. Between two pipes the kernel waits with neither locked.
    pub(crate) fn needs_pipe(&self) -> bool {
        self.route[0] == Mechanism::Splice && !matches!(self.ends, (Kind::Pipe | Kind::File, _))
    }

    /// Whether the next bytes should be read and written.
    pub(crate) fn reads(&self) -> bool {
        self.route[0] == Mechanism::ReadWrite
            || self.learn.way() == Way::ReadWrite
            || self.expected == 0
    }

    /// How many bytes to read at most before writing them.
    pub(crate) fn piece(&self) -> u64 {
        if self.ends == (Kind::File, Kind::Pipe) { PIPE_PIECE } else { u64::MAX }
    }

    /// A step took `n` bytes.
    pub(crate) fn took(&mut self, n: u64) {
        self.expected = self.expected.saturating_sub(n);
        self.remaining = self.remaining.saturating_sub(n);
        // What is left is the end, and no time for conclusions.
        if self.expected > 0 {
            self.learn.saw(n);
        }
    }

    /// The current mechanism will not do: on to the next, if there is one. Returns the one given up.
    pub(crate) fn next_mechanism(&mut self) -> Option<Mechanism> {
        let [refused, rest @ ..] = self.route else { return None };
        if rest.is_empty() {
            return None;
        }
        self.route = rest;
        if rest == READ_WRITE {
            self.learn = Learn::Settled(Way::ReadWrite);
        }
        Some(*refused)
    }

    /// Nothing but read/write from here on.
    pub(crate) fn only_read_write(&mut self) {
        (self.route, self.learn) = (READ_WRITE, Learn::Settled(Way::ReadWrite));
    }
}
