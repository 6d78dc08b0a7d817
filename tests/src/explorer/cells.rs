//! The copies that are explored: every cell of the chain table, in every wrapping.

use super::scenario::{
    Engine, Mode, Scenario, SinkKind, SinkWrap, SourceKind, SourceWrap, Waiting,
};

const SOURCES: [SourceKind; 9] = [
    SourceKind::File,
    SourceKind::Proc,
    SourceKind::Tcp,
    SourceKind::Unix,
    SourceKind::Pipe,
    SourceKind::SeqPacket,
    SourceKind::Memory,
    SourceKind::Chain,
    SourceKind::MemoryThenFile,
];

const SINKS: [SinkKind; 10] = [
    SinkKind::File,
    SinkKind::Append,
    SinkKind::Tcp,
    SinkKind::Unix,
    SinkKind::Pipe,
    SinkKind::SeqPacket,
    SinkKind::Memory,
    SinkKind::SameFile,
    SinkKind::Null,
    SinkKind::Nowhere,
];

/// Layers above a source of `payload` bytes, and below a sink. The first pair has none.
fn wrappings(payload: usize) -> Vec<(Vec<SourceWrap>, Vec<SinkWrap>)> {
    use SinkWrap::BufWriter;
    use SourceWrap::{BufReader, Take};
    let (source_progress, source_opaque) = (SourceWrap::Progress, SourceWrap::Opaque);
    let (sink_progress, sink_opaque) = (SinkWrap::Progress, SinkWrap::Opaque);
    let share = |percent: usize| (payload * percent / 100) as u64;
    vec![
        (vec![], vec![]),
        (vec![Take(share(90))], vec![]),
        (vec![Take(share(100))], vec![]),
        (vec![BufReader(100)], vec![]),
        (vec![Take(50), BufReader(100)], vec![]),
        (vec![], vec![BufWriter(64, 10)]),
        (vec![source_progress], vec![sink_progress]),
        (vec![BufReader(5000), Take(share(70))], vec![BufWriter(64, 10)]),
        (
            vec![Take(share(70)), BufReader(100), source_progress],
            vec![sink_progress, BufWriter(4096, 100), sink_progress],
        ),
        (
            vec![
                source_progress,
                Take(share(150)),
                BufReader(64),
                Take(share(80)),
                source_progress,
            ],
            vec![BufWriter(32, 5), BufWriter(64, 7)],
        ),
        (vec![source_opaque], vec![]),
        (vec![], vec![sink_opaque]),
        (vec![BufReader(100), source_opaque, Take(share(95))], vec![BufWriter(512, 500)]),
        (
            vec![Take(share(100)), SourceWrap::BufReader(3000)],
            vec![sink_progress, BufWriter(9000, 1)],
        ),
    ]
}

/// How a copy is made, how many bytes it has, and how many come at a time.
fn engines() -> Vec<(Engine, usize, usize)> {
    // A few pages, through a pipe of two; and enough for an adaptive copy to splice.
    const FEW: usize = 3 * 4096 + 123;
    const RICH: usize = 80_000;
    const PIECE: usize = 16 * 1024;
    // Enough to prove a bulk sender, and a few handfuls.
    const BULK: usize = 14 * PIECE;
    let engine = |mode, adaptive, pipe_size| Engine { mode, adaptive, pipe_size, coalesce: false };
    let gathering = |engine| Engine { coalesce: true, ..engine };
    vec![
        (engine(Mode::Resume, false, 8192), FEW, 0),
        (engine(Mode::Plain, true, 0), RICH, PIECE),
        (engine(Mode::TakeResidue, false, 8192), FEW, 5000),
        (engine(Mode::Resume, true, 8192), RICH, PIECE),
        (engine(Mode::Abandon, false, 4096), FEW, 0),
        (gathering(engine(Mode::Resume, true, 8192)), FEW, 3000),
        (engine(Mode::Steps, true, 8192), RICH, PIECE),
        (engine(Mode::Leave, false, 8192), FEW, 0),
        (engine(Mode::HalfSteps, false, 8192), FEW, 0),
        (engine(Mode::Budget(1500), false, 4096), FEW, 0),
        (engine(Mode::Threads, false, 8192), FEW, 5000),
        (engine(Mode::Forks, false, 8192), FEW, 0),
        (engine(Mode::Level, true, 8192), RICH, PIECE),
        (engine(Mode::Edge, false, 8192), FEW, 5000),
        (engine(Mode::Edge, true, 8192), RICH, PIECE),
        (engine(Mode::Resume, true, 64 * 1024), BULK, PIECE),
    ]
}

/// All scenarios: cells by wrappings by engines, those with ends in non-blocking mode, and those with other users.
pub fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (sources, source) in SOURCES.into_iter().enumerate() {
        for sink in SINKS {
            for (n, (engine, payload, chunk)) in engines().into_iter().enumerate() {
                for (i, (above, below)) in wrappings(payload).into_iter().enumerate() {
                    let bare = Scenario {
                        source,
                        above,
                        sink,
                        below,
                        engine,
                        payload,
                        chunk: if source == SourceKind::SeqPacket { 0 } else { chunk },
                        waiting: Waiting::Neither,
                        shared: false,
                    };
                    // All modes that are driven by hand make the same steps, so each gets a share of the layers.
                    if engine.mode.by_hand() && i % 5 != (n + sources) % 5 {
                        continue;
                    }
                    if engine.coalesce && source != SourceKind::Tcp {
                        continue;
                    }
                    let waits = matches!(sink, SinkKind::File | SinkKind::Null | SinkKind::Nowhere);
                    if bare.is_bulk() && !(source == SourceKind::Tcp && waits && i % 3 == 0) {
                        continue;
                    }
                    // A share of them with other users.
                    if i % 4 == (n + sources) % 4 || engine.mode.by_hand() && i % 2 == n % 2 {
                        let shared = Scenario { shared: true, ..bare.clone() };
                        for waiting in [Waiting::Source, Waiting::Both, Waiting::Sink] {
                            if i % 3 == n % 3 {
                                scenarios.push(Scenario { waiting, ..shared.clone() });
                            }
                        }
                        scenarios.push(shared);
                    }
                    if i % 3 == 0 {
                        for waiting in [Waiting::Source, Waiting::Sink, Waiting::Both] {
                            scenarios.push(Scenario { waiting, ..bare.clone() });
                        }
                    }
                    scenarios.push(bare);
                }
            }
        }
    }
    scenarios.retain(Scenario::is_possible);
    scenarios
}
