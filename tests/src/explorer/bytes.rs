//! Scenarios and schedules out of bytes, for fuzzing.
//!
//! Every string of bytes decodes to something, as far as it can. A byte that is missing is 0, and a choice takes its
//! byte modulo the number of choices. So a fuzzer's small changes stay small.

use super::misbehaviour::any;
use super::scenario::{
    Engine, Mode, Scenario, SinkKind, SinkWrap, SourceKind, SourceWrap, Waiting,
};
use super::{Misbehaviour, Schedule};

/// What `bytes` decode to; `None` if there can be no such copy.
pub fn decode(bytes: &[u8]) -> Option<(Scenario, Vec<(usize, Misbehaviour)>)> {
    let mut bytes = Bytes(bytes);
    let scenario = scenario(&mut bytes);
    scenario.is_possible().then(|| (scenario, schedule(&mut bytes).0))
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let wide = if bound > 256 { self.next() } else { 0 };
        let wide = if bound > 65_536 { wide << 16 | self.next() << 8 } else { wide << 8 };
        (wide | self.next()) % bound
    }

    fn of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }
}

fn scenario(bytes: &mut Bytes<'_>) -> Scenario {
    let payload = bytes.below(80_000);
    Scenario {
        source: bytes.of([
            SourceKind::File,
            SourceKind::Unix,
            SourceKind::Pipe,
            SourceKind::Chain,
            SourceKind::Tcp,
            SourceKind::Memory,
            SourceKind::MemoryThenFile,
            SourceKind::SeqPacket,
            SourceKind::Proc,
        ]),
        sink: bytes.of([
            SinkKind::File,
            SinkKind::Unix,
            SinkKind::Pipe,
            SinkKind::Append,
            SinkKind::Tcp,
            SinkKind::Memory,
            SinkKind::SeqPacket,
            SinkKind::SameFile,
        ]),
        payload,
        above: (0..bytes.below(6)).map(|_| source_wrap(bytes)).collect(),
        below: (0..bytes.below(5)).map(|_| sink_wrap(bytes)).collect(),
        engine: Engine {
            mode: mode(bytes.next()),
            adaptive: bytes.below(2) == 1,
            pipe_size: bytes.of([8192, 4096, 16_384, 65_536]),
            coalesce: bytes.below(8) == 7,
        },
        chunk: bytes.of([0, 16_384, 5000, 2048]),
        waiting: bytes.of([Waiting::Neither, Waiting::Source, Waiting::Sink, Waiting::Both]),
        // A schedule from bytes has no other users.
        shared: false,
    }
}

/// Later modes have numbers that no input of the corpus had, so that those inputs still decode to the same.
fn mode(number: usize) -> Mode {
    const FIRST: [Mode; 4] = [Mode::Resume, Mode::Plain, Mode::TakeResidue, Mode::Abandon];
    match number {
        195 | 196 => Mode::Steps,
        197 | 198 => Mode::Leave,
        199 => Mode::Threads,
        200 | 201 => Mode::HalfSteps,
        202 => Mode::Budget(1),
        203 => Mode::Budget(1500),
        204 => Mode::Budget(4096),
        205 => Mode::Budget(65_536),
        _ => FIRST[number % FIRST.len()],
    }
}

fn source_wrap(bytes: &mut Bytes<'_>) -> SourceWrap {
    match bytes.below(6) {
        0..=2 => SourceWrap::Take(bytes.below(50_000) as u64),
        3 => SourceWrap::BufReader(1 + bytes.below(9000)),
        4 => SourceWrap::Progress,
        _ => SourceWrap::Opaque,
    }
}

fn sink_wrap(bytes: &mut Bytes<'_>) -> SinkWrap {
    match bytes.below(4) {
        0 | 1 => SinkWrap::BufWriter(1 + bytes.below(9000), bytes.below(600)),
        2 => SinkWrap::Progress,
        _ => SinkWrap::Opaque,
    }
}

/// Each point is the distance to the one before, and a fault.
fn schedule(bytes: &mut Bytes<'_>) -> Schedule {
    const LONGEST: usize = 24;
    let (mut schedule, mut n) = (Schedule::default(), 0);
    while !bytes.0.is_empty() && schedule.0.len() < LONGEST {
        n += bytes.below(16);
        schedule.0.push((n, any(|bound| bytes.below(bound))));
        n += 1;
    }
    schedule
}
