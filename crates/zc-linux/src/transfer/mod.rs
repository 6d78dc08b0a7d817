//! The resumable state machine that moves bytes from a source to a sink.
//!
//! ```text
//! step       a budget, a fork to look out for, calls to count
//!  └ walk      one walk down the sink and the source, and then
//!     ├ deliver   what is in flight already (half_step: of a file, taken without a sink), or
//!     ├ nowhere   bytes of a descriptor, for a sink that keeps none, or
//!     ├ within    bytes of a descriptor, for a sink with a limit that the source's is not below, or
//!     └ between   bytes from descriptor to descriptor: by which way, for this pair of ends (plan, pieces,
//!        │        overlap, boundaries of messages), and what its answer means
//!        ├ next_extent … of a source whose holes are kept
//!        ├ by_way      … by a mechanism of the kernel's (backend), or
//!        └ by_reading  … by a read and a write
//! ```

mod between;
mod boundaries;
mod by_reading;
mod by_way;
mod deliver;
mod half_step;
mod next_extent;
mod nowhere;
mod offsets;
pub(crate) mod overlap;
pub(crate) mod pieces;
pub(crate) mod plan;
mod walk;
mod within;

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;

use zc_core::driver::{
    Link, Mechanism, Next, Options, PageSharing, Step, StepError, each_descriptor, walk_sink,
};
use zc_core::{ReadSource, Side, Sink, Source};

use crate::backend::{Answer, Outcome, read_write};
use crate::flight::Flight;
use crate::kind::Kind;
use crate::report::Report;
use crate::sys;
use plan::Plan;

/// Instead of a descriptor that a step does not see, or that is not there.
const NO_FD: RawFd = -1;

/// How much to take at a time once the sink has been full: live copies could use the memory that a
/// stalled one holds.
const MAX_AFTER_STALL: u64 = 64 * 1024;

/// How many pieces must be delivered without filling the sink again before more than [`MAX_AFTER_STALL`] is
/// taken at a time.
const STALL_MEMORY: u8 = 8;

/// Moves bytes from a source to a sink, a step at a time. It makes no call in order to wait.
///
/// It owns all that a copy knows between two steps: the bytes in flight, the link of a chain of sources,
/// the plan for this pair of ends, the counts. It borrows nothing: each step is handed the two ends.
/// So it can be kept anywhere, go to another thread between any two steps, and be driven by anything: a
/// loop, poll(2) or epoll(7), a runtime.
///
/// A step makes as few system calls as move some bytes, says what it did and what comes next, and returns.
/// On descriptors in non-blocking mode no step blocks; on blocking ones a step blocks as they do. A regular
/// file is always a blocking one, see [`waits_for_disk`](Transfer::waits_for_disk).
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_core::driver::Next;
/// use zc_linux::Transfer;
///
/// let (mut client, from) = UnixStream::pair()?;
/// let (to, mut server) = UnixStream::pair()?;
/// from.set_nonblocking(true)?;
/// client.write_all(b"hello")?;
///
/// let mut transfer = Transfer::default();
/// let mut moved = 0;
/// loop {
///     let step = transfer.step(&mut &from, &mut &to, u64::MAX);
///     moved += step.delivered;
///     match step.next {
///         Next::Again => {}
///         Next::WantRead { .. } => break, // … or poll(2), and go on
///         other => panic!("{other:?}"),
///     }
/// }
/// assert_eq!((moved, transfer.in_flight()), (5, 0));
/// # drop(to);
/// # let mut got = String::new();
/// # server.read_to_string(&mut got)?;
/// # assert_eq!(got, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What it does not keep
///
/// A plan holds for the two ends of the last step. Before a step with others, call
/// [`rebind`](Transfer::rebind): that keeps the bytes in flight, which go first, and nothing else.
///
/// A sink that may hold bytes back is flushed before bytes bypass it ([`Next::FlushSink`]). It is flushed
/// again after every step that did not answer [`Next::Again`], since its owner may have written to it
/// meanwhile.
#[derive(Debug, Default)]
pub struct Transfer {
    options: Options,
    flight: Flight,
    /// The link of a chain of sources that it is at.
    link: Link,
    /// The descriptors that what follows is about.
    ends: Option<(RawFd, RawFd)>,
    plan: Option<Plan>,
    /// How many bytes reads of these ends without a plan have brought: all of them together, and the
    /// largest one.
    unplanned: (u64, u64),
    /// Whether half a step, without a sink, has taken bytes.
    took_half: bool,
    /// Whether the source keeps the boundaries of messages, if that has been asked.
    reads_messages: Option<bool>,
    /// How many bytes the source has left, if it is the own file of a sink that has a limit; once that has been asked.
    own_left: Option<u64>,
    /// Whether bytes from these ends have been waited for.
    has_gathered: bool,
    /// How many more pieces to keep small, because the sink has been full.
    stalled: u8,
    /// Whether the sink has been flushed, and nothing written to it since.
    is_flushed: bool,
    /// Whether the source's descriptors have been compared with the sink's file; and whether the next byte,
    /// which no plan covers, needs it.
    has_compared: bool,
    must_compare: bool,
    /// The sink with an offset of its own that is known not to be in append mode.
    checked_sink: Option<RawFd>,
    report: Report,
    /// The mechanism of the last call that was to move bytes.
    last_tried: Option<Mechanism>,
}

