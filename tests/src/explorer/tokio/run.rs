//! One run of one scenario under one schedule, and what has to hold in it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use zc_core::Side;
use zc_std::hook::{Call, Syscall};
use zc_std::pool;
use zc_tokio::{Copier, Error, Options, Relay};

use super::ends::{self, Pair, Way};
use super::scenario::{
    AHEAD, BEHIND, BYTES, Drops, EndKind, Ends, LIMITS, Scenario, Setup, SinkKind, SourceKind,
};
use crate::explorer::audit::would_wait;
use crate::explorer::census::Census;
use crate::explorer::{Faults, Misbehaviour, Rng, errno};
use crate::fds::bytes_waiting;

/// A scenario that can be run again and again: a subject for an [`Explorer`](crate::explorer::Explorer).
///
/// After every poll it checks that what has arrived is the beginning of what was sent, that no end came before the
/// last byte, and that the counts are right. Whenever the future is dropped, it checks that what has left the source
/// is delivered or in flight. At the end every byte has to be there, and the ends. No descriptor may be left, and the
/// idle pipes of the pool have to be empty. An error needs a fault as its reason, and right counts.
#[derive(Debug)]
pub struct Trial {
    scenario: Scenario,
    there: Vec<u8>,
    back: Vec<u8>,
}

