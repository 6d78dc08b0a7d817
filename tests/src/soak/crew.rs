//! Where copies are made: on threads, in forked children, and in programs that inherit the ends.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use zc_std::Side;

use super::copying::Copying;
use super::tally::Tally;
use super::workload::Random;
use crate::each_cell::joined;
use crate::forked::{Forked, forked};
use crate::pipes;
use crate::running::{Running, start};

/// Longer than a hang is left alone.
pub(super) const PATIENCE: Duration = Duration::from_secs(3600);

/// The argument that makes the soak's own program a copier.
const COPY: &str = "--copy";

/// Where a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Thread,
    Child,
    Program,
}

impl Who {
    pub(super) fn random(random: &mut Random) -> Who {
        random.pick(&[Who::Thread, Who::Thread, Who::Thread, Who::Child, Who::Program])
    }
}

/// Makes all of `copies` at once, while one more thread does something else. Returns what they did, in order.
///
/// # Panics
///
/// If one of the copies fails.
pub(super) fn work<T: Send>(
    copies: Vec<(Who, Copying)>,
    meanwhile: impl FnOnce() -> T + Send,
) -> (Vec<Tally>, T) {
    let count = |who| copies.iter().filter(|(by, _)| *by == who).count();
    let start = &Barrier::new(count(Who::Thread) + 2);
    thread::scope(|scope| {
        // Programs take a while to begin. Children copy at once.
        let (mut at_work, mut children) = (Vec::new(), Vec::new());
        for (place, (who, copy)) in copies.into_iter().enumerate() {
            match who {
                Who::Program => at_work.push((place, AtWork::Program(start_program(copy)))),
                Who::Child => children.push((place, copy)),
                Who::Thread => {
                    let thread = scope.spawn(move || {
                        start.wait();
                        copy.run(false)
                    });
                    at_work.push((place, AtWork::Thread(thread)));
                }
            }
        }
        let meanwhile = scope.spawn(move || {
            start.wait();
            meanwhile()
        });
        start.wait();
        for (place, copy) in children {
            at_work.push((place, fork(copy)));
        }
        at_work.sort_by_key(|(place, _)| *place);
        let tallies = at_work.into_iter().map(|(_, copy)| copy.finish()).collect();
        (tallies, joined(meanwhile))
    })
}

enum AtWork<'scope> {
    Thread(thread::ScopedJoinHandle<'scope, Tally>),
    Child(Forked, std::io::PipeReader),
    Program(Running),
}

/// The child has all descriptors of this process, so it must not wait for the end of a stream whose other end is
/// here.
fn fork(copy: Copying) -> AtWork<'static> {
    let (said, mut says) = pipes::pipe();
    AtWork::Child(
        forked(move || {
            end_with_the_parent();
            let report = report(&copy.run(true));
            says.write_all(report.as_bytes()).expect("a pipe with room");
        }),
        said,
    )
}

fn start_program(copy: Copying) -> Running {
    let Copying { seed, limit, shared, from, to } = copy;
    let limit = limit.map_or("-".into(), |limit| limit.to_string());
    let mut program = Command::new(std::env::current_exe().expect("the soak knows its path"));
    program.args([COPY, &seed.to_string(), &limit, &format!("{shared:?}")]);
    start(program.stdin(from).stdout(to).stderr(Stdio::piped()))
}

/// Makes one copy from standard input to standard output, if this process was started for that. Has to be called
/// first in `main`.
pub fn program() {
    let args: Vec<String> = std::env::args().collect();
    let [_, copy, seed, limit, shared] = &args[..] else { return };
    if copy != COPY {
        return;
    }
    end_with_the_parent();
    let own = |end: &dyn AsFd| end.as_fd().try_clone_to_owned().expect("a descriptor");
    let copying = Copying {
        seed: seed.parse().expect("a number"),
        limit: limit.parse().ok(),
        shared: if shared == "Source" { Side::Source } else { Side::Sink },
        from: own(&std::io::stdin()),
        to: own(&std::io::stdout()),
    };
    eprint!("{}", report(&copying.run(false)));
    std::process::exit(0);
}

/// A soak that is killed leaves no process behind.
fn end_with_the_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a signal");
}

fn report(tally: &Tally) -> String {
    let Tally { bytes, faults, resumed, handed_over, .. } = tally;
    format!("{bytes} {faults} {resumed} {handed_over}")
}

fn reported(report: &str) -> Tally {
    let numbers: Result<Vec<u64>, _> = report.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[bytes, faults, resumed, handed_over]) => {
            Tally { copies: 1, shared: 1, bytes, faults, resumed, handed_over, ..Tally::default() }
        }
        _ => panic!("a copy in another process: {report}"),
    }
}

impl AtWork<'_> {
    fn finish(self) -> Tally {
        match self {
            AtWork::Thread(thread) => joined(thread),
            AtWork::Child(child, mut said) => {
                child.finish_within(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
                // Another child may have the other end, so this does not wait for the end of the pipe.
                let mut report = [0; 200];
                let n = said.read(&mut report).expect("a pipe");
                let tally = reported(&String::from_utf8_lossy(&report[..n]));
                Tally { forks: 1, ..tally }
            }
            AtWork::Program(mut program) => {
                let mut said = String::new();
                let stderr = program.stderr.as_mut().expect("piped");
                stderr.read_to_string(&mut said).expect("a pipe");
                let tally = reported(&said);
                let status = program.wait().expect("it is ours");
                assert!(status.success(), "{status}");
                Tally { forks: 1, ..tally }
            }
        }
    }
}