impl Transfer {
    /// A transfer with these options.
    pub fn new(options: Options) -> Self {
        Transfer { options, ..Transfer::default() }
    }

    /// A transfer with the default options and `residue` in flight, which is delivered first.
    pub fn with_residue(residue: Vec<u8>) -> Self {
        Transfer { flight: Flight::of(residue), ..Transfer::default() }
    }

    /// A transfer with `residue` in flight, the last bytes of a copy between two descriptors.
    pub(crate) fn of_all(residue: Vec<u8>) -> Self {
        Transfer { plan: Some(Plan::exhausted()), ..Transfer::with_residue(residue) }
    }

    /// The options. A change within a copy may take effect at once, or with the next
    /// [`rebind`](Transfer::rebind).
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many bytes have been taken and not been delivered.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    pub(crate) fn link(&self) -> Link {
        self.link
    }

    /// What was done since the last [`rebind`](Transfer::rebind) or [`resume`](Transfer::resume).
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Prepares it for other ends. **Bytes in flight stay, and go to the new sink**, before any others: those of
    /// another connection have to be [taken out](Transfer::take_residue) first. Nothing else is kept.
    pub fn rebind(&mut self) {
        self.link = Link::default();
        (self.has_compared, self.checked_sink) = (false, None);
        self.replan();
        self.resume();
    }

    /// Prepares it for more steps with the same ends, which their owner may have used meanwhile. The plan and
    /// the link of a chain stay; the report begins anew.
    pub fn resume(&mut self) {
        self.report = Report::default();
        self.park();
    }

    /// Gives back what need not be held, before a wait: memory and pipes as far as they are empty, and
    /// memory beyond about twice the bytes in flight. Once many pipes are in use, no pipe is kept at all.
    /// It makes no call that waits.
    ///
    /// Before a wait for the source that costs next to nothing. Before one for a sink, bytes in flight may have
    /// to be copied from their pipe into memory. A driver that expects room soon waits without parking, and parks
    /// what has waited for long.
    pub fn park(&mut self) {
        self.is_flushed = false;
        if self.flight.is_ours() {
            let calls = sys::calls();
            self.flight.park(self.may_lend());
            self.count_calls_since(calls);
        }
    }

    /// Whether bytes that have been taken may go on to change with the source's file. Between files its pages are lent
    /// to a pipe of our own, and no further.
    fn may_lend(&self) -> bool {
        let is_between_files = || {
            let plan = self.plan.as_ref();
            plan.is_some_and(|plan| (plan.source, plan.sink) == (Kind::File, Kind::File))
        };
        match self.options.page_sharing {
            PageSharing::Never => false,
            PageSharing::Always => true,
            _ => !is_between_files(),
        }
    }

    /// Whether a step can wait for a disk at `side`, even with descriptors in non-blocking mode: true of regular
    /// files, which poll(2) always calls ready. `None` before the first step that has looked.
    pub fn waits_for_disk(&self, side: Side) -> Option<bool> {
        let plan = self.plan.as_ref()?;
        Some(match side {
            Side::Source => plan.source == Kind::File,
            Side::Sink => plan.sink == Kind::File,
        })
    }

    /// An end has gone on to another descriptor, for drivers that see it: the new one may have the number of the old
    /// one, by which a step would tell them apart.
    pub fn moved_on(&mut self) {
        self.checked_sink = None;
        self.replan();
    }

    /// The driver has flushed the sink, as [`Next::FlushSink`] asked it to.
    pub fn flushed(&mut self) {
        self.is_flushed = true;
    }

    /// The driver has waited for small pieces to gather. The next step reads them, however many there are, since each
    /// would take a slot of a pipe.
    pub fn gathered(&mut self) {
        self.has_gathered = true;
        if let Some(plan) = &mut self.plan {
            plan.gathered();
        }
    }

    /// The source has no more for now: for drivers that take a short read for the last one. If the piece came alone,
    /// as an answer does, the next one is read, not spliced.
    pub fn ran_dry(&mut self) {
        if let Some(plan) = &mut self.plan {
            plan.ran_dry();
        }
    }

