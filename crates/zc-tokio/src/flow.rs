//! One way of a copy: from a source to a sink, until it has to wait.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};
use zc_core::Side;
use zc_core::driver::{Bottom, Manner, Next, Place, Reach, Step, walk_sink, walk_source};
use zc_linux::{Options, Transfer};

use crate::away::{Away, Past};
use crate::error::Failure;
use crate::flat::{FlatSink, FlatSource, From};
use crate::headroom::Headroom;
use crate::{AsyncSink, AsyncSource, Operation, Registered, Settling, TokioIo};

/// What a step that moves no byte takes from a turn, so that a source of empty links or the like ends it, too.
const STEP: u64 = 256;

/// How many bytes a source's owner may read, if it finds some where a call past it has found none.
const BY_OWNER: u64 = 4096;

/// How many times as much a byte takes from a turn where an end's own `poll_` method moves it: TLS does about a
/// byte a nanosecond.
const BY_HAND: u64 = 2;

/// From this many bytes at a time on, a sender's next ones are worth waiting for together, and how many.
const BULK: u64 = 16 * 1024;
pub(crate) const GATHERED: u64 = 256 * 1024;

/// One way of a copy. It owns all that is in flight and all that has been found out, so that the future that
/// polls it may be dropped at any time.
#[derive(Debug)]
pub(crate) struct Flow {
    transfer: Transfer,
    /// A step that is being made elsewhere, with the transfer.
    away: Option<Away>,
    /// The files that are gone past.
    source_file: FileEnd,
    sink_file: FileEnd,
    /// Whether an end's own `poll_` method has done the last step.
    is_by_hand: bool,
    /// How far it is in a chain of sources.
    place: Place,
    phase: Phase,
    /// What comes after the end of input.
    pub(crate) then: Then,
    /// How many more bytes may be taken, by the copy's own limit.
    pub(crate) left: u64,
    /// How many bytes may be in flight.
    pub(crate) most_in_flight: u64,
    /// How many more the sink is known to have room for.
    headroom: Headroom,
    delivered: u64,
    /// Whether the sink may hold back bytes that nobody has flushed.
    is_unflushed: bool,
    /// Whether the sink keeps nothing, and has no descriptor.
    is_nowhere: bool,
    /// Whether a read that brought less than it asked for is taken for the last one. It is not where urgent data
    /// ended it, or a descriptor that was passed along; so the source has to be looked at again some time.
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
    /// The descriptors it saw last.
    from: Option<RawFd>,
    to: Option<RawFd>,
}

/// A file at one end.
#[derive(Debug)]
enum FileEnd {
    /// There may be one, and it has something to finish.
    Settling(Settling),
    Settled(Past),
    /// It is read, or written to, by its own `poll_` methods.
    Opaque,
}

impl Default for FileEnd {
    fn default() -> Self {
        FileEnd::Settling(Settling::default())
    }
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

/// Where the next bytes of a source are, as far as a flow has to know.
enum Look {
    At {
        fd: RawFd,
        limit: u64,
        step_limit: u64,
    },
    Opaque {
        limit: u64,
    },
    EndOfLink,
    NotBefore(Instant),
    /// In a buffer. They have gone from there.
    Stepped(Step),
}

impl Flow {
    pub(crate) fn new(options: Options, then: Then) -> Flow {
        Flow {
            transfer: Transfer::new(options),
            away: None,
            source_file: FileEnd::default(),
            sink_file: FileEnd::default(),
            is_by_hand: false,
            place: Place::default(),
            phase: Phase::Copying,
            then,
            left: u64::MAX,
            most_in_flight: u64::MAX,
            headroom: Headroom::default(),
            delivered: 0,
            is_unflushed: true,
            is_nowhere: false,
            trusts_short_reads: false,
            is_unsure: false,
            must_look: Cell::new(false),
            coalesces: false,
            gathers: false,
            gained: 0,
            waits: Waits::No,
            from: None,
            to: None,
        }
    }

