//! Sources: read by `read` alone, then in every mix with steps past it.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Count;
use super::access::SourceAccess;
use super::failure::{Failure, Property, raise};
use super::observe::{Observe, Observed};
use super::script::{Act, Mode, Script};
use super::wire::{self, Feed, LEN};
use crate::Source;
use crate::driver::{Bottom, Link, Reach, retry};

/// How large the reads are that make the reference.
const REFERENCE_READ: usize = 4096;

/// A source that has given this many bytes will not end.
const ENDLESS: usize = 64 * LEN;

/// How often a type may say `WouldBlock` when its stream has ended.
const PATIENCE: usize = 8;

/// The checks of a source, with options: what [`source`](super::source()) runs.
///
/// ```
/// use std::io::Read;
/// use zc_core::conformance::SourceKit;
///
/// SourceKit::new(|stream| stream.take(777)).count(|take| 777 - take.limit()).assert();
/// ```
pub struct SourceKit<'k, S> {
    make: Box<dyn FnMut(UnixStream) -> S + 'k>,
    count: Option<Count<'k, S>>,
    observe: Option<Box<dyn Observe<S> + 'k>>,
}

impl<'k, S: Read + Source> SourceKit<'k, S> {
    /// Will check the source that `make` builds over a stream.
    pub fn new(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SourceKit::with_access(make)
    }
}

impl<'k, S: SourceAccess> SourceKit<'k, S> {
    /// For sibling crates, whose types are not read by `Read`.
    #[doc(hidden)]
    pub fn with_access(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SourceKit { make: Box::new(make), count: None, observe: None }
    }

    /// Also checks the source's own count: after every step, `count` must answer how many bytes the
    /// source has given out so far, by `read` and past it.
    #[must_use]
    pub fn count(mut self, count: impl Fn(&S) -> u64 + 'k) -> Self {
        self.count = Some(Box::new(count));
        self
    }

    /// Also checks the source's own state: a hash, a line number, what it has copied elsewhere. After every step,
    /// what `look` sees must be what it sees of a source of which as many bytes were read, and none taken past
    /// `read`.
    ///
    /// Look at what depends on the bytes alone, and not at what depends on how they came, as a buffer does.
    ///
    /// ```
    /// use std::hash::{DefaultHasher, Hasher};
    /// use std::io::{self, Read};
    /// use zc_core::conformance::{Property, SourceKit};
    /// use zc_core::{Source, Upstream};
    ///
    /// struct Hashed<S>(S, DefaultHasher);
    ///
    /// impl<S: Read> Read for Hashed<S> {
    ///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
    ///         let n = self.0.read(buf)?;
    ///         self.1.write(&buf[..n]);
    ///         Ok(n)
    ///     }
    /// }
    ///
    /// impl<S: Source> Source for Hashed<S> {
    ///     fn upstream(&mut self) -> Upstream<'_> {
    ///         // Wrong: what it does not read, it cannot hash. It would have to be `Upstream::opaque()`.
    ///         Upstream::through(&mut self.0)
    ///     }
    /// }
    ///
    /// let kit = SourceKit::new(|stream| Hashed(stream, DefaultHasher::new()));
    /// let failure = kit.observe(|hashed| hashed.1.finish()).check().unwrap_err();
    /// assert_eq!(failure.property(), Property::State);
    /// ```
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
        let reference = self.reference()?;
        let mut seen = Seen::default();
        let mut lefts = Vec::new();
        for script in Script::all(false) {
            let mut run = self.set_up(script).map_err(|error| Failure::setup(&error))?;
            run.reference = Some(&reference);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                run.follow(self.count.as_deref(), self.observe.as_deref_mut())
            }));
            let outcome = outcome
                .unwrap_or_else(|payload| Err(Failure::panicked(run.got.len(), payload.as_ref())));
            let context = run.script.to_string();
            let left = outcome.map_err(|failure| failure.during(context.clone()))?;
            seen.also(run.seen);
            lefts.push((left, run.script.is_all_past(), context));
            let Run { script, noted, .. } = run;
            self.compare_with_a_twin(script, &noted)?;
        }
        reference.compare_left(seen, lefts)
    }

    /// [`check`](SourceKit::check), for tests.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    #[track_caller]
    pub fn assert(self) {
        raise(self.check());
    }

    fn set_up(&mut self, script: Script) -> io::Result<Run<'static, S>> {
        let (near, far) = wire::pair(script.mode)?;
        let mut feed = Feed::new(&near, far)?;
        if script.mode == Mode::Ready {
            feed.feed_all()?;
        }
        Ok(Run {
            source: (self.make)(near),
            feed,
            script,
            got: Vec::new(),
            noted: Vec::new(),
            seen: Seen::default(),
            reference: None,
        })
    }

    /// Compares what was observed with a source that is only read from, as far as the other had come each time.
    fn compare_with_a_twin(&mut self, script: Script, noted: &[usize]) -> Result<(), Failure> {
        let Some(places) = self.observe.as_ref().map(|observe| observe.places()) else {
            return Ok(());
        };
        let ready = Script::all(false).next().expect("there are some");
        let mut twin = self.set_up(ready).map_err(|error| Failure::setup(&error))?;
        let observe = self.observe.as_mut().expect("it has noted places");
        let mut outcome = Ok(());
        'places: for (number, at) in places.into_iter().enumerate() {
            while twin.got.len() < at {
                match read(&mut twin.source, at - twin.got.len()) {
                    Outcome::Bytes(bytes, _) => twin.got.extend(bytes),
                    // It says so itself, where it was not a schedule's fault.
                    _ => break 'places,
                }
                twin.feed.feed_all().map_err(|error| Failure::setup(&error))?;
            }
            if let Err((past, read)) = observe.compare(number, &twin.source) {
                let message = format!(
                    "what is observed of it is {past}, and {read} after reading alone: a type that has to see \
                     the bytes must say `Upstream::opaque`, one that counts them must do so in `taken`"
                );
                let failure = Failure::new(Property::State, at, message);
                outcome = Err(failure.during(script.up_to(noted[number]).to_string()));
                break;
            }
        }
        observe.forget();
        outcome
    }

    /// What `read` alone gives.
    fn reference(&mut self) -> Result<Reference, Failure> {
        let script = Script::all(false).next().expect("there are some");
        let mut run = self.set_up(script).map_err(|error| Failure::setup(&error))?;
        let end = loop {
            if run.got.len() > ENDLESS {
                let message = "reading gives byte after byte without end, and cannot be compared";
                return Err(Failure::new(Property::End, run.got.len(), message));
            }
            match read(&mut run.source, REFERENCE_READ) {
                Outcome::Bytes(bytes, _) => run.got.extend(bytes),
                Outcome::Ended(_) => break Ok(()),
                Outcome::Blocked => break Err(ErrorKind::WouldBlock),
                Outcome::Failed(kind) => break Err(kind),
                Outcome::Broken(message) => {
                    return Err(Failure::new(Property::Errors, run.got.len(), message));
                }
            }
            run.feed.feed_all().map_err(|error| Failure::setup(&error))?;
        };
        let left = run.feed.left().map_err(|error| Failure::setup(&error))?;
        Ok(Reference { bytes: run.got, end, left })
    }
}

