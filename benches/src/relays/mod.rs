//! Relays side by side: zc-tokio, and what relays are built with today. Each carries the connections to one address
//! on to another.
//!
//! Every relay is a process of its own, on one thread. Its CPU time is that of all its threads. The load comes from
//! this process.

mod load;
mod process;
mod subjects;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clock::Took;
use load::Figure;
use subjects::{Manner, Subject};

/// What is measured, and which relays.
pub struct Plan<'a> {
    /// Whether a cell is wanted. The second argument is whether `--quick` includes it.
    pub wants_cell: &'a dyn Fn(&str, bool) -> bool,
    /// Whether a subject is wanted.
    pub wants_subject: &'a dyn Fn(&str) -> bool,
    /// How many rounds each cell has; 0 for the default.
    pub rounds: usize,
    /// Fewer bytes, fewer requests.
    pub quick: bool,
    /// The Go relay; without it Go is left out.
    pub go: Option<PathBuf>,
}

/// The table that all of these belong to.
const GROUP: &str = "relay";

/// As many rounds as are of use: resident memory varies little.
const ROUNDS_OF_MEMORY: usize = 3;

/// How many connections are idle, and how many are stalled.
const IDLE: usize = 2000;
const STALLED: usize = 1000;

/// The names of the cells that [`STALLED`] connections make, and of what is measured of them besides.
const BESIDE: &str = "relay-beside/1000";
const DRAIN: &str = "relay-drain/1000";

/// Set in the process that has a network namespace of its own.
const APART: &str = "ZC_BENCH_APART";

#[derive(Clone, Copy, Debug)]
enum Load {
    /// This many connections at once, which carry many bytes.
    Bulk(usize),
    /// The same, with every poll timed.
    Polls(usize),
    /// This many connections, which ask again and again.
    Requests(usize),
    Churn,
    Idle,
}

/// A cell: its name, and its load.
struct Cell {
    name: String,
    load: Load,
    quick: bool,
}

fn cells() -> Vec<Cell> {
    let cell = |name: String, load, quick| Cell { name, load, quick };
    let bulk = |n| cell(format!("relay-bulk/{n}"), Load::Bulk(n), n == 16);
    let mut cells: Vec<_> = [1, 16, 64, 256].into_iter().map(bulk).collect();
    cells.push(cell("relay-polls/16".into(), Load::Polls(16), false));
    cells.push(cell("relay-requests/64".into(), Load::Requests(64), true));
    cells.push(cell("relay-churn/16".into(), Load::Churn, true));
    cells.push(cell(format!("relay-idle/{IDLE}"), Load::Idle, false));
    cells
}

/// The names of all cells, and whether `--quick` includes them.
pub fn names() -> impl Iterator<Item = (String, bool)> {
    let stalled = [BESIDE, DRAIN].map(|name| (name.to_owned(), false));
    cells().into_iter().map(|cell| (cell.name, cell.quick)).chain(stalled)
}

/// The size of each load.
struct Amounts {
    bulk: u64,
    /// On each connection.
    requests: usize,
    connections: usize,
    download: u64,
    sips: usize,
}

impl Plan<'_> {
    fn amounts(&self) -> Amounts {
        let quick = Amounts {
            bulk: 256 << 20,
            requests: 60,
            connections: 500,
            download: 64 << 20,
            sips: 5,
        };
        let full = Amounts {
            bulk: 1 << 30,
            requests: 400,
            connections: 2000,
            download: 256 << 20,
            sips: 20,
        };
        if self.quick { quick } else { full }
    }

    fn subjects(&self) -> Vec<Subject> {
        let mut all = subjects::all(self.go.as_ref());
        all.retain(|subject| (self.wants_subject)(subject.name));
        all
    }

    fn rounds(&self) -> usize {
        match self.rounds {
            0 if self.quick => 5,
            0 => 11,
            rounds => rounds,
        }
    }
}

