//! One run of one scenario under one schedule, and what has to hold after it.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use zc_std::driver::{Next, Step, StepError, retry};
use zc_std::hook::{Call, Record, Syscall};
use zc_std::{Copier, CopyError, Options, Report, Side, Source, Transfer, pool};

use super::audit;
use super::census::Census;
use super::company::Books;
use super::ends::{SinkEnd, SourceEnd, Workshop};
use super::event_loop::EventLoop;
use super::layers::{BoxSink, BoxSource, Meters, Seen, wrap_sink, wrap_source};
use super::scenario::{Mode, Scenario, SinkKind, SinkWrap, SourceKind, SourceWrap};
use super::{Faults, Misbehaviour};
use crate::fds::bytes_waiting;
use crate::forked::forked;

/// A scenario that can be run again and again: a subject for an [`Explorer`](super::Explorer).
///
/// After every call of the copy it checks
///
/// - conservation: taken from the source == delivered to the sink + residue. *Taken* is what is no longer in the
///   source (by a file's offset, by the bytes left in a socket's queue), not what the copy says;
/// - order: the sink has the beginning of the payload, byte for byte, and the residue is what comes next;
/// - every layer: a limit has fallen by what passed it, a meter was told of it, a buffer accounts for the difference;
/// - file offsets, and socket options; the count of calls, the count of bytes and the mechanisms of the [`Report`];
///   the kind, the errno and the call of the [`CopyError`];
/// - that `Ok` means the end of input or a reached limit, and an error means an injected fault, or
///   an end in non-blocking mode without bytes or room;
///
/// Once the fault is gone and the copy is complete, it checks that the whole payload is there. The only descriptors
/// left open may be those of idle pipes in the pool, which have to be empty.
pub struct Trial {
    scenario: Scenario,
    /// `None` after a failure: the ends may have anything in them.
    workshop: Option<Workshop>,
}

impl Trial {
    /// Makes a trial of `scenario`.
    pub fn new(scenario: &Scenario) -> Trial {
        Trial { scenario: scenario.clone(), workshop: None }
    }

    /// Runs the scenario once.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn run(&mut self, faults: &Faults) -> Result<(), String> {
        let workshop = match self.workshop.take() {
            Some(workshop) => workshop,
            None => Workshop::new(&self.scenario).map_err(harness)?,
        };
        run(&self.scenario, &workshop, faults)?;
        self.workshop = Some(workshop);
        Ok(())
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}

/// An error outside the copy. It is not the engine's, but the run is none.
#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn harness(error: io::Error) -> String {
    format!("the harness itself failed: {error}")
}

macro_rules! check {
    ($holds:expr, $($otherwise:tt)+) => {
        if !$holds {
            return Err(format!($($otherwise)+));
        }
    };
}

fn run(scenario: &Scenario, workshop: &Workshop, faults: &Faults) -> Result<(), String> {
    // Whether a pipe is made must not depend on the run before.
    pool::clear();
    let before = Census::take();
    {
        let books = Rc::default();
        let source_end = workshop.source(scenario, &books).map_err(harness)?;
        let sink_end = workshop.sink(scenario, &books).map_err(harness)?;
        rules(scenario, &source_end, &sink_end, faults);
        if scenario.shared {
            let mut company = source_end.company(&sink_end).map_err(harness)?;
            faults.others(move |act| company.act(act));
        }
        let outcome = copy_it_all(scenario, faults, &source_end, &sink_end, &books);
        faults.let_be();
        outcome?;
    }
    check!(pool::in_use() == 0, "{} pipes are still lent out", pool::in_use());
    let (idle, closed) = before.changes();
    check!(
        idle.len() == 2 * pool::idle(),
        "descriptors {idle:?} are open, with {} pipes in the pool",
        pool::idle()
    );
    check!(closed.is_empty(), "descriptors {closed:?} were closed");
    for fd in idle {
        let level = bytes_waiting(fd).map_err(|errno| harness(errno.into()))?;
        check!(level == 0, "there are {level} bytes in pipe {fd} of the pool");
    }
    Ok(())
}