    /// Readies it for more polls, after the owner of the ends has had them.
    pub(crate) fn begin(&mut self) {
        self.is_unflushed = true;
        (self.source_file, self.sink_file) = Default::default();
        self.headroom = Headroom::default();
        self.transfer.park();
    }

    /// Readies it for other ends, with what is in flight.
    pub(crate) fn restart(&mut self) {
        self.transfer.restart();
        (self.place, self.phase, self.waits) = (Place::default(), Phase::Copying, Waits::No);
        self.delivered = 0;
        (self.from, self.to) = (None, None);
    }

    /// How many bytes have been taken and not delivered.
    pub(crate) fn in_flight(&self) -> usize {
        self.away.as_ref().map_or_else(|| self.transfer.in_flight(), |away| away.in_flight)
    }

    pub(crate) fn transfer_mut(&mut self) -> &mut Transfer {
        &mut self.transfer
    }

    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// How many bytes the sink has been given.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// The descriptors of source and sink, if it knows them.
    pub(crate) fn descriptors(&self) -> (Option<RawFd>, Option<RawFd>) {
        (self.from, self.to)
    }

    /// Whether there may be bytes that nobody will be woken for.
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
        self.left = 0;
    }

    /// The same, and the end is not passed on: the source has been reset.
    pub(crate) fn cut_off(&mut self) {
        self.cut();
        self.then = Then::Flush;
    }