thread_local! {
    /// The runtime's clock is stopped, and moved by hand.
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

impl Trial {
    /// Readies `scenario`.
    pub fn new(scenario: Scenario) -> Trial {
        // No two windows of these bytes are alike, so that every mistake in their order shows.
        let mut rng = Rng::new(0x7a63);
        let mut bytes = |n| -> Vec<u8> {
            std::iter::repeat_with(|| rng.number().to_le_bytes()).flatten().take(n).collect()
        };
        let (there, back) = (bytes(BYTES.0), bytes(BYTES.1));
        Trial { scenario, there, back }
    }

    /// Runs the scenario once.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn run(&self, faults: &Faults) -> Result<(), String> {
        RUNTIME.with_borrow_mut(|runtime| {
            let runtime = runtime.get_or_insert_with(|| {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_all().start_paused(true).build().expect("a runtime")
            });
            // Whether a pipe is made must not depend on the run before.
            pool::clear();
            let before = Census::take();
            runtime.block_on(async {
                match self.scenario.ends {
                    Ends::Relay(a, b) => self.relay(a, b, faults).await,
                    Ends::Copy(from, to) => self.copy(from, to, faults).await,
                }
            })?;
            leaves_nothing(&before)
        })
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        options.adaptive = self.scenario.adaptive;
        options.pipe_size = 8192;
        match self.scenario.setup {
            Setup::Plain | Setup::Tight => {}
            Setup::Timed => {
                options.idle_timeout = Some(Duration::from_secs(3600));
                options.half_close_timeout = Some(Duration::from_secs(3600));
                options.write_timeout = Some(Duration::from_secs(3600));
            }
            Setup::Coalescing => options.coalesce = Some(Duration::from_millis(1)),
            Setup::Limited => {
                options.limits = (LIMITS.0 as u64, LIMITS.1 as u64);
                options.budget = 5000;
                options.max_in_flight = 3000;
            }
        }
        options
    }

    /// How many of `all` bytes a limit lets through.
    fn let_through(&self, all: usize, limit: usize) -> usize {
        if self.scenario.setup == Setup::Limited { all.min(limit) } else { all }
    }

    async fn relay(&self, a: EndKind, b: EndKind, faults: &Faults) -> Result<(), String> {
        let tight = self.scenario.setup == Setup::Tight;
        let (mut a_end, a_pair) = ends::end(a, tight, &self.there).map_err(harness)?;
        let (mut b_end, b_pair) = ends::end(b, tight, &self.back).map_err(harness)?;
        let expected = [self.let_through(BYTES.0, LIMITS.0), self.let_through(BYTES.1, LIMITS.1)];
        let ahead = |kind| if kind == EndKind::Rewound { AHEAD } else { 0 };
        let mut stage = Stage {
            pairs: [a_pair, b_pair],
            ways: vec![
                (0, 1, Way::new(&self.there, ahead(a), expected[0])),
                (1, 0, Way::new(&self.back, ahead(b), expected[1])),
            ],
            stops: 0,
            still: 0,
            lies: 0,
            has_tcp: a == EndKind::Tcp || b == EndKind::Tcp,
            faults,
        };
        let sources = [stage.pairs[0].number, stage.pairs[1].number];
        faults.forbid(move |call: &Call, fault| {
            // The end would be passed on, and the bytes behind it would come after that.
            let reads =
                call.syscall == Syscall::Read && call.from.is_some_and(|fd| sources.contains(&fd));
            reads && fault == Misbehaviour::Zero
        });
        stage.feed_half().map_err(harness)?;
        let exact = [a, b]
            .iter()
            .all(|kind| matches!(kind, EndKind::Unix | EndKind::Tcp | EndKind::Opaque));
        let mut relay = Relay::with_options(self.options());
        let mut drops = Dropping::new(self.scenario.drops);
        let mut errors = 0;
        loop {
            let fired = faults.fired();
            let outcome = stage.poll(relay.run(&mut a_end, &mut b_end), drops.polls()).await?;
            let (counts, in_flight) = (relay.counts(), relay.in_flight());
            if exact {
                stage.balances(0, counts.0, in_flight.0)?;
                stage.balances(1, counts.1, in_flight.1)?;
            }
            match outcome {
                None => {}
                Some(Ok(returned)) => {
                    check(returned == counts, || format!("{returned:?}, not {counts:?}"))?;
                    break;
                }
                Some(Err(error)) => {
                    check_error(&error, counts, faults.fired() > fired)?;
                    stage.has_to_fail(&error)?;
                    if is_final(&error, |_| true) {
                        let again =
                            stage.poll(relay.run(&mut a_end, &mut b_end), drops.polls()).await?;
                        return stays(&error, &again.map(|again| again.map(drop)));
                    }
                    errors += 1;
                    check(errors <= faults.fired(), || format!("fails again: {error}"))?;
                    stage.act()?;
                }
            }
        }
        let counts = relay.counts();
        let all = (expected[0] as u64, expected[1] as u64);
        check(counts == all, || format!("{counts:?} of {all:?} bytes relayed"))?;
        stage.finish(true)
    }

    async fn copy(&self, from: SourceKind, to: SinkKind, faults: &Faults) -> Result<(), String> {
        let tight = self.scenario.setup == Setup::Tight;
        let (mut source, from_pair, ahead) = ends::source(from, &self.there).map_err(harness)?;
        let (mut sink, to_pair) = ends::sink(to, tight).map_err(harness)?;
        let all = if from == SourceKind::Take { BYTES.0 - BEHIND } else { BYTES.0 };
        let expected = self.let_through(all, LIMITS.0);
        let number = from_pair.number;
        let mut stage = Stage {
            pairs: [from_pair, to_pair],
            ways: vec![(0, 1, Way::new(&self.there, ahead, expected))],
            stops: 0,
            still: 0,
            lies: 0,
            has_tcp: from == SourceKind::Tcp || to == SinkKind::Tcp,
            faults,
        };
        faults.forbid(move |call: &Call, fault| match fault {
            // A chain would then have ended for good; and a limit counts for one run.
            Misbehaviour::Zero => call.syscall == Syscall::Read && call.from == Some(number),
            // The kernel cannot be made to tell again that a pipe can be read.
            Misbehaviour::Fail(errno::EAGAIN) | Misbehaviour::Answer(0) => {
                from == SourceKind::Pipe && call.from == Some(number)
            }
            _ => false,
        });
        stage.feed_half().map_err(harness)?;
        let exact = !matches!(from, SourceKind::Buffered | SourceKind::Chain | SourceKind::Rewound)
            && to != SinkKind::Buffered;
        let from_socket = from != SourceKind::Pipe;
        let mut copier = Copier::with_options(self.options());
        let mut drops = Dropping::new(self.scenario.drops);
        let mut errors = 0;
        loop {
            let fired = faults.fired();
            let outcome = stage.poll(copier.run(&mut source, &mut sink), drops.polls()).await?;
            let count = copier.count();
            if exact {
                stage.balances(0, count, copier.in_flight())?;
            }
            match outcome {
                None => {}
                Some(Ok(returned)) => {
                    check(returned == count, || format!("{returned}, not {count}"))?;
                    break;
                }
                Some(Err(error)) => {
                    check_error(&error, (count, 0), faults.fired() > fired)?;
                    stage.has_to_fail(&error)?;
                    if is_final(&error, |side| from_socket && side == Side::Source) {
                        let again =
                            stage.poll(copier.run(&mut source, &mut sink), drops.polls()).await?;
                        return stays(&error, &again.map(|again| again.map(drop)));
                    }
                    errors += 1;
                    check(errors <= faults.fired(), || format!("fails again: {error}"))?;
                    stage.act()?;
                }
            }
        }
        let count = copier.count();
        check(count == expected as u64, || format!("{count} of {expected} bytes copied"))?;
        stage.finish(false)
    }
}

