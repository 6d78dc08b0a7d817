//! A copy of the async driver, as data.

use std::fmt;

/// One relay or one-way copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The ends.
    pub ends: Ends,
    /// When the future is dropped, and made anew.
    pub drops: Drops,
    /// The options.
    pub setup: Setup,
    /// Whether the copy chooses its mechanism by the size of the pieces.
    pub adaptive: bool,
}

/// The ends of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Ends {
    Relay(EndKind, EndKind),
    Copy(SourceKind, SinkKind),
}

/// An end of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// A Unix stream.
    Unix,
    /// A TCP stream.
    Tcp,
    /// A `BufReader` around a `BufWriter` around a Unix stream.
    Buffered,
    /// A `Rewind`, with the first bytes read ahead, around a Unix stream.
    Rewound,
    /// A Unix stream whose bytes the kernel may not move.
    Opaque,
}

/// A source of a one-way copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum SourceKind {
    Unix,
    Tcp,
    Pipe,
    /// The owned half of a Unix stream.
    Half,
    /// A `Take` of all but a few bytes.
    Take,
    /// A `BufReader`.
    Buffered,
    /// Bytes in memory, and then a Unix stream.
    Chain,
    Rewound,
    Opaque,
}

/// A sink of a one-way copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum SinkKind {
    Unix,
    Tcp,
    Pipe,
    /// The owned half of a Unix stream.
    Half,
    /// A `BufWriter`.
    Buffered,
    Opaque,
}

/// When a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Drops {
    Never,
    AfterEveryPoll,
    /// After one to four polls, by this seed.
    Now(u64),
}

/// The options, and how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The default options.
    Plain,
    /// Sinks that hold little, so that they are full again and again.
    Tight,
    /// Timeouts: short reads are then taken for the last ones.
    Timed,
    /// Receive coalescing.
    Coalescing,
    /// A limit each way, a small turn and little in flight.
    Limited,
}

/// How many bytes go from the first end to the second, and how many go back.
pub(super) const BYTES: (usize, usize) = (3 * 4096 + 123, 4096 + 57);

/// How many bytes [`Setup::Limited`] lets through in each direction.
pub(super) const LIMITS: (usize, usize) = (BYTES.0 - 1000, BYTES.1 - 100);

/// How many bytes lie behind the limit of [`SourceKind::Take`].
pub(super) const BEHIND: usize = 77;

/// How many bytes are read ahead of a `Rewind`, or come before a chain's second link.
pub(super) const AHEAD: usize = 500;

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    use EndKind as E;
    use SinkKind as K;
    use SourceKind as S;
    let ends = [E::Unix, E::Tcp, E::Buffered, E::Rewound, E::Opaque];
    let sources =
        [S::Unix, S::Tcp, S::Pipe, S::Half, S::Take, S::Buffered, S::Chain, S::Rewound, S::Opaque];
    let sinks = [K::Unix, K::Tcp, K::Pipe, K::Half, K::Buffered, K::Opaque];
    let relays = ends.iter().flat_map(|a| ends.iter().map(|b| Ends::Relay(*a, *b)));
    let copies = sources.iter().flat_map(|from| sinks.iter().map(|to| Ends::Copy(*from, *to)));
    let setups = [Setup::Plain, Setup::Tight, Setup::Timed, Setup::Coalescing, Setup::Limited];
    let mut all = Vec::new();
    for (i, ends) in relays.chain(copies).enumerate() {
        for setup in setups {
            for drops in [Drops::AfterEveryPoll, Drops::Now(i as u64), Drops::Never] {
                let adaptive = all.len() % 2 == 0;
                let scenario = Scenario { ends, drops, setup, adaptive };
                if scenario.is_possible() {
                    all.push(scenario);
                }
            }
        }
    }
    all
}

impl Scenario {
    fn is_possible(&self) -> bool {
        let has_tcp = match self.ends {
            Ends::Relay(a, b) => a == EndKind::Tcp || b == EndKind::Tcp,
            Ends::Copy(from, to) => from == SourceKind::Tcp || to == SinkKind::Tcp,
        };
        match self.setup {
            // With little room TCP advances by the ticks of its timers.
            Setup::Tight => !has_tcp,
            Setup::Coalescing => has_tcp,
            _ => true,
        }
    }
}

impl fmt::Display for Scenario {
    /// As Rust source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = match self.ends {
            Ends::Relay(a, b) => format!("Ends::Relay(EndKind::{a:?}, EndKind::{b:?})"),
            Ends::Copy(from, to) => format!("Ends::Copy(SourceKind::{from:?}, SinkKind::{to:?})"),
        };
        write!(
            f,
            "&tokio::Scenario {{ ends: {ends}, drops: Drops::{:?}, setup: Setup::{:?}, adaptive: {} }}",
            self.drops, self.setup, self.adaptive
        )
    }
}
