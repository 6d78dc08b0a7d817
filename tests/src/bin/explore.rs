//! Explores every copy of the chain table under faults, millions of schedules, on all cores.
//!
//! ```text
//! cargo run --release -p zc-testkit --bin explore [-- OPTION…]
//!   --driver D    std (default), or tokio: relays and copies of the async driver, dropped and resumed
//!   --seed N      of the random schedules (default: 1)
//!   --random N    random schedules per scenario (default: 150)
//!   --pairs N     pairs of faults in every Nth scenario (default: 3; 0: none)
//!   --every N     only every Nth scenario (default: 1)
//!   --shared N    1: only scenarios in which others use the same open files (default: 0)
//!   --stop N      stop after N scenarios that failed, per worker (default: 0, never)
//!   --workers N   processes (default: one per core)
//! ```
//!
//! Each worker is a process of its own, since the census of descriptors and the pool of pipes belong
//! to the process.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use zc_testkit::explorer::{Effort, Failure, Menu, Scenario, Tally, cells, explore, tokio};
use zc_testkit::running::start;

struct Options {
    /// Whether the async driver is explored.
    is_async: bool,
    seed: u64,
    random: usize,
    pairs: usize,
    every: usize,
    shared: bool,
    stop: usize,
    workers: usize,
    /// The number of this worker; `None` in the process that leads.
    worker: Option<usize>,
}

fn options() -> Options {
    let mut options = Options {
        is_async: false,
        seed: 1,
        random: 150,
        pairs: 3,
        every: 1,
        shared: false,
        stop: 0,
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        worker: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next();
        if arg == "--driver" {
            options.is_async = match value.as_deref() {
                Some("std") => false,
                Some("tokio") => true,
                other => panic!("no such driver: {other:?}"),
            };
            continue;
        }
        let number = value.and_then(|n| n.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("{arg} wants a number"));
        match arg.as_str() {
            "--seed" => options.seed = number as u64,
            "--random" => options.random = number,
            "--pairs" => options.pairs = number,
            "--every" => options.every = number.max(1),
            "--shared" => options.shared = number != 0,
            "--stop" => options.stop = number,
            "--workers" => options.workers = number.max(1),
            "--worker" => options.worker = Some(number),
            other => panic!("no such option: {other}"),
        }
    }
    options
}

fn main() -> ExitCode {
    let options = options();
    match options.worker {
        Some(worker) => work(&options, worker),
        None => lead(&options),
    }
}

/// Explores this worker's share, and prints the result.
fn work(options: &Options, worker: usize) -> ExitCode {
    type Explore = Box<dyn Fn(&Effort, &mut Tally) -> Result<(), Box<Failure>>>;
    let all: Vec<Explore> = if options.is_async {
        let cells = tokio::cells().into_iter();
        cells.map(|s| -> Explore { Box::new(move |e, t| tokio::explore(&s, e, t)) }).collect()
    } else {
        let cells = cells().into_iter().filter(|scenario| scenario.shared || !options.shared);
        let explore = |s: Scenario| -> Explore {
            Box::new(move |effort, tally| {
                let pairs = effort.pairs.filter(|_| !s.is_bulk());
                explore(&s, &Effort { pairs, ..*effort }, tally)
            })
        };
        cells.map(explore).collect()
    };
    let (mut tally, mut failures) = (Tally::default(), 0);
    let mine = all.into_iter().step_by(options.every).enumerate();
    for (i, explore) in mine.filter(|(i, _)| i % options.workers == worker) {
        let pairs = options.pairs != 0 && (i / options.workers).is_multiple_of(options.pairs);
        let effort = Effort {
            singles: Some(Menu::Full),
            pairs: pairs.then_some(Menu::Brief),
            random: options.random,
            seed: options.seed.wrapping_add(i as u64),
        };
        if let Err(failure) = explore(&effort, &mut tally) {
            failures += 1;
            eprintln!("{failure}");
            if failures == options.stop {
                break;
            }
        }
    }
    let Tally { runs, faults, acts, unjudged } = tally;
    println!("{runs} {faults} {acts} {unjudged} {failures}");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the workers, and adds their results up.
fn lead(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let this = std::env::current_exe().expect("this program has a name");
    let workers: Vec<_> = (0..options.workers)
        .map(|worker| {
            start(
                Command::new(&this)
                    .args(std::env::args().skip(1))
                    .args(["--workers", &options.workers.to_string()])
                    .args(["--worker", &worker.to_string()])
                    .stdout(Stdio::piped()),
            )
        })
        .collect();

    let (mut all, mut failures, mut died) = (Tally::default(), 0, 0);
    for mut worker in workers {
        let out = worker.stdout.take().expect("piped");
        let last = BufReader::new(out).lines().map_while(Result::ok).last().unwrap_or_default();
        let numbers: Vec<u64> = last.split(' ').filter_map(|n| n.parse().ok()).collect();
        let status = worker.wait().expect("it was started");
        match numbers[..] {
            [runs, faults, acts, unjudged, some_failures] => {
                all.runs += runs;
                all.faults += faults;
                all.acts += acts;
                all.unjudged += unjudged;
                failures += some_failures;
            }
            _ => {
                eprintln!("a worker died: {status}");
                died += 1;
            }
        }
    }
    let Tally { runs, faults, acts, unjudged } = all;
    println!(
        "{runs} schedules, {faults} faults injected, {failures} scenarios failed, {acts} acts of others, \
         {unjudged} schedules not followed to their end, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    if failures + died == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
