//! A copy to be explored, as data: it can be listed, printed, and decoded from bytes.

use std::fmt;

use super::Act;

/// The length of a message of a sequenced-packet source.
pub(crate) const MESSAGE: usize = 3000;

/// One copy: its two ends, their layers, and how it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Where the bytes come from.
    pub source: SourceKind,
    /// The source's layers, from the inside out.
    pub above: Vec<SourceWrap>,
    /// Where the bytes go.
    pub sink: SinkKind,
    /// The sink's layers, from the inside out.
    pub below: Vec<SinkWrap>,
    /// How the copy is made.
    pub engine: Engine,
    /// How many bytes there are.
    pub payload: usize,
    /// The most that one call takes, as if the sender sent pieces; 0 for no limit.
    pub chunk: usize,
    /// Which ends are in non-blocking mode.
    pub waiting: Waiting,
    /// Whether another user has the same open files, and forks.
    pub shared: bool,
}

/// What the bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum SourceKind {
    File,
    /// A file that is said to be empty.
    Proc,
    Tcp,
    Unix,
    Pipe,
    /// A sequenced-packet socket: read, never spliced, one message at a time.
    SeqPacket,
    /// A byte slice: all of it is buffered, and no descriptor is behind.
    Memory,
    /// Two Unix sockets, one after the other.
    Chain,
    /// A byte slice, then a file.
    MemoryThenFile,
}

/// What the bytes go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum SinkKind {
    File,
    /// A file in append mode, into which nothing can be spliced.
    Append,
    Tcp,
    Unix,
    Pipe,
    /// A sequenced-packet socket: written, never spliced into.
    SeqPacket,
    /// A `Vec`.
    Memory,
    /// /dev/null.
    Null,
    /// `std::io::sink()`.
    Nowhere,
    /// The file that is also the source, past its end. Only with [`SourceKind::File`].
    SameFile,
}

/// A layer around a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceWrap {
    /// `Take` of this many bytes.
    Take(u64),
    /// `BufReader` of this capacity, filled before the copy.
    BufReader(usize),
    /// `Progress`.
    Progress,
    /// `Opaque`: no byte is taken past it.
    Opaque,
}

/// A layer around a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkWrap {
    /// `BufWriter` of the given capacity, which holds that many bytes before the copy.
    BufWriter(usize, usize),
    /// `Progress`.
    Progress,
    /// `Opaque`: no byte is delivered past it.
    Opaque,
}

/// How a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// How the copy goes on after an error.
    pub mode: Mode,
    /// `Copier::adaptive`; the plain copy always is.
    pub adaptive: bool,
    /// `Copier::pipe_size`; the plain copy has its own.
    pub pipe_size: usize,
    /// `Copier::coalesce`, with a delay too short to matter. Only a copier has it.
    pub coalesce: bool,
}

/// Which call copies, or how a transfer is driven by hand, and how the copy goes on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `copy`; the residue in its error is written, then it is called again.
    Plain,
    /// `Copier::copy`; called again.
    Resume,
    /// `Copier::copy`; what `take_residue` yields is written, then it is called again.
    TakeResidue,
    /// `Copier::copy`; the copier is dropped with what it has in flight, which is written anew, and
    /// another goes on.
    Abandon,
    /// A transfer, a step at a time; stepped on.
    Steps,
    /// The same, by a driver that goes after each step and leaves only the transfer to the next one.
    Leave,
    /// The same. The transfer goes to another thread and back after each step.
    Threads,
    /// The same, by steps that either take or deliver.
    HalfSteps,
    /// The same, by steps with this budget.
    Budget(u64),
    /// The same. A child is forked after each step that leaves bytes in flight; it steps its copy of the transfer,
    /// and drops it.
    Forks,
    /// The same, by an event loop with level-triggered readiness.
    Level,
    /// The same, by an event loop with edge-triggered readiness.
    Edge,
}

impl Mode {
    /// Whether a transfer is driven by hand.
    pub fn by_hand(self) -> bool {
        !matches!(self, Mode::Plain | Mode::Resume | Mode::TakeResidue | Mode::Abandon)
    }
}

/// Which ends are in non-blocking mode.
///
/// A non-blocking source has only half of its bytes until the copy has stopped for want of more. A non-blocking sink
/// holds little until the copy has stopped for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Waiting {
    Neither,
    Source,
    Sink,
    Both,
}

impl Waiting {
    /// Whether the source is non-blocking.
    pub fn source(self) -> bool {
        matches!(self, Waiting::Source | Waiting::Both)
    }

    /// Whether the sink is non-blocking.
    pub fn sink(self) -> bool {
        matches!(self, Waiting::Sink | Waiting::Both)
    }
}