/// An error outside the copy. It is not the driver's, but the run is none.
#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn harness(error: io::Error) -> String {
    format!("the harness itself failed: {error}")
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn check_error(error: &Error, counts: (u64, u64), has_reason: bool) -> Result<(), String> {
    check(has_reason, || format!("failed with nothing injected: {error}"))?;
    check(error.counts() == counts, || {
        format!("{error} says {:?}, and the counts are {counts:?}", error.counts())
    })?;
    check(!error.is_timeout(), || format!("no time has passed: {error}"))
}

/// Whether a connection has been reset, or is lost otherwise, which is final.
fn is_final(error: &Error, is_read_from: impl FnOnce(Side) -> bool) -> bool {
    let is_lost = error.kind() == io::ErrorKind::TimedOut && error.side().is_some_and(is_read_from);
    error.end().is_some() && (error.kind() == io::ErrorKind::ConnectionReset || is_lost)
}

/// The next run, which moves nothing, must not take the broken connection for one that ended.
fn stays(error: &Error, again: &Option<Result<(), Error>>) -> Result<(), String> {
    let is_so = matches!(&again, Some(Err(again))
        if again.end() == error.end() && again.kind() == error.kind() && again.counts() == error.counts());
    check(is_so, || format!("{error}, and then {again:?}"))
}

fn leaves_nothing(before: &Census) -> Result<(), String> {
    check(pool::in_use() == 0, || format!("{} pipes are still lent out", pool::in_use()))?;
    let (idle, closed) = before.changes();
    check(idle.len() == 2 * pool::idle() && closed.is_empty(), || {
        format!("{idle:?} are open, {closed:?} closed, with {} pipes in the pool", pool::idle())
    })?;
    for fd in idle {
        let level = bytes_waiting(fd).map_err(|errno| harness(errno.into()))?;
        check(level == 0, || format!("there are {level} bytes in pipe {fd} of the pool"))?;
    }
    Ok(())
}

/// After how many polls a future is dropped.
struct Dropping(Drops, Rng);

impl Dropping {
    fn new(drops: Drops) -> Self {
        let seed = if let Drops::Now(seed) = drops { seed } else { 0 };
        Dropping(drops, Rng::new(seed))
    }

    fn polls(&mut self) -> usize {
        match self.0 {
            Drops::Never => usize::MAX,
            Drops::AfterEveryPoll => 1,
            Drops::Now(_) => 1 + self.1.below(4),
        }
    }
}

/// How many polls without progress there are before the kernel is made to tell again, before the clock is moved, and
/// before the run fails.
const LIE: usize = 3;
const TICK: usize = 6;
const STANDSTILL: usize = 12;

/// … where loopback may need time: each of these polls sleeps a millisecond.
const PATIENCE: usize = 1000;

/// Longer than a relay trusts a short read, and longer than it coalesces.
const MOMENT: Duration = Duration::from_millis(60);

/// The ends and their peers.
struct Stage<'a> {
    pairs: [Pair; 2],
    /// For each direction, the pair that it comes from and the one that it goes to.
    ways: Vec<(usize, usize, Way<'a>)>,
    /// How often the copy has waited.
    stops: usize,
    /// How many polls in a row moved nothing.
    still: usize,
    /// Whether loopback may need time.
    has_tcp: bool,
    /// For how many injected EAGAINs the kernel has been made to tell again.
    lies: usize,
    faults: &'a Faults,
}