    /// Moves at most about `turn` bytes. Pending, it has seen to it that the task is woken, unless it waits
    /// [until](Waits::Until) a time.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        turn: u64,
    ) -> Poll<Result<(), Failure>> {
        self.waits = Waits::No;
        if take_part(cx).is_pending() {
            return Poll::Pending;
        }
        let outcome = self.run(cx, source, sink, turn);
        if outcome.is_pending() && self.waits == Waits::ForSource {
            self.gathers = self.coalesces && self.gained >= BULK && self.left >= GATHERED;
            // It is looked at when the delay is over, since fewer bytes wake nobody.
            self.is_unsure |= self.gathers;
            self.gained = 0;
        } else {
            self.gathers = false;
        }
        let has_had_its_turn = outcome.is_pending() && self.waits == Waits::No;
        // Over a yield, which is short, only an empty pipe is given back, or any that others could use.
        let is_scarce = zc_linux::pool::lent() > zc_linux::pool::MAX_LENT / 2;
        if !has_had_its_turn || self.transfer.in_flight() == 0 || is_scarce {
            self.transfer.park();
        }
        outcome
    }

    fn run(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        mut turn: u64,
    ) -> Poll<Result<(), Failure>> {
        // The last of a turn is left: a small piece costs as many calls as a large one.
        let least = turn / 8;
        loop {
            match self.phase {
                Phase::Copying => ready!(self.copy(cx, source, sink, (&mut turn, least)))?,
                Phase::Ending => {
                    ready!(self.flush(cx, sink))?;
                    self.transfer.park();
                    (self.source_file, self.sink_file) = Default::default();
                    self.phase = match self.then {
                        Then::Flush => Phase::Done,
                        Then::ShutDown => Phase::ShuttingDown,
                    };
                }
                Phase::ShuttingDown => {
                    self.waits = Waits::ForSink;
                    match ready!(Pin::new(&mut *sink).poll_shutdown(cx)) {
                        // The connection is gone altogether: nobody is left to be told.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            let failure = Failure::new(Side::Sink, Operation::Shutdown, error);
                            return Poll::Ready(Err(failure));
                        }
                        _ => self.phase = Phase::Done,
                    }
                    self.waits = Waits::No;
                }
                Phase::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Copies until the source has ended and all is delivered.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        (turn, least): (&mut u64, u64),
    ) -> Poll<Result<(), Failure>> {
        loop {
            if *turn <= least {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let step = match self.step(cx, source, sink, *turn) {
                Poll::Ready(step) => step?,
                Poll::Pending => {
                    if self.waits != Waits::ForSink {
                        self.flush_meanwhile(cx, sink)?;
                    }
                    return Poll::Pending;
                }
            };
            // It may do more with them than copy them.
            let times = if std::mem::take(&mut self.is_by_hand) { BY_HAND } else { 1 };
            let cost = step.taken.max(step.delivered).max(STEP).saturating_mul(times);
            *turn = turn.saturating_sub(cost);
            self.left = if self.left == u64::MAX {
                u64::MAX
            } else {
                self.left - step.taken.min(self.left)
            };
            self.delivered += step.delivered;
            self.gained += step.taken;
            match step.next {
                // After a "not now", the wait is the next step's.
                Next::Again | Next::WantRead { .. } | Next::WantWrite => {}
                Next::Ended => {
                    self.phase = Phase::Ending;
                    return Poll::Ready(Ok(()));
                }
                Next::FlushSink => {
                    ready!(self.flush(cx, sink))?;
                    self.transfer.flushed();
                }
                Next::Failed(error) => return Poll::Ready(Err(error.into())),
                Next::ReadSource(_) | Next::WriteSink | Next::NotBefore(_) => {
                    unreachable!("done by the step")
                }
            }
        }
    }

    fn flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<(), Failure>> {
        self.waits = Waits::ForSink;
        let flushed = ready!(Pin::new(sink).poll_flush(cx));
        flushed.map_err(|error| Failure::new(Side::Sink, Operation::Flush, error))?;
        (self.waits, self.is_unflushed) = (Waits::No, false);
        Poll::Ready(Ok(()))
    }

    /// The source has stalled: what the sink holds back must not wait for it (tokio-rs/tokio#4001).
    fn flush_meanwhile(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Result<(), Failure> {
        if self.is_unflushed {
            let waits = self.waits;
            // Pending, the sink wakes the task, too, and the next poll comes by here again.
            if let Poll::Ready(flushed) = self.flush(cx, sink) {
                flushed?;
            }
            self.waits = waits;
        }
        Ok(())
    }

    /// One step, when the ends are ready for it.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        turn: u64,
    ) -> Poll<Result<Step, Failure>> {
        if self.away.is_some() {
            return self.come_back(cx, source, sink);
        }
        let (to, Manner { holds_back, is_nowhere }) = look_at_sink(sink);
        (self.to, self.is_nowhere) = (to, is_nowhere);
        let (to, past) = ready!(self.settle_sink(cx, sink, to))?;
        if past.is_some() && holds_back && self.is_unflushed {
            ready!(self.flush(cx, sink))?;
        }
        if past.is_some() && self.transfer.in_flight() > 0 {
            self.leave(None, past, true, false);
            return Poll::Ready(Ok(Step::idle(Next::Again)));
        }
        if self.transfer.in_flight() > 0 {
            let step = ready!(self.step_flat(cx, source, None, sink, (to, holds_back), turn))?;
            return self.finish_step(cx, step, source, sink);
        }
        if self.left == 0 {
            return Poll::Ready(Ok(Step::idle(Next::Ended)));
        }
        let mut budget = turn.min(self.left).min(self.most_in_flight);
        // A file takes all that it is given.
        if past.is_none() {
            let to = to.and_then(|fd| sink.write_ready(fd)).map(Registered::poll_fd);
            budget = budget.min(self.headroom.most(to));
        }
        let (look, last) = ready!(self.look_at_source(
            cx,
            source,
            sink,
            (to, holds_back, past.is_some()),
            budget
        ))?;
        let step = match look {
            Look::EndOfLink => Step::idle(Next::Ended),
            Look::NotBefore(time) => {
                self.waits = Waits::Until(time);
                return Poll::Pending;
            }
            Look::Opaque { limit } => Step::idle(Next::ReadSource(limit.min(budget))),
            Look::At { fd, limit, step_limit } => {
                let budget = budget.min(step_limit);
                self.from = Some(fd);
                match ready!(self.settle_source(cx, source, fd))? {
                    // Between a file and another one call does both.
                    Some(Some(file)) => {
                        let to = to.and_then(|fd| sink.write_ready(fd));
                        let splices = to.is_some_and(|to| to.poll_fd().is_socket());
                        self.leave(Some((file, limit.min(budget))), past, last, splices);
                        Step::idle(Next::Again)
                    }
                    Some(None) => Step::idle(Next::ReadSource(limit.min(budget))),
                    None => {
                        let from = Some((fd, limit));
                        ready!(self.step_flat(cx, source, from, sink, (to, holds_back), budget))?
                    }
                }
            }
            Look::Stepped(step) => step,
        };
        if matches!(step.next, Next::Ended) && !last {
            self.place = self.place.next_link();
            return Poll::Ready(Ok(Step { next: Next::Again, ..step }));
        }
        self.finish_step(cx, step, source, sink)
    }

    /// The sink's descriptor, unless it is a file; and the file, once it can be gone past.
    #[allow(clippy::type_complexity)]
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
        to: Option<RawFd>,
    ) -> Poll<Result<(Option<RawFd>, Option<Past>), Failure>> {
        let end = to.and_then(|fd| sink.write_ready(fd));
        if !end.is_some_and(Registered::is_file) {
            return Poll::Ready(Ok((to, None)));
        }
        if let FileEnd::Settling(settling) = &mut self.sink_file {
            self.waits = Waits::ForSink;
            let failed = |error| Failure::new(Side::Sink, Operation::Write, error);
            let is_settled = ready!(sink.settle_sink(cx, settling)).map_err(failed)?;
            let end = to.filter(|_| is_settled).and_then(|fd| sink.write_ready(fd));
            self.sink_file = past(end).map_err(failed)?;
            // Each half of a step is made in a place of its own.
            self.transfer.options_mut().half_steps = true;
            self.waits = Waits::No;
        }
        match &self.sink_file {
            FileEnd::Settled(file) => Poll::Ready(Ok((to, Some(Past::clone(file))))),
            _ => Poll::Ready(Ok((None, None))),
        }
    }

    /// The source's file, once it can be gone past. `Some(None)`: it cannot. `None`: it is no file.
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        fd: RawFd,
    ) -> Poll<Result<Option<Option<Past>>, Failure>> {
        if !source.read_ready(fd).is_some_and(Registered::is_file) {
            return Poll::Ready(Ok(None));
        }
        if let FileEnd::Settling(settling) = &mut self.source_file {
            self.waits = Waits::ForSource;
            let failed = |error| Failure::new(Side::Source, Operation::Read, error);
            let is_settled = ready!(source.settle_source(cx, settling)).map_err(failed)?;
            let end = if is_settled { source.read_ready(fd) } else { None };
            self.source_file = past(end).map_err(failed)?;
            self.waits = Waits::No;
        }
        Poll::Ready(Ok(Some(match &self.source_file {
            FileEnd::Settled(file) => Some(Past::clone(file)),
            _ => None,
        })))
    }

    /// Has a step made elsewhere.
    fn leave(&mut self, from: Option<(Past, u64)>, to: Option<Past>, last: bool, splices: bool) {
        let transfer = std::mem::take(&mut self.transfer);
        self.away = Some(Away::start(transfer, from, to, last, splices));
    }

    /// Waits for the step that is made elsewhere, and tells the layers what it did.
    fn come_back(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        let away = self.away.as_mut().expect("the caller has looked");
        self.waits = if away.takes { Waits::ForSource } else { Waits::ForSink };
        let back = ready!(away.poll(cx));
        let (last, delivers) = (away.last, away.delivers);
        (self.away, self.waits) = (None, Waits::No);
        let (transfer, step) = back?;
        self.transfer = transfer;
        self.headroom.saw(&step);
        if step.taken > 0 {
            let told = walk_source::<TokioIo>(source, self.place, &mut |_| step.taken);
            debug_assert!(told.is_ok(), "a descriptor is no buffer");
        }
        if delivers {
            tell_sink(sink, step.delivered);
        }
        let step = match step.next {
            Next::Ended if !last => {
                self.place = self.place.next_link();
                Step { next: Next::Again, ..step }
            }
            // Nobody tells when a file has more.
            Next::WantRead { .. } | Next::WantWrite => {
                let error = io::Error::other("a file is not ready");
                let error = zc_core::driver::StepError::new("read", error);
                Step { next: Next::Failed(error), ..step }
            }
            _ => step,
        };
        self.finish_step(cx, step, source, sink)
    }

    /// Does what only the source's own `poll_read` and the sink's own `poll_write` can.
    fn finish_step(
        &mut self,
        cx: &mut Context<'_>,
        step: Step,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        match step.next {
            Next::ReadSource(most) => self.read(cx, most, source),
            Next::WriteSink => self.write(cx, &mut FlatSource::nowhere(), sink),
            _ => Poll::Ready(Ok(step)),
        }
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        most: u64,
        source: &mut dyn AsyncSource,
    ) -> Poll<Result<Step, Failure>> {
        let mut is_pending = false;
        self.is_by_hand = true;
        let step = self.transfer.read_with(most, |room| {
            let mut room = ReadBuf::new(room);
            match Pin::new(&mut *source).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) => Ok(room.filled().len()),
                Poll::Ready(Err(error)) => Err(no_would_block(error)),
                Poll::Pending => {
                    is_pending = true;
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        });
        if is_pending {
            self.waits = Waits::ForSource;
            return Poll::Pending;
        }
        Poll::Ready(Ok(step))
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut FlatSource<'_>,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        let mut is_pending = false;
        self.is_by_hand = true;
        let step = self.transfer.write_with::<TokioIo>(source, |bytes| {
            match Pin::new(&mut *sink).poll_write(cx, bytes) {
                Poll::Ready(answer) => answer.map_err(no_would_block),
                Poll::Pending => {
                    is_pending = true;
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        });
        if is_pending {
            self.waits = Waits::ForSink;
            return Poll::Pending;
        }
        self.is_unflushed |= step.delivered > 0;
        Poll::Ready(Ok(step))
    }
}

impl Flow {
    /// Finds where the source's next bytes are, at most `budget` of them; and whether no link of a chain comes
    /// after. Bytes in a buffer are delivered at once.
    fn look_at_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
        (to, holds_back, is_file): (Option<RawFd>, bool, bool),
        budget: u64,
    ) -> Poll<Result<(Look, bool), Failure>> {
        let mut found = None;
        let walked = walk_source::<TokioIo>(source, self.place, &mut |reach| {
            let Reach { bottom, limit, step_limit, not_before, last } = reach;
            let budget = budget.min(step_limit);
            let look = match bottom {
                Bottom::Spent => Look::EndOfLink,
                _ if limit == 0 => Look::EndOfLink,
                _ if not_before.is_some_and(|time| now() < time) => {
                    Look::NotBefore(not_before.expect("just seen"))
                }
                Bottom::Opaque => Look::Opaque { limit: limit.min(budget) },
                Bottom::Fd(end) if end.offset.is_some() => {
                    Look::Opaque { limit: limit.min(budget) }
                }
                Bottom::Fd(end) => Look::At { fd: end.fd.fd().as_raw_fd(), limit, step_limit },
                // A file's writes are made elsewhere, and with a copy.
                Bottom::Buffered(mut bytes) if is_file => {
                    let read = |room: &mut [u8]| std::io::Read::read(&mut bytes, room);
                    Look::Stepped(self.transfer.read_with(limit.min(budget), read))
                }
                Bottom::Buffered(bytes) => {
                    let most = usize::try_from(budget).map_or(bytes.len(), |n| n.min(bytes.len()));
                    let flat = FlatSource { from: From::Bytes(&bytes[..most]), limit: budget };
                    match self.give(cx, flat, sink, (to, holds_back)) {
                        Poll::Ready(Ok(step)) => Look::Stepped(step),
                        Poll::Ready(Err(failure)) => {
                            found = Some(Poll::Ready(Err(failure)));
                            return 0;
                        }
                        Poll::Pending => {
                            found = Some(Poll::Pending);
                            return 0;
                        }
                    }
                }
            };
            let taken = if let Look::Stepped(step) = &look { step.taken } else { 0 };
            found = Some(Poll::Ready(Ok((look, last))));
            taken
        });
        let (look, last) = ready!(found.expect("a walk shows one bottom"))?;
        let step = match (look, walked) {
            (look, Ok(())) => return Poll::Ready(Ok((look, last))),
            // A layer's error comes after what the step did.
            (Look::Stepped(step), Err(error)) => Step { next: Next::Failed(error), ..step },
            (_, Err(error)) => Step::failed(error),
        };
        Poll::Ready(Ok((Look::Stepped(step), last)))
    }

    /// Gives the sink bytes that lie in a layer's buffer.
    fn give(
        &mut self,
        cx: &mut Context<'_>,
        mut source: FlatSource<'_>,
        sink: &mut dyn AsyncSink,
        (to, holds_back): (Option<RawFd>, bool),
    ) -> Poll<Result<Step, Failure>> {
        let Some(to) = to.and_then(|fd| sink.write_ready(fd)) else {
            return self.write(cx, &mut source, sink);
        };
        ready!(self.poll_ready(cx, to, Side::Sink))?;
        let step = self.sampled(None, Some(to), source, holds_back, u64::MAX);
        tell_sink(sink, step.delivered);
        Poll::Ready(Ok(step))
    }

    /// A step from the descriptor `from`, or with what is in flight, to the descriptor `to`.
    fn step_flat(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        from: Option<(RawFd, u64)>,
        sink: &mut dyn AsyncSink,
        (to, holds_back): (Option<RawFd>, bool),
        budget: u64,
    ) -> Poll<Result<Step, Failure>> {
        let (mut flat, mut read_end) = (FlatSource::nowhere(), None);
        if let Some((fd, limit)) = from {
            let Some(end) = source.read_ready(fd) else {
                // No way to wait for it but its own `poll_read`.
                return Poll::Ready(Ok(Step::idle(Next::ReadSource(limit.min(budget)))));
            };
            flat = FlatSource { from: From::Fd(end.poll_fd()), limit };
            read_end = Some(end);
            let is_ready = self.poll_ready(cx, end, Side::Source)?;
            if is_ready.is_pending() {
                if !self.must_look.take() {
                    return Poll::Pending;
                }
                // Tokio knows of no readiness that could be forgotten.
                (read_end, self.waits) = (None, Waits::No);
            }
        }
        let write_end = to.and_then(|fd| sink.write_ready(fd));
        if let Some(end) = write_end {
            ready!(self.poll_ready(cx, end, Side::Sink))?;
        }
        let step = self.sampled(read_end, write_end, flat, holds_back, budget);
        self.headroom.saw(&step);
        // A hidden end's owner is asked to wait for it.
        let step = match step.next {
            Next::WantRead { .. } if read_end.is_some_and(Registered::is_hidden) => {
                let limit = from.map_or(0, |(_, limit)| limit);
                Step { next: Next::ReadSource(limit.min(budget).min(BY_OWNER)), ..step }
            }
            Next::WantWrite if write_end.is_some_and(Registered::is_hidden) => {
                Step { next: Next::WriteSink, ..step }
            }
            _ => step,
        };
        if from.is_some() {
            match step.next {
                Next::WantRead { .. } => self.is_unsure = false,
                _ if read_end.is_none() => self.look(),
                _ => self.is_unsure |= self.trusts_short_reads && step.drained,
            }
        }
        if step.taken > 0 {
            let told = walk_source::<TokioIo>(source, self.place, &mut |_| step.taken);
            debug_assert!(told.is_ok(), "a descriptor is no buffer");
        }
        if write_end.is_some() || self.is_nowhere {
            tell_sink(sink, step.delivered);
        }
        Poll::Ready(Ok(step))
    }

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        end: Registered<'_>,
        side: Side,
    ) -> Poll<Result<(), Failure>> {
        let (waits, operation) = match side {
            Side::Source => (Waits::ForSource, Operation::Read),
            Side::Sink => (Waits::ForSink, Operation::Write),
        };
        match end.poll_ready(side, cx) {
            Poll::Pending => {
                self.waits = waits;
                Poll::Pending
            }
            Poll::Ready(answer) => {
                Poll::Ready(answer.map_err(|error| Failure::new(side, operation, error)))
            }
        }
    }

    /// One step, with the readiness of both descriptors noted before it, and forgotten where the step's own
    /// call has answered "not now".
    fn sampled(
        &mut self,
        read_end: Option<Registered<'_>>,
        write_end: Option<Registered<'_>>,
        mut source: FlatSource<'_>,
        holds_back: bool,
        budget: u64,
    ) -> Step {
        let is_nowhere = self.is_nowhere;
        let mut sink = FlatSink { to: write_end.map(Registered::poll_fd), holds_back, is_nowhere };
        let (transfer, trusts) = (&mut self.transfer, self.trusts_short_reads);
        let mut step = None;
        let mut take = || {
            let stepped = transfer.step::<TokioIo>(&mut source, &mut sink, budget);
            let forgets = (
                matches!(stepped.next, Next::WantRead { .. }) || trusts && stepped.drained,
                matches!(stepped.next, Next::WantWrite),
            );
            step = Some(stepped);
            forgets
        };
        let mut read = || {
            let Some(end) = read_end else { return take().1 };
            let mut sink_is_full = false;
            end.try_io(Side::Source, &mut || {
                let (source_is_empty, is_full) = take();
                sink_is_full = is_full;
                not_now_if(source_is_empty)
            });
            sink_is_full
        };
        match write_end {
            Some(end) => end.try_io(Side::Sink, &mut || not_now_if(read())),
            None => {
                read();
            }
        }
        // Without a step, one of the two was not ready after all. It is asked again.
        step.unwrap_or_else(|| Step::idle(Next::Again))
    }
}

