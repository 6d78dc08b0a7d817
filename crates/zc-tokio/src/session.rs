//! What a copy has beside its directions: a clock, and handles of other tasks.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use zc_core::Side;

use crate::error::Failure;
use crate::flow::{Flow, Slice, Waits};
use crate::rate::Rate;
use crate::timer::Timer;
use crate::{Direction, Error, Handle, Operation, Options, ResetPolicy, reset};

type Progress = Box<dyn FnMut(Direction, u64) + Send>;

/// The clock of a copy, and the handles of other tasks. What only some copies need is boxed: there is one of these
/// for each connection that is relayed.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) options: Options,
    handle: Option<Handle>,
    progress: Option<Progress>,
    /// Made when it is first looked at: an idle connection without a timeout does without.
    clock: Option<Box<Clock>>,
    /// What had been delivered at the end of the last poll, in each direction.
    counts: [u64; 2],
    /// How many directions had ended.
    ended: usize,
    /// A peer that has reset its connection. The kernel tells it once.
    reset: Option<(Direction, Side, i32)>,
    /// Whether it has been passed on.
    is_passed_on: bool,
}

/// What a copy knows of the time.
#[derive(Default)]
struct Clock {
    timer: Timer,
    /// When something moved or a direction ended; or else when the clock was first looked at.
    last: Option<Instant>,
    /// Since when each sink has taken nothing.
    blocked: [Option<Instant>; 2],
    /// Since when each source may have bytes that no edge tells of.
    unsure: [Option<Instant>; 2],
    /// How fast each source is, if that matters.
    rates: [Option<Rate>; 2],
    /// Until when a reset is to be passed on.
    passes_on_until: Option<Instant>,
}

/// How long bytes behind urgent data may wait, see [`Flow::is_unsure`].
const UNSURE: Duration = Duration::from_millis(50);

const DIRECTIONS: [Direction; 2] = [Direction::AToB, Direction::BToA];

impl Session {
    pub(crate) fn new(options: Options) -> Session {
        Session { options, ..Session::default() }
    }

    pub(crate) fn handle(&mut self) -> Handle {
        let counts = self.counts();
        self.handle.get_or_insert_with(|| Handle::new(counts)).clone()
    }

