//! The fault explorer's short form, which runs with every `cargo test`. The long one is `cargo run --release -p
//! zc-testkit --bin explore`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::MutexGuard;
use std::time::Instant;

use zc_testkit::explorer::{
    Effort, Explorer, Faults, Menu, Misbehaviour, Scenario, Schedule, SinkKind, SourceKind,
    SourceWrap, Tally, cells, decode, errno, explore, replay,
};

/// One test at a time: the census of descriptors and the pool of pipes are the process's.
fn alone() -> MutexGuard<'static, ()> {
    zc_testkit::serial::serial()
}

#[test]
fn nothing_is_lost_under_any_single_fault_or_a_sample_of_more() {
    let _alone = alone();
    let begun = Instant::now();
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    let scenarios = cells();
    for (i, scenario) in scenarios.iter().enumerate() {
        // Other users take threads and forks. A share of these scenarios runs here, all of them in the long form.
        if scenario.shared && i % 12 != 0 {
            continue;
        }
        let effort = Effort {
            // A few random schedules in every scenario, and more than that in some.
            singles: (i % 8 == 0).then_some(if i % 96 == 0 { Menu::Full } else { Menu::Brief }),
            pairs: (i % 193 == 0 && !scenario.is_bulk()).then_some(Menu::Brief),
            random: 8,
            seed: i as u64,
        };
        if let Err(failure) = explore(scenario, &effort, &mut tally) {
            failures.push(failure);
        }
    }
    println!(
        "{} schedules over {} scenarios, {} faults injected, {} acts of others, {} schedules not followed to their \
         end, in {:.1} s",
        tally.runs,
        scenarios.len(),
        tally.faults,
        tally.acts,
        tally.unjudged,
        begun.elapsed().as_secs_f64()
    );
    if let Some(first) = failures.first() {
        panic!("{} scenarios fail, the first like this:\n{first}", failures.len());
    }
    assert!(tally.runs > 50_000, "the explorer explores next to nothing: {tally:?}");
    assert!(tally.acts > 5_000, "others do next to nothing: {tally:?}");
    assert!(tally.unjudged < tally.runs / 1_000, "too much is excused: {tally:?}");
}

#[test]
fn every_kind_of_end_meets_every_other() {
    let all = cells();
    for (source, sink) in [
        (SourceKind::File, SinkKind::File),
        (SourceKind::File, SinkKind::SameFile),
        (SourceKind::Tcp, SinkKind::Append),
        (SourceKind::Unix, SinkKind::Tcp),
        (SourceKind::Pipe, SinkKind::Pipe),
        (SourceKind::Chain, SinkKind::Unix),
        (SourceKind::SeqPacket, SinkKind::SeqPacket),
        (SourceKind::Proc, SinkKind::Memory),
    ] {
        let these = all.iter().filter(|s| (s.source, s.sink) == (source, sink));
        assert!(these.count() >= 4, "{source:?} to {sink:?}");
    }
}

/// Loses the rest of a short write.
fn careless_copy(from: &mut UnixStream, to: &mut Vec<u8>) {
    let mut buf = [0; 4096];
    loop {
        let n = match zc_linux::fd::read(std::os::fd::AsFd::as_fd(from), &mut buf) {
            Ok(0) => return,
            Ok(n) => n,
            // … and stops for good at the first interruption.
            Err(_) => return,
        };
        to.write_all(&buf[..n]).unwrap();
    }
}

#[test]
fn a_program_that_ignores_errors_is_caught_with_the_shortest_schedule() {
    let _alone = alone();
    let mut subject = |faults: &Faults| {
        let (mut client, mut stream) = UnixStream::pair().unwrap();
        client.write_all(&[7; 10_000]).unwrap();
        drop(client);
        let mut out = Vec::new();
        let armed = faults.arm();
        careless_copy(&mut stream, &mut out);
        drop(armed);
        if out.len() == 10_000 { Ok(()) } else { Err(format!("{} bytes arrived", out.len())) }
    };
    let mut explorer = Explorer::new("careless", &mut subject);
    // It copes with short reads.
    let points = [
        (0, Misbehaviour::Short(1)),
        (1, Misbehaviour::Short(4095)),
        (2, Misbehaviour::Fail(errno::EIO)),
        (3, Misbehaviour::Short(1)),
    ];
    let failure = explorer.run(&Schedule(points.to_vec())).unwrap_err();
    assert_eq!(failure.schedule.0.len(), 1, "{failure}");
    assert_eq!(failure.schedule.0[0].1, Misbehaviour::Fail(errno::EIO));
    assert!(
        failure.to_string().contains("replay(careless, &[(2, Fail(EIO))]).unwrap();"),
        "{failure}"
    );
    assert!(explorer.singles(Menu::Brief).is_err());
}

#[test]
fn a_panic_is_a_failure_too() {
    let _alone = alone();
    let mut subject = |_: &Faults| panic!("as it happens");
    let failure = Explorer::new("panics", &mut subject).run(&Schedule::default()).unwrap_err();
    assert!(failure.violation.contains("as it happens"), "{failure}");
}

#[test]
fn a_descriptor_left_open_is_seen() {
    let _alone = alone();
    let census = zc_testkit::explorer::Census::take();
    let file = tempfile::tempfile().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    assert_eq!(census.changes(), (vec![fd], vec![]));
    let census = zc_testkit::explorer::Census::take();
    drop(file);
    assert_eq!(census.changes(), (vec![], vec![fd]));
}

#[test]
fn a_schedule_reaches_into_the_copies_that_resume() {
    let _alone = alone();
    let scenario = Scenario {
        above: vec![SourceWrap::Take(5000)],
        ..Scenario::of(SourceKind::Unix, SinkKind::File)
    };
    let full = Misbehaviour::Fail(errno::ENOSPC);
    let mut trial = zc_testkit::explorer::Trial::new(&scenario);
    let mut fired = 0;
    let mut subject = |faults: &Faults| {
        let verdict = trial.run(faults);
        fired += faults.fired();
        verdict
    };
    let schedule: Vec<_> = (4..12).map(|n| (n, full)).collect();
    Explorer::new("resumes", &mut subject).run(&Schedule(schedule)).unwrap();
    assert!(fired > 1, "only {fired} of the faults were met");
}

#[test]
fn the_same_bytes_decode_to_the_same_run() {
    let bytes: Vec<u8> = (0..200).map(|i: u32| (i * 37 % 251) as u8).collect();
    assert_eq!(decode(&bytes), decode(&bytes));
    assert!(decode(b"").is_some());
}

#[test]
fn a_copy_that_nothing_disturbs_passes() {
    let _alone = alone();
    replay(&Scenario::of(SourceKind::Unix, SinkKind::File), &[]).unwrap();
    // A copy between real ends, outside the explorer's own.
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"bytes").unwrap();
    drop(client);
    let mut out = Vec::new();
    zc_std::copy(&mut (&stream).take(5), &mut out).unwrap();
    assert_eq!(out, b"bytes");
}