impl<S> fmt::Debug for SourceKit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceKit").finish_non_exhaustive()
    }
}

/// What `read` alone gives.
struct Reference {
    bytes: Vec<u8>,
    /// `Err` where reading failed instead of ending.
    end: Result<(), ErrorKind>,
    /// How much of the input it left in the stream.
    left: usize,
}

/// What the engine's steps came across.
#[derive(Clone, Copy, Default)]
struct Seen {
    buffered: bool,
    opaque: bool,
}

impl Seen {
    fn also(&mut self, other: Seen) {
        self.buffered |= other.buffered;
        self.opaque |= other.opaque;
    }
}

/// One schedule under way.
struct Run<'r, S> {
    source: S,
    feed: Feed,
    script: Script,
    got: Vec<u8>,
    /// How many steps it had made at each note of what is observed.
    noted: Vec<usize>,
    seen: Seen,
    reference: Option<&'r Reference>,
}

/// How a step's bytes came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Read,
    Buffer,
    Descriptor,
}

/// Who said that this is the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Read,
    Limit,
    Spent,
    Descriptor,
}

enum Outcome {
    Bytes(Vec<u8>, Via),
    Ended(Why),
    Blocked,
    Failed(ErrorKind),
    /// The type broke the rules of `Read` or `Source` outright.
    Broken(String),
}