    pub(crate) fn on_progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Other ends: a new copy begins.
    pub(crate) fn rebind(&mut self) {
        (self.counts, self.ended) = ([0; 2], 0);
        (self.reset, self.is_passed_on) = (None, false);
        if let Some(handle) = &self.handle {
            handle.moved(self.counts(), Instant::now());
        }
        if let Some(clock) = &mut self.clock {
            let timer = std::mem::take(&mut clock.timer);
            **clock = Clock { timer, ..Clock::default() };
        }
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts[0], self.counts[1])
    }

    /// What one direction may use up in one poll.
    pub(crate) fn slice(&self) -> Slice {
        Slice::new(self.options.budget.max(1))
    }

    /// Before the directions are polled. `Err`: they need not be, since the copy is to stop.
    pub(crate) fn before(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if let Some(stopped) = self.stopped(cx) {
            return Err(stopped);
        }
        match self.reset {
            Some((direction, side, errno)) => Err(self.reset_by(direction, side, errno)),
            None => Ok(()),
        }
    }

    /// The error of a copy that is told to stop. Otherwise an abort wakes the task.
    fn stopped(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        let is_to_stop = self.handle.as_ref()?.is_to_stop(cx);
        is_to_stop.then(|| self.error(None, Failure::stopped(None, Operation::Abort)))
    }

    /// After the directions have been polled: takes note of what they did. Then, if they are pending, looks at the
    /// clock.
    pub(crate) fn after(&mut self, cx: &mut Context<'_>, flows: &[&Flow]) -> Poll<Error> {
        let is_timed = self.is_timed(flows);
        let has_moved = self.take_note(flows);
        let shows = has_moved && self.handle.is_some();
        let now = if is_timed || shows { self.clock(flows, has_moved) } else { None };
        if shows && let (Some(handle), Some(now)) = (&self.handle, now) {
            handle.moved(self.counts(), now);
        }
        if is_timed { self.poll_deadlines(cx, flows) } else { Poll::Pending }
    }

    fn is_timed(&self, flows: &[&Flow]) -> bool {
        let Options { idle_timeout, half_close_timeout, write_timeout, coalesce, .. } =
            self.options;
        idle_timeout.or(half_close_timeout).or(write_timeout).or(coalesce).is_some()
            || self.options.min_rate.is_some()
            || flows.iter().any(|flow| matches!(flow.waits(), Waits::Until(_)))
    }

    /// Counts what was delivered, and calls `progress`. Whether there was any, or a direction ended.
    fn take_note(&mut self, flows: &[&Flow]) -> bool {
        let ended = flows.iter().filter(|flow| flow.is_done()).count();
        let mut has_moved = std::mem::replace(&mut self.ended, ended) != ended;
        for (direction, flow) in flows.iter().enumerate() {
            let more = flow.delivered() - self.counts[direction];
            if more > 0 {
                has_moved = true;
                self.counts[direction] += more;
                if let Some(clock) = &mut self.clock {
                    clock.blocked[direction] = None;
                }
                if let Some(progress) = &mut self.progress {
                    progress(DIRECTIONS[direction], more);
                }
            }
        }
        has_moved
    }

    /// Reads the clock, if something has begun or ended.
    fn clock(&mut self, flows: &[&Flow], has_moved: bool) -> Option<Instant> {
        let clock = self.clock.get_or_insert_default();
        let mut now = None;
        let mut read = || *now.get_or_insert_with(Instant::now);
        if has_moved || clock.last.is_none() {
            clock.last = Some(read());
        }
        for (blocked, flow) in clock.blocked.iter_mut().zip(flows) {
            *blocked = match (flow.waits_for_sink(), *blocked) {
                (true, None) if self.options.write_timeout.is_some() => Some(read()),
                (true, since) => since,
                (false, _) => None,
            };
        }
        for (since, flow) in clock.unsure.iter_mut().zip(flows) {
            // A timer that fires early now and then costs less than one that is set anew each time.
            *since = if flow.is_unsure() { Some(since.unwrap_or_else(&mut read)) } else { None };
        }
        now
    }

    /// Looks how fast the sources are. When that has to be looked at again at the latest; or the error of one that is
    /// too slow.
    fn look_at_rates(&mut self, flows: &[&Flow]) -> Result<Option<Instant>, Error> {
        let Some(min_rate) = self.options.min_rate else { return Ok(None) };
        let clock = self.clock.get_or_insert_default();
        let now = Instant::now();
        let mut first = None;
        for (n, flow) in flows.iter().enumerate() {
            let rate = &mut clock.rates[n];
            if rate.is_none() {
                *rate = Rate::new(min_rate, flow);
            }
            let Some(looked) = rate.as_mut().map(|rate| rate.look(flow, now)) else { continue };
            match looked {
                Ok(until) => first = first.into_iter().chain(until).min(),
                Err(failed) => {
                    // It may be run again, and then has as much time again.
                    clock.rates = [None, None];
                    return Err(self.error(Some(DIRECTIONS[n]), failed.into()));
                }
            }
        }
        Ok(first)
    }

    /// The future is gone. Until there is another one no source is waited for. That may be on another runtime, whose
    /// clock does not move this one's timer.
    pub(crate) fn rest(&mut self) {
        let Some(clock) = &mut self.clock else { return };
        clock.timer = Timer::default();
        if self.options.min_rate.is_some() {
            let now = Instant::now();
            clock.rates.iter_mut().flatten().for_each(|rate| rate.rest(now));
        }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>, flows: &[&Flow]) -> Poll<Error> {
        let slow = match self.look_at_rates(flows) {
            Ok(time) => time,
            Err(error) => return Poll::Ready(error),
        };
        // A timeout that is too long for the clock has no deadline.
        let after = |since: Option<Instant>, timeout| since?.checked_add(timeout?);
        let options = &self.options;
        let clock = self.clock.get_or_insert_default();
        let is_half = flows.len() == 2 && self.ended == 1;
        let half_close = options.half_close_timeout.filter(|_| is_half);
        let limits = [
            (None, None, Operation::IdleTimeout, after(clock.last, options.idle_timeout)),
            (None, None, Operation::HalfCloseTimeout, after(clock.last, half_close)),
            (
                Some(Direction::AToB),
                Some(Side::Sink),
                Operation::Write,
                after(clock.blocked[0], options.write_timeout),
            ),
            (
                Some(Direction::BToA),
                Some(Side::Sink),
                Operation::Write,
                after(clock.blocked[1], options.write_timeout),
            ),
        ];
        let due = limits
            .into_iter()
            .filter_map(|(direction, side, operation, due)| {
                Some((due?, (direction, side, operation)))
            })
            .min_by_key(|(due, _)| *due);
        let rate = flows
            .iter()
            .filter_map(|flow| match flow.waits() {
                Waits::Until(time) => Some(Instant::from_std(time)),
                _ => None,
            })
            .min();
        let delay = self.options.coalesce.map_or(UNSURE, |delay| delay.min(UNSURE));
        let unsure = clock.unsure.iter().flatten().filter_map(|since| since.checked_add(delay));
        let times = due.map(|(due, _)| due).into_iter().chain(rate).chain(unsure).chain(slow);
        let Some(first) = times.min() else {
            return Poll::Pending;
        };
        if clock.timer.poll(cx, first).is_pending() {
            return Poll::Pending;
        }
        match due {
            Some((due, (direction, side, operation))) if due == first => {
                // It may be run again, and then has as much time again.
                (clock.last, clock.blocked) = (None, [None; 2]);
                Poll::Ready(self.error(direction, Failure::stopped(side, operation)))
            }
            // The rate limit lets the next bytes through, or it is time to look at a source or its rate.
            _ => {
                for flow in flows.iter().filter(|flow| flow.is_unsure()) {
                    flow.look();
                }
                clock.unsure = [None; 2];
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// The error of a direction that stopped.
    pub(crate) fn error(&self, direction: Option<Direction>, failure: Failure) -> Error {
        let Failure { side, operation, error } = failure;
        let residues = (Vec::new(), Vec::new());
        Error { direction, side, operation, counts: self.counts(), residues, error }
    }

    /// The peer at `side` of `direction` has reset its connection.
    pub(crate) fn was_reset(
        &mut self,
        direction: Direction,
        side: Side,
        error: &io::Error,
    ) -> Error {
        let errno = errno_of(error);
        self.reset = Some((direction, side, errno));
        self.reset_by(direction, side, errno)
    }

    /// Takes note of `error` if it is a reset, or a connection that is lost otherwise: the kernel tells it once, and after
    /// that the connection looks like one that has ended. Every later run reports it again. It comes before any callback
    /// runs, which may panic. `may_be_connection`: a file, on a file system over a network, may be read again.
    pub(crate) fn remember(&mut self, error: &Error, may_be_connection: impl FnOnce() -> bool) {
        // EPIPE comes from a peer that had ended before it closed: what it sent is whole.
        let cuts_off = self.forwards() || error.kind() != io::ErrorKind::BrokenPipe;
        let is_reset = reset::is_reset(error) && cuts_off;
        if (is_reset || reset::is_lost(error) && may_be_connection())
            && let (Some(direction), Some(side)) = (error.direction(), error.side())
        {
            self.reset = Some((direction, side, errno_of(error.io_error())));
        }
    }

    /// Whether `error` is a reset that is to be passed on.
    pub(crate) fn passes_on(&self, error: &Error) -> bool {
        self.forwards() && !self.is_passed_on && reset::is_reset(error)
    }

    fn forwards(&self) -> bool {
        self.options.on_reset == ResetPolicy::Forward
    }

    /// It has been. (A future that is dropped before leaves it to the next run.)
    pub(crate) fn has_passed_on(&mut self) {
        self.is_passed_on = true;
    }

    /// Until when what was delivered may arrive before a reset is passed on: also if futures that wait for it are
    /// dropped. (A timeout that is too long for the clock is as good as the longest one.)
    pub(crate) fn passes_on_until(&mut self) -> Instant {
        const LONGEST: Duration = Duration::from_secs(86_400);
        let patience = self.options.write_timeout.unwrap_or(reset::PATIENCE).min(LONGEST);
        *self
            .clock
            .get_or_insert_default()
            .passes_on_until
            .get_or_insert_with(|| Instant::now() + patience)
    }

    /// Waits until what was delivered has `arrived`, and until then at the latest. `Some`: it is told to stop.
    pub(crate) async fn wait_for_arrival(
        &mut self,
        until: Instant,
        arrived: impl Future<Output = ()>,
    ) -> Option<Error> {
        let mut arrived = pin!(tokio::time::timeout_at(until, arrived));
        poll_fn(|cx| match self.stopped(cx) {
            Some(stopped) => Poll::Ready(Some(stopped)),
            None => arrived.as_mut().poll(cx).map(|_is_late| None),
        })
        .await
    }

    /// Whether a peer's reset has ended it for good.
    pub(crate) fn was_ended(&self) -> bool {
        self.reset.is_some()
    }

    /// Takes note of what the directions did without a look at the clock's deadlines.
    pub(crate) fn note(&mut self, flows: &[&Flow]) {
        if self.take_note(flows)
            && let Some(handle) = &self.handle
        {
            handle.moved(self.counts(), Instant::now());
        }
    }

    fn reset_by(&self, direction: Direction, side: Side, errno: i32) -> Error {
        let operation = match side {
            Side::Source => Operation::Read,
            Side::Sink => Operation::Write,
        };
        let error = io::Error::from_raw_os_error(errno);
        self.error(Some(direction), Failure::new(side, operation, error))
    }
}

fn errno_of(error: &io::Error) -> i32 {
    const ECONNRESET: i32 = 104;
    error.raw_os_error().unwrap_or(ECONNRESET)
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("options", &self.options)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