/// Runs every cell that is wanted.
///
/// # Errors
///
/// Those of starting processes. A subject that fails is skipped, with a message.
pub fn run(plan: &Plan<'_>) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    allow_descriptors().map_err(words)?;
    if std::env::var_os(APART).is_some() {
        run_stalled(plan);
        return Ok(());
    }
    for cell in cells().iter().filter(|cell| (plan.wants_cell)(&cell.name, cell.quick)) {
        run_cell(plan, cell);
    }
    if [BESIDE, DRAIN].iter().any(|name| (plan.wants_cell)(name, false)) {
        again_apart().map_err(words)?;
    }
    Ok(())
}

/// For this process and those it starts: thousands of connections take up to six descriptors each.
fn allow_descriptors() -> io::Result<()> {
    const NEED: u64 = 20_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < NEED) {
        let maximum = limit.maximum.map(|maximum| maximum.max(NEED));
        setrlimit(Resource::Nofile, Rlimit { current: Some(NEED), maximum })?;
    }
    Ok(())
}

/// Every subject has one turn in each round, in an order drawn anew, after a round that does not count.
fn run_cell(plan: &Plan<'_>, cell: &Cell) {
    let amounts = plan.amounts();
    let (bytes, copies, per_copy) = match cell.load {
        Load::Bulk(n) | Load::Polls(n) => (amounts.bulk / n as u64 * n as u64, 1, false),
        // A request is a question and its answer.
        Load::Requests(n) => {
            ((n * amounts.requests * 17) as u64 * 1024, n * amounts.requests, true)
        }
        Load::Churn => (amounts.connections as u64 * (16 << 10), amounts.connections, true),
        Load::Idle => (IDLE as u64 * (2 << 10), IDLE, true),
    };
    println!("cell\t{}\t{GROUP}\t{bytes}\t{copies}\t{per_copy}", cell.name);
    let mut subjects = plan.subjects();
    if matches!(cell.load, Load::Polls(_)) {
        subjects.retain(Subject::probes);
    }
    let mut rounds = plan.rounds();
    let mut first = Vec::new();
    subjects.retain(|subject| match once(subject, cell.load, &amounts, true) {
        Ok(outcome) => {
            first.push((subject.name, outcome.figures));
            true
        }
        Err(error) => {
            println!("skip\t{}\t{}\t{error}", cell.name, subject.name);
            false
        }
    });
    // To count its calls slows a relay down, so these figures come from the round that does not count.
    for (name, figures) in &first {
        print_figures(&cell.name, name, 0, figures.iter().filter(|figure| figure.0 == CALLS));
    }
    if matches!(cell.load, Load::Idle) {
        rounds = rounds.min(ROUNDS_OF_MEMORY);
    }
    in_turn(rounds, &mut subjects, |round, subject| {
        match once(subject, cell.load, &amounts, false) {
            Ok(outcome) => {
                if let Some(took) = outcome.took {
                    print_sample(&cell.name, subject.name, round, took);
                }
                print_figures(&cell.name, subject.name, round, &outcome.figures);
            }
            Err(error) => println!("skip\t{}\t{}\t{error}", cell.name, subject.name),
        }
    });
    println!("end\t{}", cell.name);
}

/// Has every subject do something once a round, in the same orders in each run.
fn in_turn(rounds: usize, subjects: &mut [Subject], mut each: impl FnMut(usize, &Subject)) {
    let mut orders = fastrand::Rng::with_seed(0);
    for round in 0..rounds {
        orders.shuffle(subjects);
        for subject in &*subjects {
            each(round, subject);
        }
    }
}

fn print_sample(cell: &str, subject: &str, round: usize, took: Took) {
    let (wall, cpu) = (took.wall.as_nanos(), took.cpu.as_nanos());
    println!("sample\t{cell}\t{subject}\tsubject\t{round}\t{wall}\t{cpu}\t0\t0\t0");
}

fn print_figures<'a>(
    cell: &str,
    subject: &str,
    round: usize,
    figures: impl IntoIterator<Item = &'a Figure>,
) {
    for (name, value) in figures {
        println!("figure\t{cell}\t{subject}\t{round}\t{name}\t{value}");
    }
}

/// How many system calls the relay makes for one request.
const CALLS: &str = "system calls/request";

/// The result of one round of one subject.
#[derive(Default)]
struct Outcome {
    took: Option<Took>,
    figures: Vec<Figure>,
}