impl<'r, S: SourceAccess> Run<'r, S> {
    /// Follows the script to the end; answers how much of the input is left.
    fn follow(
        &mut self,
        count: Option<&dyn Fn(&S) -> u64>,
        mut observe: Option<&mut (dyn Observe<S> + '_)>,
    ) -> Result<usize, Failure> {
        let mut blocked_at_end = 0;
        loop {
            let outcomes = match self.script.next() {
                Act::Through(len) => vec![read(&mut self.source, len)],
                Act::Past { len, steps } => {
                    steps_past(&mut self.source, len, steps, &mut self.seen)
                }
                Act::Empty => {
                    self.read_nothing()?;
                    Vec::new()
                }
                Act::Flush => unreachable!("sources do not flush"),
            };
            let (mut over, mut went_past) = (false, false);
            for outcome in outcomes {
                went_past |= matches!(outcome, Outcome::Bytes(_, Via::Buffer | Via::Descriptor));
                match outcome {
                    Outcome::Bytes(bytes, via) => self.accept(&bytes, via)?,
                    Outcome::Blocked if !self.feed.ended() => {
                        let stop = LEN - self.reference().left;
                        self.feed
                            .feed_piece(&mut self.script, stop)
                            .map_err(|error| Failure::setup(&error))?;
                    }
                    Outcome::Blocked => {
                        blocked_at_end += 1;
                        if blocked_at_end > PATIENCE {
                            return Err(self.failure(
                                Property::Errors,
                                "it says `WouldBlock` for ever, where its stream has ended",
                            ));
                        }
                    }
                    Outcome::Ended(why) => {
                        self.check_end(why)?;
                        over = true;
                    }
                    Outcome::Failed(kind) => {
                        self.check_failed(kind)?;
                        over = true;
                    }
                    Outcome::Broken(message) => {
                        return Err(self.failure(Property::Buffered, message));
                    }
                }
            }
            self.check_count(count, went_past)?;
            // What reading on at the end does to it is its own affair.
            if let Some(observe) = observe.as_mut().filter(|_| !over) {
                observe.note(self.got.len(), &self.source);
                self.noted.push(self.script.steps());
            }
            if over {
                return self.feed.left().map_err(|error| Failure::setup(&error));
            }
        }
    }

    fn reference(&self) -> &'r Reference {
        self.reference.expect("set before the script is followed")
    }

    fn failure(&self, property: Property, message: impl Into<String>) -> Failure {
        Failure::new(property, self.got.len(), message)
    }

    /// Bytes came: they must be the next ones of the reference.
    fn accept(&mut self, bytes: &[u8], via: Via) -> Result<(), Failure> {
        let at = self.got.len();
        let want = &self.reference().bytes[at.min(self.reference().bytes.len())..];
        let same = bytes.iter().zip(want).take_while(|(got, want)| got == want).count();
        self.got.extend_from_slice(&bytes[..same]);
        if same == bytes.len() {
            return Ok(());
        }
        if same == want.len() {
            return Err(self.too_many(via));
        }
        Err(self.mismatch(at, bytes.len(), via))
    }

    fn too_many(&self, via: Via) -> Failure {
        let ends = self.reference().bytes.len();
        let message = match via {
            Via::Descriptor => format!(
                "bytes came past `read` where reading ends after {ends} bytes: state the limit with \
                 `Upstream::limit`, and let it fall in `taken`"
            ),
            Via::Buffer => format!(
                "`buffered` shows bytes that reading, which ends after {ends} bytes, does not give"
            ),
            Via::Read => format!(
                "`read` gave bytes beyond the {ends} that reading alone gives: a limit did not fall \
                 by what was taken past `read`"
            ),
        };
        self.failure(Property::Limit, message)
    }

    /// The step that began at `began` with `len` bytes brought others than the reference has.
    fn mismatch(&mut self, began: usize, len: usize, via: Via) -> Failure {
        let at = self.got.len();
        if via == Via::Buffer {
            return self.failure(
                Property::Buffered,
                "`buffered` shows other bytes than `read` would give next, or `consume_buffered` \
                 forgot the wrong ones",
            );
        }
        // Where the bytes that should have come lie in the input, and where those came from that did.
        let want = &self.reference().bytes[began..];
        let want = &want[..want.len().min(8)];
        let due = self.feed.data().windows(want.len()).position(|window| window == want);
        let left = self.feed.left().unwrap_or(0);
        let came = LEN.saturating_sub(left + len);
        match (via, due) {
            (Via::Descriptor, Some(due)) if due < came => self.failure(
                Property::Buffered,
                format!(
                    "{} bytes were skipped, going past `read`: the type had read them ahead, and \
                     `buffered` does not show them",
                    came - due
                ),
            ),
            (Via::Descriptor, _) => self.failure(
                Property::Order,
                "other bytes came past `read` than reading gives: a type that changes what it reads, or \
                 holds bytes that `buffered` does not show, must not say `Upstream::through` or \
                 `Upstream::fd`",
            ),
            _ => self.failure(
                Property::Order,
                format!(
                    "`read` gave other bytes than reading alone gives: byte {at} has been lost, \
                     repeated or changed"
                ),
            ),
        }
    }