/// Forbids what a kernel would not do to these ends.
fn rules(scenario: &Scenario, source: &SourceEnd<'_>, sink: &SinkEnd<'_>, faults: &Faults) {
    let (kind, fds) = (scenario.source, source.fds());
    faults.forbid(move |call: &Call, fault| {
        let reads = matches!(call.syscall, Syscall::Read | Syscall::Discard);
        let reads_source = reads && call.from.is_some_and(|fd| fds.contains(&fd));
        match kind {
            // The first source would have ended for good, and the second one's bytes would come next.
            SourceKind::Chain | SourceKind::MemoryThenFile => {
                reads_source && fault == Misbehaviour::Zero
            }
            // The kernel drops what a short read leaves of a message.
            SourceKind::SeqPacket => reads_source && matches!(fault, Misbehaviour::Short(_)),
            _ => false,
        }
    });
    faults.chunk(scenario.chunk);
    if let Some(mut read) = sink.reader() {
        faults.before_call(move |_| read());
    }
}

/// What one call of the copy returned.
struct Outcome {
    moved: u64,
    error: Option<CopyError>,
    /// Only from a `Copier`.
    report: Option<Report>,
    residue: Vec<u8>,
    in_flight: usize,
    /// The copy has not stopped: its driver has gone.
    goes_on: bool,
    /// A step took more than its budget.
    over_budget: bool,
}

struct Engine {
    copier: Copier,
    transfer: Transfer,
    mode: Mode,
    over_budget: bool,
}

impl Engine {
    fn new(scenario: &Scenario) -> Self {
        let engine = scenario.engine;
        let mut copier = Copier::new().adaptive(engine.adaptive).pipe_size(engine.pipe_size);
        if engine.coalesce {
            copier = copier.coalesce(std::time::Duration::from_micros(1));
        }
        let mut options = Options::default();
        options.adaptive = engine.adaptive;
        options.pipe_size = engine.pipe_size;
        options.half_steps = engine.mode == Mode::HalfSteps;
        Engine { copier, transfer: Transfer::new(options), mode: engine.mode, over_budget: false }
    }

    fn copy(
        &mut self,
        source: &mut BoxSource<'_>,
        sink: &mut BoxSink<'_>,
    ) -> Result<Outcome, String> {
        if self.mode == Mode::Plain {
            return plain_copy(source, sink);
        }
        if self.mode.by_hand() {
            return self.by_hand(source, sink);
        }
        let result = self.copier.copy(source, sink);
        let report = self.copier.report().clone();
        let error = match result {
            Ok(returned) => {
                check!(returned == report, "returned {returned:?}, and keeps {report:?}");
                None
            }
            Err(error) => {
                check!(error.moved() == report.moved(), "{error}, but {report:?}");
                check!(error.residue().is_empty(), "a copier keeps its residue: {error}");
                Some(error)
            }
        };
        let (moved, in_flight) = (report.moved(), self.copier.in_flight());
        let (report, residue) = (Some(report), Vec::new());
        Ok(Outcome { moved, error, report, residue, in_flight, goes_on: false, over_budget: false })
    }

    /// Steps until the transfer has to wait, fails or ends, or the driver goes.
    fn by_hand(
        &mut self,
        source: &mut BoxSource<'_>,
        sink: &mut BoxSink<'_>,
    ) -> Result<Outcome, String> {
        self.transfer.resume();
        let mut moved = 0;
        let next = loop {
            let in_flight = self.transfer.in_flight() as u64;
            let step = self.step(source, sink);
            moved += step.delivered;
            let left = self.transfer.in_flight() as u64;
            check!(
                in_flight + step.taken == step.delivered + left,
                "{in_flight} in flight, then {left}, by {step:?}"
            );
            // A child's copy of a transfer with nothing in flight is like any other.
            if self.mode == Mode::Forks && left > 0 {
                let (transfer, patience) = (&mut self.transfer, Duration::from_secs(60));
                forked(|| in_a_child(transfer, source, sink)).finish_within(patience)?;
            }
            if self.mode == Mode::Threads {
                let transfer = std::mem::take(&mut self.transfer);
                self.transfer = std::thread::spawn(|| transfer).join().expect("no panic");
            }
            match step.next {
                Next::Again if self.mode != Mode::Leave => {}
                next => break next,
            }
        };
        let would_block = |side| {
            let call = self.transfer.waiting_call(side);
            StepError::at(side, call, rustix::io::Errno::AGAIN)
        };
        let goes_on = matches!(next, Next::Again);
        let error = match next {
            Next::Again | Next::Ended => None,
            Next::WantRead { .. } => Some(would_block(Side::Source)),
            Next::WantWrite => Some(would_block(Side::Sink)),
            Next::Failed(error) => Some(*error),
            other => return Err(format!("a step said {other:?}")),
        };
        self.transfer.park();
        let report = self.transfer.report().clone();
        check!(moved == report.moved(), "{moved} bytes by steps, but {report:?}");
        Ok(Outcome {
            moved,
            error: error.map(|error| error.into_copy_error(moved)),
            report: Some(report),
            residue: Vec::new(),
            in_flight: self.transfer.in_flight(),
            goes_on,
            over_budget: self.over_budget,
        })
    }

