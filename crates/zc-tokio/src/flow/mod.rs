//! One direction of a copy: from a source to a sink, until it has to wait.
//!
//! ```text
//! turn          polls until it has had its turn: copies, flushes, shuts down, for as long as its slice lasts
//!  └ step         one step: what is in flight, or else where the source's next bytes are (look), and how they go:
//!     ├ between      from descriptor to descriptor, past the layers, with the readiness of both noted (readiness)
//!     ├ files        by another thread, where an end is a file
//!     └ by_hand      by an end's own `poll_read` and `poll_write`
//! ```

mod between;
mod by_hand;
mod files;
mod flush;
mod look;
mod readiness;
mod slice;
mod step;
mod turn;

use std::cell::Cell;
use std::os::fd::RawFd;
use std::time::Instant;

use zc_core::driver::Link;
use zc_linux::{Options, Transfer};

use crate::headroom::Headroom;
use files::Files;
pub(crate) use files::may_be_connection;
pub(crate) use slice::Slice;
pub(crate) use turn::take_part;

/// How many bytes of a bulk sender are worth waiting for together.
pub(crate) const GATHERED: u64 = 256 * 1024;

/// One direction of a copy. It owns all that is in flight and all that has been found out, so that the future that
/// polls it may be dropped at any time.
#[derive(Debug)]
pub(crate) struct Flow {
    transfer: Transfer,
    /// What there is only where an end is a file: not often, and every relayed connection has two flows.
    files: Option<Box<Files>>,
    /// Whether an end's own `poll_` method has done the last step.
    is_by_hand: bool,
    /// The link of a chain of sources that it is at.
    link: Link,
    phase: Phase,
    /// What comes after the end of input.
    pub(crate) then: Then,
    /// How many more bytes may be taken, by the copy's own limit.
    pub(crate) left: u64,
    /// How many bytes may be in flight.
    pub(crate) max_in_flight: u64,
    /// How many more the sink is known to have room for.
    headroom: Headroom,
    delivered: u64,
    /// Whether the sink may hold back bytes that were not flushed.
    is_unflushed: bool,
    /// Whether a flush has had to wait, maybe while the source is waited for.
    is_flushing: bool,
    /// Whether the sink keeps nothing, and has no descriptor.
    is_nowhere: bool,
    /// How many bytes the sink's layers let through.
    fits: u64,
    /// Whether a read that brought less than it asked for is taken for the last one. Urgent data and passed
    /// descriptors shorten a read, too, so the source has to be looked at again some time.
    pub(crate) trusts_short_reads: bool,
    /// Whether it has taken a short read for the last one since it has last been told "not now".
    is_unsure: bool,
    /// Whether bytes of a bulk sender may wait for more to come.
    pub(crate) coalesces: bool,
    /// Whether the next ones do.
    gathers: bool,
    /// How many bytes it has taken since it last waited for the source.
    gained: u64,
    /// Whether to look at the source, ready or not.
    must_look: Cell<bool>,
    /// What it waits for.
    waits: Waits,
    /// Whether it does by a descriptor's readiness, and nothing else can make a difference.
    is_at_rest: bool,
    /// Whether the last poll has used up some of what the task may do.
    has_run: bool,
    /// The descriptors it saw last.
    from: Option<RawFd>,
    to: Option<RawFd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Copying,
    /// The source has ended, and all is delivered.
    Ending,
    ShuttingDown,
    Done,
}

/// What comes after the end of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Flush,
    /// Passes it on.
    ShutDown,
}

/// What a flow that is pending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nothing: it has had its turn, or is done.
    No,
    ForSource,
    ForSink,
    /// For a rate limit.
    Until(Instant),
}

impl Flow {
    pub(crate) fn new(options: Options, then: Then) -> Flow {
        Flow {
            transfer: Transfer::new(options),
            files: None,
            is_by_hand: false,
            link: Link::default(),
            phase: Phase::Copying,
            then,
            left: u64::MAX,
            max_in_flight: u64::MAX,
            headroom: Headroom::default(),
            delivered: 0,
            is_unflushed: true,
            is_flushing: false,
            is_nowhere: false,
            fits: u64::MAX,
            trusts_short_reads: false,
            is_unsure: false,
            must_look: Cell::new(false),
            coalesces: false,
            gathers: false,
            gained: 0,
            waits: Waits::No,
            is_at_rest: false,
            has_run: false,
            from: None,
            to: None,
        }
    }

    /// Prepares it for more polls, after the owner of the ends has had them.
    pub(crate) fn begin(&mut self) {
        // A future that was forgotten has not done so.
        self.rest();
        self.is_unflushed = true;
        self.headroom = Headroom::default();
        self.is_at_rest = false;
    }

    /// The future is gone. Until there is another one it holds no file open, and no pipe that others could use.
    pub(crate) fn rest(&mut self) {
        self.unsettle();
        self.transfer.park();
    }

    /// Prepares it for other ends, with what is in flight.
    pub(crate) fn rebind(&mut self) {
        self.forsake();
        self.transfer.rebind();
        (self.link, self.phase, self.waits) = (Link::default(), Phase::Copying, Waits::No);
        (self.delivered, self.is_flushing) = (0, false);
        (self.from, self.to) = (None, None);
    }

    /// How many bytes have been taken and not delivered.
    pub(crate) fn in_flight(&self) -> usize {
        self.away().map_or_else(|| self.transfer.in_flight(), |away| away.in_flight)
    }

    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// How many bytes have been delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(crate) fn has_run(&self) -> bool {
        self.has_run
    }

    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether bytes wait for the sink: those in flight, or those of this copy that it holds back itself.
    pub(crate) fn waits_for_sink(&self) -> bool {
        let holds_back = self.is_flushing && self.delivered > 0;
        self.waits == Waits::ForSink || self.waits != Waits::No && holds_back
    }

    /// The descriptors of source and sink, if it knows them.
    pub(crate) fn descriptors(&self) -> (Option<RawFd>, Option<RawFd>) {
        (self.from, self.to)
    }

    /// Whether there may be bytes that no edge tells of.
    pub(crate) fn is_unsure(&self) -> bool {
        self.is_unsure && self.waits == Waits::ForSource
    }

    /// The next poll looks whether there are.
    pub(crate) fn look(&self) {
        self.must_look.set(true);
    }

    /// The source's descriptor, if its next bytes should wait for more to come.
    pub(crate) fn gathers(&self) -> Option<RawFd> {
        self.from.filter(|_| self.gathers)
    }

    /// No more is taken: what is in flight is delivered, and then it is as if the source had ended.
    pub(crate) fn cut(&mut self) {
        (self.left, self.is_at_rest) = (0, false);
    }

    /// The same, and the end is not passed on: the source has been reset.
    pub(crate) fn cut_off(&mut self) {
        self.cut();
        self.then = Then::Flush;
    }
}