    /// The type says that this is the end.
    fn check_end(&mut self, why: Why) -> Result<(), Failure> {
        let (at, total) = (self.got.len(), self.reference().bytes.len());
        if at < total {
            return Err(self.too_few(why));
        }
        if let Err(kind) = self.reference().end {
            return Err(self.failure(
                Property::End,
                format!(
                    "past `read` it ends here without a word, where reading fails with {kind:?}: \
                     answer `Upstream::opaque` where `read` has an error to give"
                ),
            ));
        }
        for _ in 0..2 {
            match read(&mut self.source, REFERENCE_READ) {
                Outcome::Bytes(bytes, _) if why == Why::Limit || why == Why::Descriptor => {
                    return self.accept(&bytes, Via::Read);
                }
                Outcome::Bytes(..) => {
                    return Err(self.failure(Property::End, "`read` gives bytes after the end"));
                }
                Outcome::Ended(_) => {}
                Outcome::Blocked => {
                    return Err(self.failure(
                        Property::End,
                        "`read` says `WouldBlock` after the end: where a limit is reached, return 0 \
                         without reading on (even a read of no bytes waits, on a socket)",
                    ));
                }
                Outcome::Failed(kind) => {
                    return Err(self.failure(
                        Property::End,
                        format!("`read` fails with {kind:?} after the end"),
                    ));
                }
                Outcome::Broken(message) => return Err(self.failure(Property::End, message)),
            }
            for outcome in steps_past(&mut self.source, REFERENCE_READ, 1, &mut self.seen) {
                match outcome {
                    Outcome::Bytes(bytes, via) => return self.accept(&bytes, via),
                    Outcome::Ended(_) => {}
                    Outcome::Blocked | Outcome::Failed(_) | Outcome::Broken(_) => {
                        return Err(self.failure(
                            Property::End,
                            "past `read` there is something other than the end after the end",
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn too_few(&mut self, why: Why) -> Failure {
        let total = self.reference().bytes.len();
        if why == Why::Limit {
            return self.failure(
                Property::Limit,
                format!(
                    "the limits say 0, where reading goes on to {total} bytes: a limit is too small, \
                     or fell twice for the same bytes (a wrapper must not forward `taken`)"
                ),
            );
        }
        if why == Why::Read && !self.feed.ended() && self.reference().left == 0 {
            return self.failure(
                Property::Errors,
                "`read` says that this is the end, where the stream just has nothing at the moment: \
                 pass on `WouldBlock`",
            );
        }
        if why != Why::Read {
            // What is left can only be in the type itself.
            if let Outcome::Bytes(bytes, _) = read(&mut self.source, REFERENCE_READ) {
                return self.failure(
                    Property::Buffered,
                    format!(
                        "past `read` this is the end, but `read` has {} bytes or more to give: read \
                         ahead, and not shown by `buffered`, or from a source that `upstream` does \
                         not name",
                        bytes.len()
                    ),
                );
            }
        }
        let property = if self.reference().left > 0 { Property::Limit } else { Property::Order };
        self.failure(
            property,
            format!(
                "it ends here, where reading alone gives {total} bytes: some have been lost, or a \
                 limit fell twice for the same bytes"
            ),
        )
    }

    fn check_failed(&self, kind: ErrorKind) -> Result<(), Failure> {
        let reference = self.reference();
        if self.got.len() == reference.bytes.len() && reference.end == Err(kind) {
            return Ok(());
        }
        let instead = match reference.end {
            Ok(()) => "ends".to_owned(),
            Err(kind) => format!("fails with {kind:?}"),
        };
        Err(self.failure(
            Property::Errors,
            format!(
                "it fails with {kind:?}, where reading alone {instead} after {} bytes",
                reference.bytes.len()
            ),
        ))
    }

    fn check_count(
        &self,
        count: Option<&dyn Fn(&S) -> u64>,
        went_past: bool,
    ) -> Result<(), Failure> {
        let Some(count) = count else { return Ok(()) };
        let (counted, given) = (count(&self.source), self.got.len() as u64);
        if counted == given {
            return Ok(());
        }
        let remedy = match went_past {
            true => "count in `taken` too",
            false => "when it is read, count the bytes that this read gives, no more and no less",
        };
        Err(self.failure(
            Property::Count,
            format!("it has given out {given} bytes and counted {counted}: {remedy}"),
        ))
    }

    /// Reads into no room.
    fn read_nothing(&mut self) -> Result<(), Failure> {
        match retry(|| self.source.read(&mut [])) {
            Ok(0) => Ok(()),
            Ok(n) => Err(self.failure(Property::Empty, format!("an empty `read` returned {n}"))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) if self.reference().end == Err(error.kind()) => Ok(()),
            Err(error) => {
                Err(self.failure(Property::Empty, format!("an empty `read` failed: {error}")))
            }
        }
    }
}

impl Reference {
    /// Bypassing the type must use up no more of the input than reading does, and just as much if
    /// nothing is read ahead.
    fn compare_left(&self, seen: Seen, lefts: Vec<(usize, bool, String)>) -> Result<(), Failure> {
        // What a type reads ahead depends on how it is read, and is its own affair.
        let exact = !seen.buffered && !seen.opaque;
        for (left, all_past, context) in lefts {
            if (exact && left != self.left) || (!seen.opaque && all_past && left < self.left) {
                let message = format!(
                    "of the input, {left} bytes are left in the stream where reading alone leaves {}",
                    self.left
                );
                return Err(
                    Failure::new(Property::Limit, self.bytes.len(), message).during(context)
                );
            }
        }
        Ok(())
    }
}

/// One `read`.
fn read(source: &mut impl SourceAccess, len: usize) -> Outcome {
    let mut bytes = vec![0; len];
    match retry(|| source.read(&mut bytes)) {
        Ok(0) => Outcome::Ended(Why::Read),
        Ok(n) if n > len => {
            Outcome::Broken(format!("`read` returned {n} where it was given room for {len}"))
        }
        Ok(n) => {
            bytes.truncate(n);
            Outcome::Bytes(bytes, Via::Read)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::Blocked,
        Err(error) => Outcome::Failed(error.kind()),
    }
}

/// Some steps of one copy; the last of them is the only one that may have brought no bytes.
fn steps_past(
    source: &mut impl SourceAccess,
    len: usize,
    steps: usize,
    seen: &mut Seen,
) -> Vec<Outcome> {
    let (mut link, mut outcomes) = (Link::default(), Vec::new());
    for _ in 0..steps {
        outcomes.push(step_past(source, &mut link, len, seen));
        if !matches!(outcomes.last(), Some(Outcome::Bytes(..))) {
            break;
        }
    }
    outcomes
}

/// One step, as an engine makes it: buffers first, then the descriptor, then the next of a chain.
fn step_past(
    source: &mut impl SourceAccess,
    link: &mut Link,
    len: usize,
    seen: &mut Seen,
) -> Outcome {
    loop {
        let mut at_link = AtLink::Opaque(len);
        let walked = source.walk(*link, &mut |reach| {
            at_link = look(reach, len);
            match &at_link {
                AtLink::Done(Outcome::Bytes(bytes, _)) => bytes.len() as u64,
                _ => 0,
            }
        });
        if let Err(error) = walked {
            return Outcome::Broken(error.error.to_string());
        }
        match at_link {
            AtLink::Done(outcome) => {
                seen.buffered |= matches!(outcome, Outcome::Bytes(_, Via::Buffer));
                return outcome;
            }
            AtLink::Opaque(room) => {
                seen.opaque = true;
                // It may drop links that have ended, once it is read. Those that it keeps end again.
                *link = Link::default();
                return read(source, room);
            }
            AtLink::Ended(why, true) => return Outcome::Ended(why),
            AtLink::Ended(_, false) => *link = link.next(),
        }
    }
}

/// What there is to do at one link of a source.
enum AtLink {
    /// This is the outcome.
    Done(Outcome),
    /// Read at most this many bytes from the top.
    Opaque(usize),
    /// The link has ended, and may be the last.
    Ended(Why, bool),
}

/// Takes some bytes from where they are, at most `len`, though more may be offered.
fn look(reach: Reach<'_>, len: usize) -> AtLink {
    let Reach { bottom, limit, last, .. } = reach;
    let room = usize::try_from(limit).map_or(len, |limit| limit.min(len));
    if limit == 0 {
        return AtLink::Ended(Why::Limit, last);
    }
    match bottom {
        Bottom::Opaque => AtLink::Opaque(room),
        Bottom::Spent => AtLink::Ended(Why::Spent, last),
        Bottom::Buffered(bytes) => {
            let some = bytes[..room.min(bytes.len())].to_vec();
            AtLink::Done(Outcome::Bytes(some, Via::Buffer))
        }
        Bottom::Fd(end) => match wire::read(end.fd.fd(), room) {
            Ok(bytes) if bytes.is_empty() => AtLink::Ended(Why::Descriptor, last),
            Ok(bytes) => AtLink::Done(Outcome::Bytes(bytes, Via::Descriptor)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => AtLink::Done(Outcome::Blocked),
            Err(error) => AtLink::Done(Outcome::Failed(error.kind())),
        },
    }
}
