//! Sinks: written to by `write` alone, then in every mix with steps past it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Count;
use super::access::SinkAccess;
use super::failure::{Failure, Property, raise};
use super::observe::{Observe, Observed};
use super::script::{Act, Mode, Script};
use super::wire::{self, LARGE_LEN, LEN};
use crate::Sink;
use crate::driver::retry;

/// How large the writes are that make the reference.
const REFERENCE_WRITE: usize = 4096;

/// How often a schedule leaves the sink no room. It takes some 200 KiB of filling each time.
const JAMS: usize = 6;

/// The checks of a sink, with options: what [`sink`](super::sink()) runs.
///
/// ```
/// use std::io::{self, Write};
/// use zc_core::conformance::SinkKit;
/// use zc_core::{Downstream, Sink};
///
/// struct Metered<W> {
///     inner: W,
///     bytes: u64,
/// }
///
/// impl<W: Write> Write for Metered<W> {
///     fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
///         let n = self.inner.write(buf)?;
///         self.bytes += n as u64;
///         Ok(n)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         self.inner.flush()
///     }
/// }
///
/// impl<W: Sink> Sink for Metered<W> {
///     fn downstream(&mut self) -> Downstream<'_> {
///         Downstream::through(&mut self.inner)
///     }
///     fn delivered(&mut self, n: u64) {
///         self.bytes += n;
///     }
/// }
///
/// SinkKit::new(|stream| Metered { inner: stream, bytes: 0 }).count(|m| m.bytes).assert();
/// ```
pub struct SinkKit<'k, S> {
    make: Box<dyn FnMut(UnixStream) -> S + 'k>,
    count: Option<Count<'k, S>>,
    observe: Option<Box<dyn Observe<S> + 'k>>,
}

impl<'k, S: Write + Sink> SinkKit<'k, S> {
    /// Will check the sink that `make` builds over a stream.
    pub fn new(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SinkKit::with_access(make)
    }
}

impl<'k, S: SinkAccess> SinkKit<'k, S> {
    /// For sibling crates, whose types are not written to by `Write`.
    #[doc(hidden)]
    pub fn with_access(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SinkKit { make: Box::new(make), count: None, observe: None }
    }

    /// Also checks the sink's own count: after every step, `count` must answer how many bytes the
    /// sink has taken so far, by `write` and past it.
    #[must_use]
    pub fn count(mut self, count: impl Fn(&S) -> u64 + 'k) -> Self {
        self.count = Some(Box::new(count));
        self
    }