    /// The TCP socket that bytes come from now, if a handful of them is worth waiting for where they go.
    pub(crate) fn bulk_source(&self) -> Option<RawFd> {
        let plan = self.plan.as_ref()?;
        let goes = matches!(plan.sink, Kind::File | Kind::Null) || self.options.coalesce.is_some();
        match self.ends {
            Some((from, _)) if plan.source == Kind::Tcp && goes => Some(from),
            _ => None,
        }
    }

    /// Gives the pipe back before a wait, with nothing in flight.
    pub(crate) fn let_go(&mut self) {
        self.flight.release_pipe();
    }

    /// Takes the bytes in flight out, in order.
    ///
    /// If the pipe cannot be read, which only a hook can cause, the bytes in it stay in flight. What was in
    /// flight at a fork is the parent's; in the child this returns nothing.
    pub fn take_residue(&mut self) -> Vec<u8> {
        // Only a hook can make a read from our own pipe fail; so it is tried again.
        const PATIENCE: usize = 256;
        if !self.flight.is_ours() {
            return Vec::new();
        }
        let _landed = (0..PATIENCE).any(|_| self.flight.land().is_ok());
        self.flight.buffer.take()
    }

    /// The name of the last call tried, for a `WouldBlock` error.
    pub fn waiting_call(&self, side: Side) -> &'static str {
        match (self.last_tried, side) {
            (Some(Mechanism::Splice), _) => "splice",
            (Some(Mechanism::Sendfile), _) => "sendfile",
            (Some(Mechanism::CopyFileRange), _) => "copy_file_range",
            (Some(Mechanism::Discard), Side::Source) => "recv",
            (_, Side::Source) => "read",
            (_, Side::Sink) => "write",
        }
    }

    /// One step: delivers what is in flight, or else takes at most `budget` bytes and delivers what it can. (A
    /// message is taken whole, even beyond the budget.)
    ///
    /// Every layer of the two ends is told what bypassed it, even if the step fails. Between
    /// [`rebind`](Transfer::rebind)s the two ends must stay the same.
    ///
    /// # Errors
    ///
    /// [`Next::Failed`] has the first error that another mechanism could not avoid. It has `InvalidInput` for
    /// a file copied into itself over its own bytes. In a forked child it says that the bytes in flight are
    /// its parent's. Bytes in flight stay here, and another step begins with them. The step's counts hold all
    /// the same.
    pub fn step<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        sink: &mut (dyn Sink<Io> + '_),
        budget: u64,
    ) -> Step {
        self.counted(|transfer| {
            let mut step = match transfer.straight(source, sink, budget) {
                Some(step) => step,
                None => transfer.walk(source, sink, budget),
            };
            if transfer.must_compare {
                (transfer.must_compare, transfer.has_compared) = (false, true);
                step = if has_sink_in_it(source, sink) {
                    Step::failed(overlap::read_ahead())
                } else {
                    transfer.walk(source, sink, budget)
                };
            }
            if !matches!(step.next, Next::Again) {
                transfer.is_flushed = false;
            }
            if matches!(step.next, Next::WantWrite) && transfer.options.heeds_stalls {
                transfer.stalled = STALL_MEMORY;
            }
            step
        })
    }

    /// Takes bytes by the source's own `read`, as [`Next::ReadSource`] asks for: calls `read` once with room
    /// for at most `most` bytes. Blocks as `read` does.
    ///
    /// A `read` of 0 is the end of all of the source: [`Next::Ended`].
    pub fn read_with(
        &mut self,
        most: u64,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Step {
        self.counted(|transfer| {
            // What is in a pipe comes before it.
            if let Err(errno) = transfer.flight.land() {
                return Step::failed(StepError::new("read", errno));
            }
            // Where a source is read and bypassed in turn (a header, a body), each turn has its own plan.
            transfer.replan();
            // The source may drop links that have ended, once it is read. Those that it keeps end again.
            transfer.link = Link::default();
            transfer.tries(Mechanism::ReadWrite);
            let answer = read_write::took(transfer.flight.buffer.fill(most, &mut read));
            // The sink may hold these back, and a descriptor may come next.
            transfer.is_flushed = false;
            match answer.outcome {
                Outcome::Nothing => Step::idle(Next::Ended),
                // A type's own `read` may give less than it has.
                outcome => Step { drained: false, ..step_of(Answer { outcome, ..answer }, 1) },
            }
        })
    }

    /// [`read_with`](Transfer::read_with) by the source's own `read`, where the source is at hand. So a copy that is at a
    /// later link of a chain stays there, if the chain has kept those before it: they need not end once more.
    pub(crate) fn read_source(&mut self, source: &mut dyn ReadSource, most: u64) -> Step {
        let link = self.link;
        let (step, link) =
            link.across(source, |source| self.read_with(most, |room| source.read(room)));
        self.link = link;
        step
    }

    /// Delivers bytes by the sink's own `write`, as [`Next::WriteSink`] asks for. Calls `write` once, with
    /// all that is in flight, or else with all that a layer of `source` has buffered: a `write` takes what it
    /// wants. Blocks as it does.
    pub fn write_with<Io>(
        &mut self,
        source: &mut (dyn Source<Io> + '_),
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Step {
        self.counted(|transfer| {
            transfer.is_flushed = false;
            transfer.tries(Mechanism::ReadWrite);
            if transfer.in_flight() == 0 {
                return transfer.write_buffered(source, &mut write);
            }
            if let Err(errno) = transfer.flight.land() {
                return Step::failed(StepError::new("read", errno));
            }
            let offered = transfer.flight.buffer.len();
            let answer = read_write::gave(transfer.flight.buffer.drain(&mut write), offered);
            transfer.report.deliver(Mechanism::ReadWrite, answer.delivered);
            // A type's own `write` may take less than it could.
            Step { full: false, ..step_of(answer, 1) }
        })
    }

    /// Makes one step, with what is in flight if that is this process's, and counts its calls.
    #[inline(always)]
    fn counted(&mut self, step: impl FnOnce(&mut Transfer) -> Step) -> Step {
        if !self.flight.is_ours() {
            return Step::failed(forked());
        }
        let calls = sys::calls();
        let counted = Counted { transfer: self, calls };
        step(counted.transfer)
    }

    /// The ends change, within one copy: what is known of the old ones no longer holds.
    fn replan(&mut self) {
        (self.plan, self.ends, self.took_half) = (None, None, false);
        (self.unplanned, self.has_gathered, self.stalled) = ((0, 0), false, 0);
        (self.reads_messages, self.own_left) = (None, None);
    }

    /// Counts the calls that this thread has made since it had made `before`, and that are not counted yet.
    pub(crate) fn count_calls_since(&mut self, before: u64) {
        self.report.count_calls(sys::count_from(before));
    }

    #[inline]
    fn tries(&mut self, mechanism: Mechanism) {
        self.last_tried = Some(mechanism);
        self.report.try_with(mechanism);
    }

    fn count(&mut self, mechanism: Mechanism, answer: &Answer) {
        self.report.deliver(mechanism, answer.delivered - answer.written);
        self.report.deliver(Mechanism::ReadWrite, answer.written);
    }
}

/// Counts the calls of a step, also if one of the layers panics. Of a copy inside another's callback, the
/// inner copy alone counts the calls.
struct Counted<'t> {
    transfer: &'t mut Transfer,
    calls: u64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.transfer.count_calls_since(self.calls);
    }
}