impl Stage<'_> {
    fn feed_half(&mut self) -> io::Result<()> {
        for (from, _, way) in &mut self.ways {
            let half = way.expected / 2;
            way.feed(&mut self.pairs[*from], half)?;
        }
        Ok(())
    }

    /// What the peers do whenever the copy waits: they read, feed the rest, and end.
    fn act(&mut self) -> Result<(), String> {
        for (from, to, way) in &mut self.ways {
            way.receive(&self.pairs[*to])?;
            if self.stops > 0 {
                way.feed_rest(&mut self.pairs[*from]).map_err(harness)?;
                way.end(&mut self.pairs[*from]).map_err(harness)?;
            }
        }
        self.stops += 1;
        Ok(())
    }

    /// Polls up to `polls` times, and then drops the future; `None` if it has not ended by then.
    async fn poll<F: Future>(
        &mut self,
        future: F,
        polls: usize,
    ) -> Result<Option<F::Output>, String> {
        let mut future = pin!(future);
        for _ in 0..polls {
            let before = self.moved();
            let armed = self.faults.arm();
            let polled = poll_once(future.as_mut()).await;
            drop(armed);
            if polled.is_some() {
                return Ok(polled);
            }
            self.act()?;
            self.wait(before).await?;
        }
        Ok(None)
    }

    fn moved(&self) -> usize {
        self.ways.iter().map(|(_, _, way)| way.arrived.len()).sum()
    }

    /// Lets the reactor look. Where nothing moves any more, makes the kernel tell again, or moves the clock.
    async fn wait(&mut self, before: usize) -> Result<(), String> {
        if self.moved() > before || self.stops <= 2 {
            self.still = 0;
        } else {
            self.still += 1;
        }
        if self.still >= LIE {
            let lies = self.lies_told();
            if lies > self.lies {
                (self.lies, self.still) = (lies, 0);
                for pair in &self.pairs {
                    pair.tell_again().map_err(harness)?;
                }
            }
        }
        match self.still {
            TICK => tokio::time::advance(MOMENT).await,
            PATIENCE.. => return Err("nothing moves any more".to_owned()),
            STANDSTILL.. if !self.has_tcp => return Err("nothing moves any more".to_owned()),
            STANDSTILL.. => std::thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// How many answers of "nothing there" were injected.
    fn lies_told(&self) -> usize {
        let trace = self.faults.trace();
        let lies = trace.iter().enumerate();
        lies.filter(|(n, record)| would_wait(record) && self.faults.injected(*n)).count()
    }

    /// Asserts that the copy fails for another reason than a wait. One exception: a pipe of its own that has bytes
    /// and is said to have none is not waited for.
    fn has_to_fail(&self, error: &Error) -> Result<(), String> {
        let ends: Vec<_> = self.pairs.iter().map(|pair| Some(pair.number)).collect();
        let last = self.faults.trace().into_iter().rfind(would_wait);
        let is_own_pipe = last.is_some_and(|last| {
            last.call.syscall == Syscall::Read && !ends.contains(&last.call.from)
        });
        check(error.kind() != io::ErrorKind::WouldBlock || is_own_pipe, || {
            format!("it has to wait: {error}")
        })
    }

    /// Asserts that what has left a source is delivered or in flight, and that what is delivered has arrived.
    fn balances(&mut self, way: usize, count: u64, in_flight: usize) -> Result<(), String> {
        let (from, to, way) = &mut self.ways[way];
        let count = usize::try_from(count).expect("few bytes");
        way.receive_all(&self.pairs[*to], count, false)?;
        let arrived = way.arrived.len();
        check(arrived == count, || format!("{count} bytes counted, {arrived} arrived"))?;
        let taken = way.taken(&self.pairs[*from]).map_err(harness)?;
        check(taken == count + in_flight, || {
            format!("{taken} bytes taken, {count} delivered, {in_flight} in flight")
        })
    }

    /// Asserts that every byte has arrived, and the end, if the sink is shut down.
    fn finish(&mut self, shut_down: bool) -> Result<(), String> {
        for (_, to, way) in &mut self.ways {
            way.receive_all(&self.pairs[*to], way.expected, shut_down)?;
        }
        Ok(())
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