/// The file behind `end`, which has settled.
fn past(end: Option<Registered<'_>>) -> io::Result<FileEnd> {
    Ok(match end {
        Some(end) => FileEnd::Settled(Past::new(end.poll_fd().fd().try_clone_to_owned()?.into())),
        None => FileEnd::Opaque,
    })
}

fn not_now_if(is_so: bool) -> io::Result<()> {
    if is_so { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

/// The sink's descriptor, and how else it takes bytes.
fn look_at_sink(sink: &mut dyn AsyncSink) -> (Option<RawFd>, Manner) {
    let mut found = (None, Manner::default());
    walk_sink::<TokioIo>(sink, &Cell::new(0), &mut |end, manner| {
        // tokio knows of no descriptor that has an offset.
        let end = end.filter(|end| end.offset.is_none());
        found = (end.map(|end| end.fd.fd().as_raw_fd()), manner);
    });
    if found.0.is_some_and(|fd| sink.write_ready(fd).is_none()) {
        found.0 = None;
    }
    found
}

fn tell_sink(sink: &mut dyn AsyncSink, delivered: u64) {
    if delivered > 0 {
        walk_sink::<TokioIo>(sink, &Cell::new(delivered), &mut |_, _| {});
    }
}

/// By tokio's clock, which tests pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// From a `poll_` method that has not been pending. It has woken nobody, so it must not be waited for.
fn no_would_block(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::Error::other(error) } else { error }
}

/// Takes a share of what the task may do before others have their turn, for copies between ends that
/// themselves take none. (Without tokio's `rt` there is no other way to it than a source that does.)
fn take_part(cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut tokio::io::empty()).poll_read(cx, &mut ReadBuf::new(&mut []))
}