    /// One step, and what it asks its driver to do.
    fn step(&mut self, source: &mut BoxSource<'_>, sink: &mut BoxSink<'_>) -> Step {
        let transfer = &mut self.transfer;
        let budget = if let Mode::Budget(budget) = self.mode { budget } else { u64::MAX };
        let step = transfer.step(source as &mut dyn Source, sink, budget);
        self.over_budget |= step.taken > budget;
        match step.next {
            Next::FlushSink => match retry(|| sink.flush()) {
                // The flush counts until the driver goes, so the step comes first.
                Ok(()) => {
                    transfer.flushed();
                    self.step(source, sink)
                }
                Err(error) => Step::failed(StepError::at(Side::Sink, "flush", error)),
            },
            Next::ReadSource(most) => transfer.read_with(most, |room| source.read(room)),
            Next::WriteSink => {
                transfer.write_with(source as &mut dyn Source, |bytes| sink.write(bytes))
            }
            _ => step,
        }
    }
}

/// A forked child's copy of a transfer says that what is in flight is its parent's, and can be dropped.
fn in_a_child(transfer: &mut Transfer, source: &mut BoxSource<'_>, sink: &mut BoxSink<'_>) {
    let Step { taken, delivered, next, .. } =
        transfer.step(source as &mut dyn Source, sink, u64::MAX);
    let Next::Failed(error) = next else { panic!("in the child, a step says {next:?}") };
    assert_eq!((taken, delivered), (0, 0), "in the child: {error:?}");
    assert_eq!(error.into_copy_error(0).syscall(), Some("fork"));
    assert_eq!(transfer.take_residue(), b"", "they are the parent's");
    drop(std::mem::take(transfer));
}

fn plain_copy(source: &mut BoxSource<'_>, sink: &mut BoxSink<'_>) -> Result<Outcome, String> {
    let error = match zc_std::copy(source, sink) {
        Ok(moved) => {
            return Ok(Outcome {
                moved,
                error: None,
                report: None,
                residue: Vec::new(),
                in_flight: 0,
                goes_on: false,
                over_budget: false,
            });
        }
        Err(error) => error,
    };
    check!(CopyError::from_io(&error).is_some(), "an error that is no CopyError: {error:?}");
    let kind = error.kind();
    let error = error
        .into_inner()
        .and_then(|inner| inner.downcast::<CopyError>().ok())
        .expect("it was there just now");
    check!(error.kind() == kind, "of kind {kind:?} outside, {:?} inside", error.kind());
    let (moved, residue) = (error.moved(), error.residue().to_vec());
    let in_flight = residue.len();
    Ok(Outcome {
        moved,
        error: Some(*error),
        report: None,
        residue,
        in_flight,
        goes_on: false,
        over_budget: false,
    })
}

/// The most calls of a copy in one run, besides one for each fault: an end in non-blocking mode stops the copy again
/// and again.
const STOPS: usize = 64;

/// The most steps of a run.
const STEPS: usize = 1000;