/// What a step says after such an answer.
#[inline(always)]
fn step_of(answer: Answer, worth: u64) -> Step {
    let Answer { taken, delivered, outcome, .. } = answer;
    let mut step = Step::moved(taken, delivered, Next::Again);
    match outcome {
        Outcome::Moved { drained, full } => (step.drained, step.full) = (drained, full),
        Outcome::WantRead => step.next = Next::WantRead { worth },
        Outcome::WantWrite => step.next = Next::WantWrite,
        Outcome::Failed(error) => step.next = Next::Failed(error),
        Outcome::Nothing | Outcome::NoPipe(_) | Outcome::Unclear | Outcome::Refused(_) => {
            unreachable!("the transfer knows what to do about these")
        }
    }
    step
}

/// A layer's error comes after what the step did.
fn with_error(step: Step, walked: Result<(), StepError>) -> Step {
    match walked {
        Ok(()) => step,
        Err(error) => Step { next: Next::Failed(Box::new(error)), ..step },
    }
}

/// Whether some descriptor in `source` is the sink's own file.
#[cold]
fn has_sink_in_it<Io>(source: &mut (dyn Source<Io> + '_), sink: &mut (dyn Sink<Io> + '_)) -> bool {
    let found = Cell::new(false);
    each_descriptor(source, &mut |from| {
        if from.fd.is_socket() {
            return;
        }
        walk_sink(sink, &Cell::new(0), &mut |to, _| {
            if let Some(to) = to
                && plan::is_same_file(from, to)
            {
                found.set(true);
            }
        });
    });
    found.into_inner()
}

fn forked() -> StepError {
    let what = "the bytes in flight belong to the process that this one was forked from";
    StepError::new("fork", io::Error::other(what))
}
