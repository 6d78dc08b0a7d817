//! `cargo xtask bench`: every subject side by side, and the report.
//!
//! ```text
//! cargo xtask bench --quick                                   two minutes, one cell of each kind
//! cargo xtask bench --go go                                   everything, into docs/performance
//! cargo xtask bench --only 'tcp-ext4/128K' --subjects zc,floor   one cell, to tune by
//! cargo xtask bench --only 'framed-*/64,seed-unix/*' --rounds 5
//! cargo xtask bench --list                                    the cells
//! cargo xtask bench --latency                                 how long the last byte of a burst takes into a file
//! cargo xtask bench --links                                   links that are no loopback, in network namespaces: as root
//! ```
//!
//! A cell is FROM-TO/SIZE; SIZE is what the sender writes at a time, or the length of a file. `seed-*` cells are the
//! table of the change in Go that zc began with: long copies into /dev/null, and `seed-ext4-*` into a file.
//! `framed-*` cells copy `take(SIZE)` again and again on one connection. `*-new` cells copy to a file that is empty
//! at first; all others overwrite theirs in place.
//!
//! Subjects are zc, std, generic (32 KiB), go, and go-old (in the seed's table: with `io.ReaderFrom` and
//! `io.WriterTo` hidden, as before the change). Of zc there are also zc-loop (an event loop, where a socket is),
//! zc-splice (TCP into /dev/null: moved, not dropped), zc-coalesce (where writes are small), and zc-plain (without
//! waits for a handful). The bare loops (rw-64K, splice-256K, wait-256K, …) together are called floor; the best of
//! them by CPU time is *the* floor of a cell.
//!
//! `relay-*` cells have subjects of their own, whole processes on one thread each. These are zc (the plain call),
//! zc-timed (with an idle timeout), zc-coalesce (that, and coalescing), tokio-8K, tokio-64K, splice2, go, and haproxy
//! and haproxy-1M (by the size of its pipes). Their load comes from this machine, too. They need haproxy, iproute2,
//! util-linux and perf; what is missing is left out.
//!
//! The bench program (`benches/src/main.rs`) runs every subject of a cell once a round, in an order drawn anew for
//! each round, and prints samples. Figures here are medians over the rounds of what was measured *within* a round. So
//! a machine that is slow for a while is slow for all subjects. ± is half the distance between the quartiles.
//!
//! "and peers" adds the CPU time of sender and drain. Over loopback the side that sends an acknowledgement also does
//! some of the other side's sending. So a subject can look cheap or dear by which side happens to wait. The sum
//! cannot. On a busy machine, `nice -n -20 cargo xtask bench …` helps.

mod machine;
mod plot;
mod relays;
mod report;
mod samples;
mod seed;
mod stats;
mod table;
mod target;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use samples::Run;

/// Measure zc side by side with std, Go and bare loops
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A two-minute run: one cell of each kind, fewer rounds, fewer bytes
    #[arg(long)]
    quick: bool,
    /// Only cells whose name matches one of these, separated by commas; * is anything
    #[arg(long, value_name = "GLOBS")]
    only: Option<String>,
    /// Only these subjects, separated by commas; "floor" is all bare loops
    #[arg(long, value_name = "NAMES")]
    subjects: Option<String>,
    /// How often each subject does each cell [default: 21, or 11 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// The Go toolchain; without it, Go is left out
    #[arg(long, value_name = "PATH")]
    go: Option<PathBuf>,
    /// Keep the copying thread on processor 1 and its peers on processor 0: steadier figures, for
    /// tuning, not for quoting
    #[arg(long)]
    pin: bool,
    /// Where the report goes [default: docs/performance for a whole run, or target/bench/report]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Make the report from the samples of an earlier run (target/bench/samples.tsv)
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Name the cells, and measure nothing
    #[arg(long)]
    list: bool,
    /// How long the last byte of a burst takes into a file, with and without waits for a handful, and nothing else
    #[arg(long)]
    latency: bool,
    /// Links that are no loopback, with and without waits for a handful, and nothing else; takes root
    #[arg(long, conflicts_with = "latency")]
    links: bool,
}

impl Args {
    fn is_whole(&self) -> bool {
        !self.quick && self.only.is_none() && self.subjects.is_none() && !self.pin
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    enter_root()?;
    let work = Path::new("target/bench");
    std::fs::create_dir_all(work)?;
    for (asked, word) in [(args.latency, "latency"), (args.links, "links")] {
        if asked {
            return succeed(
                Command::new(std::fs::canonicalize(program()?)?).arg(word).current_dir(work),
            );
        }
    }

    let run = match &args.from {
        Some(file) => Run::parse(&std::fs::read_to_string(file)?)?,
        None => {
            let Some(text) = measure(args, work)? else { return Ok(()) };
            std::fs::write(work.join("samples.tsv"), &text)?;
            Run::parse(&text)?
        }
    };
    println!("\n{}", table::summary(&run));
    println!("{}", report::verdicts(&run).join("\n"));

    let out = match &args.out {
        Some(dir) => dir.clone(),
        None if args.is_whole() => "docs/performance".into(),
        None => work.join("report"),
    };
    report::write(&run, &machine::describe(run.go.as_deref()), &out)?;
    println!("\nreport: {}", out.join("report.md").display());
    Ok(())
}

/// Paths here are relative to the workspace.
pub(crate) fn enter_root() -> Outcome {
    Ok(std::env::set_current_dir(crate::root())?)
}

/// Builds the bench program. Returns its path.
pub(crate) fn program() -> Result<PathBuf, Box<dyn Error>> {
    enter_root()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // By itself: with other members of the workspace it would have their features, such as zc's hooks.
    succeed(Command::new(cargo).args(["build", "--release", "--quiet", "-p", "zc-benches"]))?;
    Ok("target/release/zc-bench".into())
}

/// Builds and runs the bench program, and shows each cell as it comes. Returns all samples.
fn measure(args: &Args, work: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let mut bench = Command::new(program()?);
    if args.list {
        succeed(bench.arg("list"))?;
        return Ok(None);
    }
    bench.arg("run").arg("--dir").arg(work.join("data"));
    match &args.go {
        Some(go) => {
            for (flag, name, package) in
                [("--go-program", "zc-go", "."), ("--go-relay", "zc-go-relay", "./relay")]
            {
                let program = std::env::current_dir()?.join(work).join(name);
                let mut build = Command::new(go);
                build.current_dir("benches/go").args(["build", "-o"]).arg(&program).arg(package);
                succeed(&mut build)?;
                bench.arg(flag).arg(program);
            }
        }
        None => eprintln!("Go left out: no toolchain given (--go PATH)"),
    }
    for (flag, value) in [("--only", &args.only), ("--subjects", &args.subjects)] {
        if let Some(value) = value {
            bench.args([flag, value]);
        }
    }
    if let Some(rounds) = args.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    bench.args(args.quick.then_some("--quick")).args(args.pin.then_some("--pin"));

    let mut child = bench.stdout(Stdio::piped()).spawn()?;
    let (mut text, mut cell) = (String::new(), String::new());
    for line in BufReader::new(child.stdout.take().expect("asked for")).lines() {
        let line = line? + "\n";
        text.push_str(&line);
        if line.starts_with("cell\t") {
            cell.clear();
        }
        cell.push_str(&line);
        if line.starts_with("end\t") {
            print!("{}", table::cell(&Run::parse(&cell)?.cells[0]));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the bench program failed: {status}").into());
    }
    Ok(Some(text))
}

fn succeed(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
