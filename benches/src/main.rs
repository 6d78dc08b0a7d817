//! Runs cells, and prints samples, from which `cargo xtask bench` makes a report.
//!
//! One line each, with fields separated by tabs:
//!
//! ```text
//! go       VERSION
//! cell     NAME GROUP BYTES COPIES PER_COPY
//! skip     CELL SUBJECT REASON
//! sample   CELL SUBJECT ROLE ROUND WALL_NS CPU_NS PEERS_CPU_NS ALLOCATIONS ALLOCATED_BYTES
//! figure   CELL SUBJECT ROUND WHAT VALUE
//! end      CELL
//! ```

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use zc_benches::arena::{Arena, Sample};
use zc_benches::cells::{self, Bulk, Cell, Place};
use zc_benches::subjects::go::GoPath;
use zc_benches::subjects::{self, Role, Subject};
use zc_benches::{alloc, latency, links, peer, relays, scale};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() -> ExitCode {
    peer::serve_if_asked();
    links::serve_if_asked();
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("run") => Options::parse(args).and_then(|options| run(&options)),
        Some("list") => {
            for cell in cells::all(Bulk::FULL) {
                println!("{}\t{}", cell.name, if cell.quick { "quick" } else { "" });
            }
            for (name, quick) in relays::names() {
                println!("{name}\t{}", if quick { "quick" } else { "" });
            }
            Ok(())
        }
        Some("scale") => {
            let max = args.next().and_then(|max| max.parse().ok()).unwrap_or(16 << 30);
            scale::run(max)
        }
        Some("latency") => latency::run(),
        Some("links") => links::run(),
        _ => Err("usage: zc-bench run|scale|latency|links|list; use cargo xtask".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zc-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    only: Vec<String>,
    subjects: Vec<String>,
    rounds: usize,
    quick: bool,
    pin: bool,
    go: Option<PathBuf>,
    go_relay: Option<PathBuf>,
    dir: PathBuf,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            only: Vec::new(),
            subjects: Vec::new(),
            rounds: 0,
            quick: false,
            pin: false,
            go: None,
            go_relay: None,
            dir: PathBuf::from("target/bench-data"),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            let list = |words: String| words.split(',').map(str::to_owned).collect::<Vec<_>>();
            match arg.as_str() {
                "--only" => options.only.extend(list(value()?)),
                "--subjects" => options.subjects.extend(list(value()?)),
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds: a number")?;
                }
                "--quick" => options.quick = true,
                "--pin" => options.pin = true,
                "--go-program" => options.go = Some(value()?.into()),
                "--go-relay" => options.go_relay = Some(value()?.into()),
                "--dir" => options.dir = value()?.into(),
                _ => return Err(format!("no such option: {arg}")),
            }
        }
        Ok(options)
    }

    /// Cells named on the command line run even if `--quick` leaves them out.
    fn wants_cell(&self, name: &str, quick: bool) -> bool {
        if self.only.is_empty() {
            return !self.quick || quick;
        }
        self.only.iter().any(|glob| cells::matches(glob, name))
    }

    fn wants(&self, name: &str, role: Role) -> bool {
        let named =
            |glob: &String| cells::matches(glob, name) || (role == Role::Floor && glob == "floor");
        self.subjects.is_empty() || self.subjects.iter().any(named)
    }
}

/// A subject to be measured.
enum Runner {
    Here(Box<dyn Subject>),
    Go(GoPath),
}

fn run(options: &Options) -> Result<(), String> {
    run_copies(options)?;
    relays::run(&relays::Plan {
        wants_cell: &|name, quick| options.wants_cell(name, quick),
        wants_subject: &|name| options.wants(name, Role::Subject),
        rounds: options.rounds,
        quick: options.quick,
        go: options.go_relay.clone(),
    })
}

fn run_copies(options: &Options) -> Result<(), String> {
    let bulk = if options.quick { Bulk::QUICK } else { Bulk::FULL };
    let cells = cells::all(bulk);
    let cells: Vec<_> =
        cells.iter().filter(|cell| options.wants_cell(&cell.name, cell.quick)).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let rounds = match options.rounds {
        0 if options.quick => 11,
        0 => 21,
        rounds => rounds,
    };
    let mut arena = Arena::new(&options.dir, options.go.as_deref(), options.pin)
        .map_err(|error| format!("{}: {error}", options.dir.display()))?;
    if let Some(version) = arena.go_version() {
        println!("go\t{version}");
    }
    for cell in cells {
        let Cell { name, group, bytes, copies, .. } = cell;
        println!("cell\t{name}\t{group}\t{bytes}\t{copies}\t{}", cell.per_copy());
        match arena.prepare(cell) {
            Ok(()) => run_cell(&mut arena, cell, rounds, options),
            Err(reason) => println!("skip\t{name}\t*\t{reason}"),
        }
        println!("end\t{name}");
    }
    Ok(())
}

/// Every subject has one turn in each round, in an order drawn anew, after a round that does not count, in which
/// files, pools and buffers get warm.
///
/// Each subject meets what the one before has left: caches, a sender's memory, a runtime whose threads look for work
/// for a while. (Go cost its successor 10 to 15 % from Unix sockets, which take 8 ms.) So the pairs change.
fn run_cell(arena: &mut Arena, cell: &Cell, rounds: usize, options: &Options) {
    let mut runners: Vec<(&str, Role, Runner)> = subjects::local(cell)
        .into_iter()
        .map(|(name, role, subject)| (name, role, Runner::Here(subject)))
        .collect();
    // Go's writers have descriptors, or are Go's own.
    if arena.go_version().is_some() && cell.to != Place::Sink {
        runners.push(("go", Role::Subject, Runner::Go(GoPath::New)));
        if cell.group.starts_with("seed") {
            runners.push(("go-old", Role::Subject, Runner::Go(GoPath::Old)));
        }
    }
    runners.retain(|(name, role, _)| options.wants(name, *role));
    runners.retain_mut(|(name, _, runner)| match once(arena, cell, runner) {
        Ok(_) => true,
        Err(error) => {
            println!("skip\t{}\t{name}\t{error}", cell.name);
            false
        }
    });
    // The same orders in each run.
    let mut orders = fastrand::Rng::with_seed(0);
    for round in 0..rounds {
        orders.shuffle(&mut runners);
        for (name, role, runner) in &mut runners {
            match once(arena, cell, runner) {
                Ok(Sample { took, allocated, peers }) => println!(
                    "sample\t{}\t{name}\t{}\t{round}\t{}\t{}\t{}\t{}\t{}",
                    cell.name,
                    role.name(),
                    took.wall.as_nanos(),
                    took.cpu.as_nanos(),
                    peers.as_nanos(),
                    allocated.calls,
                    allocated.bytes,
                ),
                Err(error) => println!("skip\t{}\t{name}\t{error}", cell.name),
            }
        }
    }
}

fn once(arena: &mut Arena, cell: &Cell, runner: &mut Runner) -> io::Result<Sample> {
    match runner {
        Runner::Here(subject) => arena.round(cell, subject.as_mut()),
        Runner::Go(path) => arena.go_round(cell, *path),
    }
}
