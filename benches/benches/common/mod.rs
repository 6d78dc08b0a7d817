//! Cells through criterion.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use zc_benches::arena::Arena;
use zc_benches::cells::{self, Bulk, Cell};
use zc_benches::{peer, subjects};

/// What a round moves: enough for a connection to get going, and little enough for many rounds.
const BULK: Bulk = Bulk(8 << 20);

/// The subjects worth criterion's statistics. `cargo xtask bench` has all of them.
const SUBJECTS: [&str; 3] = ["zc", "std", "generic"];

/// Runs all cells of some groups, round by round.
#[allow(dead_code, reason = "the seed's table is done otherwise")]
pub(crate) fn rounds(groups: &[&str]) {
    with_cells(groups, |criterion, arena, cell| {
        let mut group = criterion.benchmark_group(&cell.name);
        group.throughput(Throughput::Bytes(cell.bytes)).sample_size(10);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
        for (name, _, mut subject) in subjects::local(cell) {
            if !SUBJECTS.contains(&name) {
                continue;
            }
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut round = |_| {
                        let sample = arena.round(cell, subject.as_mut());
                        sample.unwrap_or_else(|error| panic!("{}, {name}: {error}", cell.name))
                    };
                    (0..iterations).map(&mut round).map(|sample| sample.took.wall).sum()
                });
            });
        }
        group.finish();
    });
}

/// Runs all cells of some groups as one copy of as many messages as criterion likes, so that an operation is a
/// message. Prints what it allocates.
#[allow(dead_code, reason = "for the seed's table")]
pub(crate) fn messages(groups: &[&str]) {
    with_cells(groups, |criterion, arena, cell| {
        let mut group = criterion.benchmark_group(&cell.name);
        group.throughput(Throughput::Bytes(cell.chunk)).sample_size(20);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for (name, _, mut subject) in subjects::local(cell) {
            if !SUBJECTS.contains(&name) {
                continue;
            }
            let mut so_far = (0, 0, 0);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let cell = Cell { bytes: iterations * cell.chunk, ..cell.clone() };
                    let sample = arena.round(&cell, subject.as_mut());
                    let sample = sample.unwrap_or_else(|error| panic!("{}: {error}", cell.name));
                    so_far.0 += iterations;
                    so_far.1 += sample.allocated.bytes;
                    so_far.2 += sample.allocated.calls;
                    sample.took.wall
                });
            });
            let (messages, bytes, calls) = so_far;
            let per_op = |sum: u64| sum.checked_div(messages);
            if let Some((bytes, calls)) = per_op(bytes).zip(per_op(calls)) {
                println!("{}/{name}: {bytes} B/op, {calls} allocs/op", cell.name);
            }
        }
        group.finish();
    });
}

fn with_cells(groups: &[&str], mut run: impl FnMut(&mut Criterion, &mut Arena, &Cell)) {
    peer::serve_if_asked();
    let mut criterion = Criterion::default().configure_from_args();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut arena = Arena::new(dir, None, false).expect("an arena");
    for cell in cells::all(BULK).iter().filter(|cell| groups.contains(&cell.group)) {
        match arena.prepare(cell) {
            Ok(()) => run(&mut criterion, &mut arena, cell),
            Err(reason) => println!("{} skipped: {reason}", cell.name),
        }
    }
    criterion.final_summary();
}