    /// Also checks the sink's own state. After every step `look` must see what it sees of a sink that got the same
    /// bytes by `write` alone. See [`SourceKit::observe`](super::SourceKit::observe).
    #[must_use]
    pub fn observe<T: PartialEq + fmt::Debug + 'k>(mut self, look: impl Fn(&S) -> T + 'k) -> Self {
        self.observe = Some(Box::new(Observed::new(look)));
        self
    }

    /// Runs every schedule.
    ///
    /// # Errors
    ///
    /// The first property that was found not to hold.
    pub fn check(mut self) -> Result<(), Failure> {
        let reference = self.reference(LEN)?;
        for script in Script::all(true) {
            let Run { script, noted, .. } = self.follow(script, LEN, &reference)?;
            self.compare_with_a_twin(script, &noted)?;
        }
        let reference = self.reference(LARGE_LEN)?;
        // A twin would be blocked by as much.
        self.observe = None;
        for script in Script::all_large() {
            self.follow(script, LARGE_LEN, &reference)?;
        }
        Ok(())
    }

    /// Follows a schedule of `len` bytes.
    fn follow(
        &mut self,
        script: Script,
        len: usize,
        reference: &Reference,
    ) -> Result<Run<S>, Failure> {
        let mut run = self.set_up(script, len).map_err(|error| Failure::setup(&error))?;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run.follow(reference, self.count.as_deref(), self.observe.as_deref_mut())
        }));
        outcome
            .unwrap_or_else(|payload| Err(Failure::panicked(run.arrived.len(), &*payload)))
            .map_err(|failure| failure.during(run.script.to_string()))?;
        Ok(run)
    }

    /// [`check`](SinkKit::check), for tests.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    #[track_caller]
    pub fn assert(self) {
        raise(self.check());
    }

    fn set_up(&mut self, script: Script, len: usize) -> io::Result<Run<S>> {
        let (near, far) = wire::pair(script.mode)?;
        let jammer = near.try_clone()?;
        Ok(Run {
            sink: Some((self.make)(near)),
            far,
            jammer,
            jam: 0,
            script,
            data: wire::data(len),
            accepted: 0,
            arrived: Vec::new(),
            noted: Vec::new(),
        })
    }

    /// Compares what was observed with a sink that is only written to, as far as the other had come each time.
    fn compare_with_a_twin(&mut self, script: Script, noted: &[usize]) -> Result<(), Failure> {
        let Some(places) = self.observe.as_ref().map(|observe| observe.places()) else {
            return Ok(());
        };
        let ready = Script::all(true).next().expect("there are some");
        let mut twin = self.set_up(ready, LEN).map_err(|error| Failure::setup(&error))?;
        let observe = self.observe.as_mut().expect("it has noted places");
        let mut outcome = Ok(());
        'places: for (number, at) in places.into_iter().enumerate() {
            while twin.accepted < at {
                match twin.write(at - twin.accepted) {
                    Answer::Took(_) => {
                        twin.receive()?;
                    }
                    // It says so itself, where it was not a schedule's fault.
                    _ => break 'places,
                }
            }
            let sink = twin.sink.as_ref().expect("dropped only at the end");
            if let Err((past, written)) = observe.compare(number, sink) {
                let message = format!(
                    "what is observed of it is {past}, and {written} after writing alone: a type that has to \
                     see the bytes must say `Downstream::opaque`, one that counts them must do so in `delivered`"
                );
                let failure = Failure::new(Property::State, at, message);
                outcome = Err(failure.during(script.up_to(noted[number]).to_string()));
                break;
            }
        }
        observe.forget();
        outcome
    }

    /// What `write` alone delivers of `len` bytes.
    fn reference(&mut self, len: usize) -> Result<Reference, Failure> {
        let script = Script::all(true).next().expect("there are some");
        let mut run = self.set_up(script, len).map_err(|error| Failure::setup(&error))?;
        let mut refused = None;
        let mut len = REFERENCE_WRITE;
        while run.accepted < run.data.len() {
            let answer = run.write(len);
            let has_come = run.receive()?;
            match answer {
                Answer::Took(_) => {}
                // It holds more than the stream has room for.
                Answer::Blocked if has_come => {}
                // A sink with room for some of it may still refuse all of it.
                Answer::Blocked | Answer::Failed(_) if len > 1 => len = 1,
                Answer::Blocked => break,
                Answer::Failed(kind) => {
                    refused = Some(kind);
                    break;
                }
                Answer::Broken(message) => {
                    return Err(Failure::new(Property::Order, run.accepted, message));
                }
            }
        }
        // What it says does not matter here: a refused sink may refuse this as well.
        let _ = run.flush_all()?;
        run.finish()?;
        Ok(Reference { bytes: run.arrived, refused })
    }
}

impl<S> fmt::Debug for SinkKit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkKit").finish_non_exhaustive()
    }
}

/// What `write` alone delivers.
struct Reference {
    bytes: Vec<u8>,
    /// The error with which it refused the rest.
    refused: Option<ErrorKind>,
}

enum Answer {
    Took(usize),
    Blocked,
    Failed(ErrorKind),
    /// The type broke the rules of `Write` outright.
    Broken(String),
}

