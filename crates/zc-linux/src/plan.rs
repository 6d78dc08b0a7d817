//! What a pump means to do for the pair of descriptors at hand.

use zc_core::{Fault, PollFd};

use crate::kind::{Kind, Nature};
use crate::learn::{Learn, Pieces, Way};
use crate::options::Options;
use crate::prior::Prior;
use crate::report::Mechanism;
use crate::route::route;
use crate::{overlap, sys};

/// Copies limited to this many bytes go straight to read/write: they fit one read, and asking what the
/// descriptors are, let alone fetching a pipe, would cost more than it saves.
pub const SMALL: u64 = 64 * 1024;

/// How much goes from a file into a pipe at a time, or from a pipe into a file: half of what one holds
/// by default, so that whoever is at its other end has the other half to work on. With all of it at a
/// time the two wait for each other, and a copy takes up to twice as long.
const PIPE_PIECE: u64 = 32 * 1024;

/// A file of at most this many bytes goes by read/write: what it shares is not worth a call.
const TINY: u64 = 8 * 1024;

/// A socket is read without a plan until this many bytes have come.
const NOTABLE: u64 = 16 * 1024;

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
    /// How many bytes remain of the length the file had when the plan was made, counted from its
    /// beginning: too many if its offset was not 0, too few if it grows. At 0, a read finds the end
    /// without a wasted call. It also caps sendfile: asked for more than there is, kernels 4.1 to
    /// 6.4 hold back the last segment for up to 200 ms (and 6.18 takes a tenth longer).
    pub(crate) expected: u64,
}

impl Plan {
    /// Whether a copy of `limit` more bytes, of which `so_far` have been read, is worth a plan.
    #[inline]
    pub(crate) fn pays(from: PollFd<'_>, limit: u64, so_far: u64, options: &Options) -> bool {
        let quiet_socket = from.is_socket() && so_far < NOTABLE;
        !options.adaptive || limit > SMALL && !quiet_socket
    }

    /// Looks at the descriptors. No read from the source has brought more than `largest` bytes.
    ///
    /// # Errors
    ///
    /// A file that is copied into itself over its own bytes, see [`overlap::check`].
    pub(crate) fn make(
        from: PollFd<'_>,
        to: PollFd<'_>,
        limit: u64,
        largest: u64,
        options: &Options,
    ) -> Result<Plan, Fault> {
        let (source, sink) = (Nature::of(from), Nature::of(to));
        let mut plan = Plan {
            route: route(source.kind, sink.kind, options.page_sharing),
            ends: (source.kind, sink.kind),
            learn: Learn::settled(Way::Offload),
            remaining: u64::MAX,
            expected: u64::MAX,
        };
        // A length of 0 says nothing: procfs files have it too.
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
        if source.kind == Kind::File && bytes <= TINY {
            plan.only_read_write();
            return Ok(plan);
        }
        let prior = if plan.ends == (Kind::File, Kind::File) && bytes <= SMALL {
            Prior::of_small_files(source.identity.0 == sink.identity.0)
        } else {
            Prior::of((from, source.kind), (to, sink.kind))
        };
        plan.learn = Learn::costs(prior, bytes);
        if source.kind == Kind::Socket {
            let passes_pages = sink.kind == Kind::Pipe && !sys::is_tcp(from.fd());
            plan.learn = plan.learn.pieces(Pieces::new(passes_pages, largest));
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

    /// Whether the next bytes should go by read/write.
    pub(crate) fn reads(&self) -> bool {
        self.route[0] == Mechanism::ReadWrite
            || self.learn.way() == Way::ReadWrite
            || self.expected == 0
    }

    /// How many bytes to move at once at the most.
    pub(crate) fn piece(&self) -> u64 {
        match self.ends {
            (Kind::File, Kind::Pipe) | (Kind::Pipe, Kind::File) => PIPE_PIECE,
            _ => u64::MAX,
        }
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

    /// The current mechanism cannot do it: on to the next, if there is one. Returns the one given up.
    pub(crate) fn next_mechanism(&mut self) -> Option<Mechanism> {
        let [refused, rest @ ..] = self.route else { return None };
        if rest.is_empty() {
            return None;
        }
        self.route = rest;
        if rest == READ_WRITE {
            self.learn = Learn::settled(Way::ReadWrite);
        }
        Some(*refused)
    }

    /// Nothing but read/write from here on.
    pub(crate) fn only_read_write(&mut self) {
        (self.route, self.learn) = (READ_WRITE, Learn::settled(Way::ReadWrite));
    }
}