fn copy_it_all(
    scenario: &Scenario,
    faults: &Faults,
    source_end: &SourceEnd<'_>,
    sink_end: &SinkEnd<'_>,
    books: &Books,
) -> Result<(), String> {
    // A layer that reads or writes by itself meets faults, too.
    let (mut source_meters, mut sink_meters) = (Meters::new(), Meters::new());
    let hidden = scenario.above.contains(&SourceWrap::Opaque);
    let buffered = scenario.below.iter().any(|wrap| *wrap != SinkWrap::Progress);
    let mut held = Vec::new();
    let leaf = source_end.leaf(hidden).map_err(harness)?;
    let mut source = wrap_source(leaf, &scenario.above, &mut source_meters).map_err(harness)?;
    let leaf = sink_end.leaf(buffered).map_err(harness)?;
    let mut sink =
        wrap_sink(leaf, &scenario.below, &mut sink_meters, &mut held).map_err(harness)?;

    let sockets = [source_end.sockets(), sink_end.sockets()].concat();
    let mut engine = Engine::new(scenario);
    let event_loop = EventLoop::of(engine.mode, source_end, sink_end);
    let ledger = Ledger { scenario, source_meters, sink_meters, held };
    let (mut delivered, mut low_water_found) = (0, 1);
    let (mut stops, mut steps, mut no_pipe) = (0, 0, None);
    let mut whole_messages = scenario.source == SourceKind::SeqPacket;
    let mut stands = true;
    loop {
        let (fired, first) = (faults.fired(), faults.calls());
        let armed = faults.arm();
        let outcome = engine.copy(&mut source, &mut sink);
        let calls = armed.disarm();
        let Outcome { moved, error, report, residue, in_flight, goes_on, over_budget } = outcome?;
        let fired_now = faults.fired() - fired;
        if let Some(complaint) = faults.complaint() {
            return Err(complaint);
        }
        let real_wait = calls
            .iter()
            .enumerate()
            .any(|(n, record)| audit::would_wait(record) && !faults.injected(first + n));
        let waits = error.as_ref().filter(|_| real_wait && fired_now == 0);
        if let Some(error) = waits {
            // Before anything is received, which would make room.
            event_loop.check(error, source_end, sink_end)?;
        }
        if books.is_out_of_order() && audit::gave_back_in_company(&calls, &source_end.fds()) {
            // Another user acted twice: before the lseek that gives a range back, and before the one that undoes it.
            // So that user had bytes of the claim.
            faults.give_up_judging();
            return Ok(());
        }
        let stream = source_end.stream();
        let all = scenario.expected(stream.len());

        delivered += usize::try_from(moved).map_err(|_| format!("moved {moved} bytes"))?;
        let taken = ledger.taken(source_end, &source);
        if taken != Ok(delivered + in_flight)
            && audit::is_unreadable(&calls, &source_end.fds())
            && faults.acts() > 0
        {
            // The range could neither be read nor given back, since another user had gone on from its end.
            faults.give_up_judging();
            return Ok(());
        }
        let taken = taken?;
        let gap = books.gap();
        // Where the kernel has appended, and the copy could not know that it would, others may have moved the offset.
        let is_append = scenario.sink == SinkKind::Append;
        stands &= !(is_append && faults.acts() > 0 && audit::hid_the_mode(&calls));
        let checked = ledger.check_sink((sink_end, stands), &sink, &stream[..delivered]);
        let gave_back = |fd| audit::gave_back_in_company(&calls, &[fd]);
        if checked.is_err() && faults.acts() > 1 && sink_end.fd().is_some_and(gave_back) {
            // The same, where that user wrote.
            faults.give_up_judging();
            return Ok(());
        }
        checked?;
        check!(
            books.gap() == gap || faults.acts() > 0 && audit::is_unwritable(&calls, sink_end.fd()),
            "{} bytes of the file are nobody's",
            books.gap() - gap
        );
        check!(
            taken == delivered + in_flight,
            "taken from the source: {taken}; delivered: {delivered}; in flight: {in_flight}"
        );
        check!(taken <= all, "{taken} bytes taken with a limit of {all}");
        // A message is read whole. So is a source of which the kernel does not tell whether it keeps messages.
        whole_messages |= calls.iter().any(|record| {
            let asks = [Syscall::GetSockOpt, Syscall::Statx, Syscall::Fstat];
            record.result.is_err() && asks.contains(&record.call.syscall)
        });
        check!(!over_budget || whole_messages, "a step took more than its budget");
        let fills_half = in_flight > 0 && in_flight >= scenario.engine.pipe_size / 2;
        let cannot_leave = calls.last().is_some_and(|last| {
            let own = !source_end.fds().contains(&last.call.from.unwrap_or(-1));
            last.call.syscall == Syscall::Read && own && last.moved() == 0
        });
        check!(
            pool::in_use() == 0 || fills_half || in_flight > 0 && cannot_leave,
            "{} pipes lent out with {in_flight} bytes in flight",
            pool::in_use()
        );
        let low_water = source_end.low_water().map_err(harness)?;
        // Where setting it back fails each time, the next copy finds what was left.
        let sets = calls.iter().filter(|record| record.call.syscall == Syscall::SetSockOpt);
        if sets.rev().take_while(|record| record.result.is_err()).count() >= 16 {
            low_water_found = low_water;
        }
        check!(low_water == low_water_found, "SO_RCVLOWAT was left at {low_water}");
        check!(
            residue.is_empty() || stream[delivered..taken] == residue,
            "the residue is not what comes next"
        );
        let makes = |record: &&Record| {
            let syscall = record.call.syscall;
            matches!(syscall, Syscall::Pipe | Syscall::SetPipeSize | Syscall::GetPipeSize)
        };
        let refused = |made: &Record| made.result.err();
        no_pipe = calls.iter().rev().filter(makes).find_map(refused).or(no_pipe);
        let audit = audit::Audit {
            calls: &calls,
            source: &source_end.fds(),
            sink: sink_end.fd(),
            sockets: &sockets,
            no_pipe,
        };
        if let Some(report) = &report {
            let direct = scenario.below.iter().all(|wrap| *wrap == SinkWrap::Progress);
            // Calls that a layer's own `read`, `write` and `flush` make for a driver are not counted.
            let counted = !engine.mode.by_hand() || direct && !hidden;
            audit.report(report, direct, counted)?;
        }
        if goes_on {
            steps += 1;
            check!(steps < STEPS, "does not come to its end");
            continue;
        }
        let Some(error) = error else {
            check!(in_flight == 0, "Ok, with {in_flight} bytes in flight");
            if taken == all {
                break;
            }
            check!(
                audit.source_said_end(),
                "Ok after {taken} bytes of {all}, with no read that returned 0"
            );
            check!(stops < STOPS + faults.fired(), "does not come to its end");
            stops += 1;
            continue;
        };
        audit.error(&error)?;
        check!(
            fired_now > 0
                || real_wait
                    && error.kind() == io::ErrorKind::WouldBlock
                    && scenario.waiting != super::scenario::Waiting::Neither,
            "failed with nothing injected: {error}"
        );
        check!(stops < STOPS + faults.fired(), "does not come to its end: {error}");
        stops += 1;

        // The fault is gone: the peers make room, and the copy goes on.
        sink_end.receive().map_err(harness)?;
        source_end.feed_rest().map_err(harness)?;
        if real_wait && fired_now == 0 {
            event_loop.wait(&error)?;
        }
        let residue = match engine.mode {
            Mode::Plain => residue,
            Mode::TakeResidue => {
                let residue = engine.copier.take_residue();
                check!(
                    residue.len() == in_flight && engine.copier.in_flight() == 0,
                    "{in_flight} in flight, {} taken out, {} left",
                    residue.len(),
                    engine.copier.in_flight()
                );
                residue
            }
            Mode::Abandon => {
                engine = Engine::new(scenario);
                check!(pool::in_use() == 0, "a copier that is no more holds a pipe");
                stream[delivered..taken].to_vec()
            }
            _ => Vec::new(),
        };
        write_all(&mut sink, sink_end, &residue)?;
        delivered += residue.len();
    }

    write_all(&mut sink, sink_end, b"")?;
    let stream = source_end.stream();
    ledger.check_sink((sink_end, stands), &sink, &stream[..scenario.expected(stream.len())])?;
    Ok(())
}