impl Answer {
    fn of(answer: io::Result<usize>, len: usize) -> Answer {
        match answer {
            Ok(0) if len > 0 => Answer::Failed(ErrorKind::WriteZero),
            Ok(n) if n > len => {
                Answer::Broken(format!("`write` returned {n} where it was given {len} bytes"))
            }
            Ok(n) => Answer::Took(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Answer::Blocked,
            Err(error) => Answer::Failed(error.kind()),
        }
    }
}

/// One schedule under way.
struct Run<S> {
    /// `None` once it has been dropped.
    sink: Option<S>,
    far: UnixStream,
    /// The near end once more, to fill it up.
    jammer: UnixStream,
    /// How many bytes of filling are in the stream.
    jam: usize,
    script: Script,
    data: Vec<u8>,
    /// How many bytes the sink has taken.
    accepted: usize,
    /// What has come out at the far end.
    arrived: Vec<u8>,
    /// How many steps it had made at each note of what is observed.
    noted: Vec<usize>,
}

impl<S: SinkAccess> Run<S> {
    /// Follows the script to the end.
    fn follow(
        &mut self,
        reference: &Reference,
        count: Option<&dyn Fn(&S) -> u64>,
        mut observe: Option<&mut (dyn Observe<S> + '_)>,
    ) -> Result<(), Failure> {
        let (mut largest, mut jams) = (usize::MAX, 0);
        while self.accepted < self.data.len() {
            if self.script.mode == Mode::Scarce && jams < JAMS && self.script.once_in(6) {
                jams += 1;
                self.jam()?;
            }
            let began = self.accepted;
            let mut went_past = false;
            let answer = match self.script.next() {
                Act::Through(len) => self.write(len.min(largest)),
                Act::Past { len, steps } => {
                    self.write_past(len.min(largest), steps, &mut went_past)
                }
                Act::Empty => self.write_nothing(reference)?,
                Act::Flush => Answer::of(retry(|| self.sink().flush()).map(|()| 0), 0),
            };
            self.unjam()?;
            self.compare(reference, began, went_past)?;
            match answer {
                Answer::Took(_) | Answer::Blocked => {}
                Answer::Failed(_) if largest > 1 => largest = 1,
                Answer::Failed(kind) if reference.refused == Some(kind) => break,
                Answer::Failed(kind) => {
                    return Err(self.failure(
                        Property::Errors,
                        format!("it fails with {kind:?}, which writing alone does not"),
                    ));
                }
                Answer::Broken(message) => return Err(self.failure(Property::Order, message)),
            }
            self.check_count(count, went_past)?;
            if let (Some(observe), Some(sink)) = (&mut observe, &self.sink) {
                observe.note(self.accepted, sink);
                self.noted.push(self.script.steps());
            }
        }
        if let Err(error) = self.flush_all()?
            && reference.refused.is_none()
        {
            return Err(self.failure(Property::Errors, format!("`flush` failed: {error}")));
        }
        self.finish()?;
        self.compare(reference, self.accepted, false)?;
        if self.arrived.len() < reference.bytes.len() {
            return Err(self.failure(
                Property::Order,
                format!(
                    "after `flush`, and gone, it has delivered {} bytes where writing alone delivers \
                     {}",
                    self.arrived.len(),
                    reference.bytes.len()
                ),
            ));
        }
        Ok(())
    }

    fn sink(&mut self) -> &mut S {
        self.sink.as_mut().expect("dropped only at the end")
    }

    fn failure(&self, property: Property, message: impl Into<String>) -> Failure {
        Failure::new(property, self.arrived.len(), message)
    }

    fn next_bytes(&self, len: usize) -> Vec<u8> {
        self.data[self.accepted..self.data.len().min(self.accepted + len)].to_vec()
    }

    /// One `write` of the next `len` bytes.
    fn write(&mut self, len: usize) -> Answer {
        let bytes = self.next_bytes(len);
        let answer = retry(|| self.sink().write(&bytes));
        self.took(Answer::of(answer, bytes.len()))
    }

    /// Some steps of one copy, as an engine makes them: what is held back first, then past it all.
    fn write_past(&mut self, len: usize, steps: usize, went_past: &mut bool) -> Answer {
        let (mut has_descriptor, mut holds) = (false, false);
        self.sink().walk(&Cell::new(0), &mut |end, manner| {
            (has_descriptor, holds) = (end.is_some(), manner.holds_back);
        });
        if !has_descriptor {
            return self.write(len);
        }
        if holds && let Err(error) = retry(|| self.sink().flush()) {
            return Answer::of(Err(error), 0);
        }
        let mut limit = u64::MAX;
        let mut answer = Answer::Took(0);
        for _ in 0..steps {
            let bytes = self.next_bytes(len);
            if bytes.is_empty() {
                break;
            }
            let (delivered, mut written) = (Cell::new(0), None);
            self.sink().walk(&delivered, &mut |end, manner| {
                let Some(end) = end else { return };
                limit = manner.limit;
                let most = usize::try_from(limit).map_or(bytes.len(), |n| n.min(bytes.len()));
                if most == 0 {
                    return;
                }
                let answer = wire::write(end.fd.fd(), &bytes[..most]);
                delivered.set(*answer.as_ref().unwrap_or(&0) as u64);
                written = Some(answer);
            });
            // At its limit it is left to say so itself.
            let Some(written) = written else {
                return if limit == 0 { self.write(len) } else { answer };
            };
            *went_past |= written.is_ok();
            answer = self.took(Answer::of(written, bytes.len()));
            if !matches!(answer, Answer::Took(_)) {
                break;
            }
        }
        answer
    }

    fn took(&mut self, answer: Answer) -> Answer {
        if let Answer::Took(n) = answer {
            self.accepted += n;
        }
        answer
    }

    /// Writes no bytes.
    fn write_nothing(&mut self, reference: &Reference) -> Result<Answer, Failure> {
        match retry(|| self.sink().write(&[])) {
            Ok(0) => Ok(Answer::Took(0)),
            Ok(n) => Err(self.failure(Property::Empty, format!("an empty `write` returned {n}"))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Answer::Blocked),
            Err(error) if reference.refused == Some(error.kind()) => Ok(Answer::Took(0)),
            Err(error) => {
                Err(self.failure(Property::Empty, format!("an empty `write` failed: {error}")))
            }
        }
    }

    /// Flushes, and makes room for the rest of what it holds each time that the stream has none.
    fn flush_all(&mut self) -> Result<io::Result<()>, Failure> {
        loop {
            let flushed = retry(|| self.sink().flush());
            let has_come = self.receive()?;
            let is_blocked = flushed.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
            if !is_blocked || !has_come {
                return Ok(flushed);
            }
        }
    }

    /// What has arrived must be the beginning of the reference. The last step began when `began`
    /// bytes had been accepted.
    fn compare(
        &mut self,
        reference: &Reference,
        began: usize,
        went_past: bool,
    ) -> Result<(), Failure> {
        self.receive()?;
        if reference.bytes.starts_with(&self.arrived) {
            return Ok(());
        }
        let pairs = self.arrived.iter().zip(&reference.bytes);
        let same = pairs.take_while(|(got, want)| got == want).count();
        self.arrived.truncate(same);
        if same == reference.bytes.len() {
            return Err(self.failure(
                Property::Limit,
                format!(
                    "more bytes were delivered than the {same} that writing alone delivers: a sink \
                     that refuses bytes must not let any past it, and say so by `Downstream::limit`, or say \
                     `Downstream::opaque`"
                ),
            ));
        }
        if went_past && same < began {
            return Err(self.failure(
                Property::Buffered,
                format!(
                    "{} bytes that it held back were overtaken: say `flush_first`, and let `flush` \
                     pass them on",
                    began - same
                ),
            ));
        }
        Err(self.failure(
            Property::Order,
            "other bytes were delivered than by writing alone: some were lost, repeated or changed \
             (a type that changes what is written to it must say `Downstream::opaque`)",
        ))
    }

    fn check_count(
        &self,
        count: Option<&dyn Fn(&S) -> u64>,
        went_past: bool,
    ) -> Result<(), Failure> {
        let (Some(count), Some(sink)) = (count, &self.sink) else { return Ok(()) };
        let (counted, taken) = (count(sink), self.accepted as u64);
        if counted == taken {
            return Ok(());
        }
        let remedy = match went_past {
            true => "count in `delivered` too",
            false => {
                "when it is written to, count what it answers that it took, no more and no less"
            }
        };
        Err(self.failure(
            Property::Count,
            format!("it has taken {taken} bytes and counted {counted}: {remedy}"),
        ))
    }

    /// Drops the sink, and receives what that brings out.
    fn finish(&mut self) -> Result<(), Failure> {
        self.sink = None;
        self.receive().map(drop)
    }

    /// Receives all that there is. Whether there is any.
    fn receive(&mut self) -> Result<bool, Failure> {
        let arrived = self.arrived.len();
        wire::drain(&self.far, &mut self.arrived).map_err(|error| Failure::setup(&error))?;
        Ok(self.arrived.len() > arrived)
    }

    /// Fills the stream up, so that the next write to it blocks.
    fn jam(&mut self) -> Result<(), Failure> {
        self.receive()?;
        for piece in [REFERENCE_WRITE, 1] {
            loop {
                match Write::write(&mut self.jammer, &[0; REFERENCE_WRITE][..piece]) {
                    Ok(n) => self.jam += n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(Failure::setup(&error)),
                }
            }
        }
        Ok(())
    }

    /// Takes the filling out again. Nothing else can have got in before or between.
    fn unjam(&mut self) -> Result<(), Failure> {
        while self.jam > 0 {
            let filling = wire::read(std::os::fd::AsFd::as_fd(&self.far), self.jam)
                .map_err(|error| Failure::setup(&error))?;
            self.jam -= filling.len();
        }
        Ok(())
    }
}