impl Scenario {
    /// A copy of a few pages between two kinds of ends, by a `Copier` that is resumed, with no
    /// layers and the first mechanism of the chain.
    pub fn of(source: SourceKind, sink: SinkKind) -> Scenario {
        Scenario {
            source,
            above: Vec::new(),
            sink,
            below: Vec::new(),
            engine: Engine {
                mode: Mode::Resume,
                adaptive: false,
                pipe_size: 8192,
                coalesce: false,
            },
            payload: 3 * 4096 + 123,
            chunk: 0,
            waiting: Waiting::Neither,
            shared: false,
        }
    }

    /// Whether such a copy is possible.
    pub fn is_possible(&self) -> bool {
        let has_mode = |yes: bool| {
            matches!(
                (self.source, yes),
                (SourceKind::Unix | SourceKind::Tcp | SourceKind::Pipe, _) | (_, false)
            )
        };
        let takes_mode = |yes: bool| {
            matches!(
                (self.sink, yes),
                (SinkKind::Unix | SinkKind::Tcp | SinkKind::Pipe, _) | (_, false)
            )
        };
        // A file copied into itself has an end of its own, and the engine refuses if bytes of it were read ahead.
        let reads_ahead = self.above.iter().any(|wrap| matches!(wrap, SourceWrap::BufReader(_)));
        let into_itself = self.source == SourceKind::File && self.ends_itself() && !reads_ahead;
        (self.sink != SinkKind::SameFile || into_itself)
            && has_mode(self.waiting.source())
            && takes_mode(self.waiting.sink())
            // A limit or a buffer that is smaller than a message cuts it: recv(2) drops the rest.
            && (self.source != SourceKind::SeqPacket || self.keeps_messages())
            // std's `Chain` learns only from its own `read` that its first end has ended, and never goes back. So its
            // bytes are then not the sum of those of its ends.
            && !(self.is_chain() && self.hides())
            && (!self.shared || self.can_be_shared())
            && self.above.len() <= 6
            && self.below.len() <= 6
    }

    /// Whether its source is waited for. It makes many calls: pairs of them would take hours.
    pub fn is_bulk(&self) -> bool {
        self.payload > 200_000
    }

    /// What the other user may do in it.
    pub fn acts(&self) -> Vec<Act> {
        if !self.shared {
            return Vec::new();
        }
        let mut acts = match self.source {
            SourceKind::File => vec![Act::Read, Act::CopyOut, Act::Skip],
            SourceKind::Tcp | SourceKind::Unix | SourceKind::Pipe => vec![Act::Read, Act::CopyOut],
            SourceKind::SeqPacket => vec![Act::Read],
            _ => Vec::new(),
        };
        if !matches!(self.sink, SinkKind::Memory | SinkKind::Null | SinkKind::Nowhere) {
            acts.extend([Act::Write, Act::CopyIn]);
        }
        acts.push(Act::Fork);
        acts
    }

    /// Whether the ends can be shared, so that each byte's way can be told.
    fn can_be_shared(&self) -> bool {
        let of_one_end = !self.is_chain() && self.source != SourceKind::Proc;
        of_one_end && self.sink != SinkKind::SameFile
    }

    fn is_chain(&self) -> bool {
        matches!(self.source, SourceKind::Chain | SourceKind::MemoryThenFile)
    }

    /// Whether some layer of the source is opaque.
    fn hides(&self) -> bool {
        self.above.contains(&SourceWrap::Opaque)
    }

    /// Whether a limit ends the copy before its own output becomes its input.
    fn ends_itself(&self) -> bool {
        self.expected(usize::MAX) <= self.payload
    }

    fn keeps_messages(&self) -> bool {
        self.chunk == 0
            && self.above.iter().all(|wrap| match wrap {
                SourceWrap::Take(n) => *n >= self.payload as u64,
                SourceWrap::BufReader(capacity) => *capacity >= MESSAGE,
                SourceWrap::Progress | SourceWrap::Opaque => true,
            })
    }

    /// How many of `available` bytes the limits let through.
    pub(crate) fn expected(&self, available: usize) -> usize {
        let limit = |n: &SourceWrap| match n {
            SourceWrap::Take(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        self.above.iter().filter_map(limit).fold(available, usize::min)
    }
}

impl fmt::Display for Scenario {
    /// As Rust source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Engine { mode, adaptive, pipe_size, coalesce } = self.engine;
        write!(f, "&Scenario {{ source: SourceKind::{:?}, above: vec![", self.source)?;
        for (i, wrap) in self.above.iter().enumerate() {
            write!(f, "{}SourceWrap::{wrap:?}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "], sink: SinkKind::{:?}, below: vec![", self.sink)?;
        for (i, wrap) in self.below.iter().enumerate() {
            write!(f, "{}SinkWrap::{wrap:?}", if i == 0 { "" } else { ", " })?;
        }
        write!(
            f,
            "], engine: Engine {{ mode: Mode::{mode:?}, adaptive: {adaptive}, pipe_size: {pipe_size}, coalesce: {coalesce} }}, payload: {}, chunk: {}, waiting: Waiting::{:?}, shared: {} }}",
            self.payload, self.chunk, self.waiting, self.shared
        )
    }
}