/// Writes and flushes, and makes room for as long as there is none.
fn write_all(
    sink: &mut BoxSink<'_>,
    sink_end: &SinkEnd<'_>,
    mut bytes: &[u8],
) -> Result<(), String> {
    loop {
        let wrote = if bytes.is_empty() { sink.flush().map(|()| 0) } else { sink.write(bytes) };
        match wrote {
            Ok(_) if bytes.is_empty() => return Ok(()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sink_end.receive().map_err(harness)?;
            }
            Err(error) => return Err(harness(error)),
        }
    }
}

/// The books of one run.
struct Ledger<'a> {
    scenario: &'a Scenario,
    source_meters: Meters,
    sink_meters: Meters,
    /// What each of the sink's layers held before the copy.
    held: Vec<Vec<u8>>,
}

impl Ledger<'_> {
    /// How many bytes came out of the outermost layer of the source. Each layer accounts for what came out of the one
    /// below.
    fn taken(&self, end: &SourceEnd<'_>, source: &BoxSource<'_>) -> Result<usize, String> {
        let stream = end.stream();
        let mut passed = end.taken().map_err(harness)?;
        let mut seen = Vec::new();
        source.look(&mut seen);
        let mut meters = self.source_meters.iter();
        for (wrap, seen) in self.scenario.above.iter().zip(&seen) {
            match (wrap, seen) {
                (SourceWrap::Take(limit), Seen::Limit(left)) => {
                    check!(
                        limit.checked_sub(passed as u64) == Some(*left),
                        "{passed} bytes passed a limit of {limit}, of which {left} is left"
                    );
                }
                (SourceWrap::BufReader(_), Seen::Buffer(bytes)) => {
                    check!(bytes.len() <= passed, "{passed} bytes read, {} kept", bytes.len());
                    passed -= bytes.len();
                    check!(
                        stream[passed..].starts_with(bytes),
                        "a BufReader keeps other bytes than those at {passed}"
                    );
                }
                (SourceWrap::Progress, Seen::Progress) => {
                    let told = meters.next().expect("one each").get();
                    check!(told == passed as u64, "{passed} bytes passed, {told} reported");
                }
                (SourceWrap::Opaque, Seen::Opaque) => {}
                other => unreachable!("{other:?}"),
            }
        }
        Ok(passed)
    }

    /// Checks that the sink and its layers' buffers have what they held, and then the first `delivered` bytes; and, if
    /// it `stands` there, that its offset is at its end.
    fn check_sink(
        &self,
        (end, stands): (&SinkEnd<'_>, bool),
        sink: &BoxSink<'_>,
        delivered: &[u8],
    ) -> Result<(), String> {
        let mut seen = Vec::new();
        sink.look(&mut seen);
        let buffers = seen.iter().map(|seen| match seen {
            Seen::Buffer(bytes) => &bytes[..],
            _ => &[],
        });
        let buffered: usize = buffers.clone().map(<[u8]>::len).sum();
        let held = self.held.concat();
        let total = held.len() + delivered.len();
        let passed = total.saturating_sub(buffered);
        let mut content = match end.keeps() {
            true => end.content(passed).map_err(harness)?,
            // The bytes cannot be seen. Their number is known from the source.
            false => [&held, delivered].concat()[..passed].to_vec(),
        };
        let misplaced = end.misplaced(content.len()).map_err(harness)?.filter(|_| stands);
        check!(misplaced.is_none(), "a file of {} bytes stands at {misplaced:?}", content.len());

        let mut passed = content.len();
        let mut meters = self.sink_meters.iter();
        for ((wrap, bytes), held) in self.scenario.below.iter().zip(buffers).zip(&self.held) {
            if *wrap == SinkWrap::Progress {
                let told = meters.next().expect("one each").get();
                check!(told == passed as u64, "{passed} bytes passed, {told} reported");
            }
            // What a layer was given to hold did not pass those around it.
            check!(
                passed + bytes.len() >= held.len(),
                "of {} bytes held, {passed} passed, and {} are still held",
                held.len(),
                bytes.len()
            );
            passed = passed + bytes.len() - held.len();
            content.extend_from_slice(bytes);
        }
        check!(
            content.len() == total,
            "{} bytes are said to have been delivered, {} after the {} held before are there",
            delivered.len(),
            content.len() as i64 - held.len() as i64,
            held.len()
        );
        check!(content.starts_with(&held), "what was held is not at the beginning");
        check!(
            content[held.len()..] == *delivered,
            "the bytes delivered are not those taken, or not in that order"
        );
        Ok(())
    }
}
