//! Cells through criterion.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use zc_benches::arena::Arena;
use zc_benches::cells::{self, Bulk, Cell};
use zc_benches::{alloc, peer, subjects};

/// What a round moves: enough for a connection to get going, little enough for many rounds.
const BULK: Bulk = Bulk(8 << 20);

/// Those worth criterion's statistics; `cargo xtask bench` has them all.
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

/// Runs all cells of some groups copy by copy, on one connection that never ends, and says what a
/// copy allocates.
#[allow(dead_code, reason = "for the seed's table")]
pub(crate) fn copies(groups: &[&str]) {
    with_cells(groups, |criterion, arena, cell| {
        let frame = cell.frame.expect("these cells are framed");
        let mut group = criterion.benchmark_group(&cell.name);
        group.throughput(Throughput::Bytes(frame)).sample_size(20);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for (name, _, mut subject) in subjects::local(cell) {
            if !SUBJECTS.contains(&name) {
                continue;
            }
            let (mut from, mut to) = arena.endless(cell).expect("a connection");
            let mut copy = || {
                let n = subject.copy(&mut from, &mut to, Some(frame)).expect("a copy");
                assert_eq!(n, frame);
            };
            let mut wanted = false;
            group.bench_function(name, |bencher| {
                wanted = true;
                bencher.iter(&mut copy);
            });
            if wanted {
                const COPIES: u64 = 100;
                let ((), allocated) = alloc::count(|| (0..COPIES).for_each(|_| copy()));
                let (bytes, calls) = (allocated.bytes / COPIES, allocated.calls / COPIES);
                println!("{:<40} {bytes} B/op, {calls} allocs/op", format!("{}/{name}", cell.name));
            }
            drop((from, to));
            arena.end(cell).expect("the sender stops");
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