/// One round, with new servers, a new relay and new clients. `is_first`: the round does not count.
fn once(subject: &Subject, load: Load, amounts: &Amounts, is_first: bool) -> io::Result<Outcome> {
    let mut manner = Manner::default();
    match load {
        Load::Bulk(n) | Load::Polls(n) => {
            let each = amounts.bulk / n as u64;
            manner.probe = matches!(load, Load::Polls(_));
            let servers = load::start_sinks(each)?;
            let mut relay = subject.start(servers.address, manner)?;
            let took = Some(load::bulk(&relay, n, each)?);
            let mut figures = Vec::new();
            if manner.probe {
                figures.push(("longest poll µs", relay.longest_poll()?.as_nanos() as f64 / 1e3));
            }
            Ok(Outcome { took, figures })
        }
        Load::Requests(n) => {
            let servers = load::start_answering()?;
            let relay = subject.start(servers.address, manner)?;
            let calls = is_first.then(|| relay.count_calls().ok()).flatten();
            let (took, mut figures) = load::requests(&relay, n, amounts.requests)?;
            if let Some(calls) = calls.and_then(|calls| calls.finish().ok()) {
                // The first request on each connection comes before the clock starts.
                figures.push((CALLS, calls as f64 / (n * (amounts.requests + 1)) as f64));
            }
            Ok(Outcome { took: Some(took), figures })
        }
        Load::Churn => {
            let servers = load::start_taking()?;
            let relay = subject.start(servers.address, manner)?;
            let took = Some(load::churn(&relay, amounts.connections)?);
            Ok(Outcome { took, ..Outcome::default() })
        }
        Load::Idle => {
            let servers = load::start_echoing()?;
            let relay = subject.start(servers.address, manner)?;
            Ok(Outcome { took: None, figures: load::idle(&relay, IDLE)? })
        }
    }
}

/// Runs this program again in a network namespace of its own, where sockets buffer little. Otherwise a thousand
/// stalled connections would fill the machine's memory for TCP.
fn again_apart() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("cell\t{BESIDE}\t{GROUP}\t1\t1\tfalse");
        println!("skip\t{BESIDE}\t*\ta network of its own needs root");
        println!("end\t{BESIDE}");
        return Ok(());
    }
    const SETUP: &str = "ip link set lo up && \
        echo 4096 16384 262144 > /proc/sys/net/ipv4/tcp_wmem && \
        echo 4096 65536 262144 > /proc/sys/net/ipv4/tcp_rmem && exec \"$0\" \"$@\"";
    let status = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", SETUP])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(APART, "1")
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("apart: {status}"))) }
}

/// The cells of stalled connections, which come from one run. The relay is an ordinary user's.
fn run_stalled(plan: &Plan<'_>) {
    let Amounts { download, sips, .. } = plan.amounts();
    let drained = STALLED * sips * (16 << 10);
    let mut later = vec![format!("cell\t{DRAIN}\t{GROUP}\t{drained}\t1\tfalse")];
    println!("cell\t{BESIDE}\t{GROUP}\t{download}\t1\tfalse");
    let manner = Manner { as_nobody: true, probe: false };
    in_turn(plan.rounds(), &mut plan.subjects(), |round, subject| {
        let stalled = load::start_stalling(download).and_then(|(servers, sent)| {
            let relay = subject.start(servers.address, manner)?;
            load::stalled(&relay, &sent, STALLED, download, sips)
        });
        let name = subject.name;
        match stalled {
            Ok(stalled) => {
                print_sample(BESIDE, name, round, stalled.beside);
                print_figures(BESIDE, name, round, &stalled.holding);
                let (wall, cpu) = (stalled.drain.wall.as_nanos(), stalled.drain.cpu.as_nanos());
                later.push(format!(
                    "sample\t{DRAIN}\t{name}\tsubject\t{round}\t{wall}\t{cpu}\t0\t0\t0"
                ));
            }
            Err(error) => println!("skip\t{BESIDE}\t{name}\t{error}"),
        }
    });
    println!("end\t{BESIDE}\n{}\nend\t{DRAIN}", later.join("\n"));
}
