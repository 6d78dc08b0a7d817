//! A soak: random copies with random faults for a long time. Half of them are on open files that they share
//! with other threads and processes. Memory and the count of descriptors must stay flat.
//!
//! `soak [--seconds N] [--threads N]`. The time is cut into rounds. Between these, with no copy in progress, memory
//! and descriptors are counted. The soak fails if they grow, if a byte is lost or doubled, or if a copy hangs.

use std::process::ExitCode;
use std::time::Duration;

use zc_std::pool;
use zc_testkit::fds::census;
use zc_testkit::raw::trim_heap;
use zc_testkit::soak;
use zc_testkit::soak::tally::Tally;
use zc_testkit::soak::workload::resident;

const ROUNDS: u64 = 20;
/// How many bytes more allocators and cached stacks may hold in the second half than in the first.
const SLACK: u64 = 8 << 20;

fn main() -> ExitCode {
    soak::program();
    let (seconds, threads) = (option("--seconds", 600), option("--threads", 16));
    let round = Duration::from_millis(seconds * 1000 / ROUNDS);
    let open = census();
    let (mut total, mut memory, mut leaks) = (Tally::default(), Vec::new(), 0);
    println!("{seconds} s on {threads} threads, in {ROUNDS} rounds");
    println!(
        "round     copies        MiB     faults    resumed   resident KiB   descriptors   idle pipes"
    );
    for number in 1..=ROUNDS {
        match soak::run(threads, round, number * threads) {
            Ok(tally) => total += tally,
            Err(hung) => {
                total += hung.tally;
                summarise(&total, hung.workers, leaks);
                return ExitCode::FAILURE;
            }
        }
        let idle = pool::idle();
        assert_eq!(pool::in_use(), 0, "pipes on loan with no copy in progress");
        pool::clear();
        let now = census();
        leaks += now.iter().filter(|(fd, target)| open.get(fd) != Some(target)).count();
        trim_heap();
        memory.push(resident());
        println!(
            "{number:>5} {:>10} {:>10} {:>10} {:>10} {:>14} {:>13} {idle:>12}",
            total.copies,
            total.bytes >> 20,
            total.faults,
            total.resumed,
            memory[memory.len() - 1] >> 10,
            now.len(),
        );
    }
    let (first, second) = memory.split_at(memory.len() / 2);
    let (before, after) = (median(first), median(second));
    println!(
        "resident, median: {} KiB in the first half, {} KiB in the second; descriptors leaked: {leaks}; bytes lost: {}",
        before >> 10,
        after >> 10,
        total.lost
    );
    summarise(&total, 0, leaks);
    if leaks > 0 || after > before + SLACK {
        eprintln!("not flat");
        return ExitCode::FAILURE;
    }
    if total.lost > 0 || total.doubled > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn summarise(total: &Tally, hung: usize, leaks: usize) {
    let Tally { copies, bytes, faults, shared, forks, handed_over, lost, doubled, .. } = total;
    println!(
        "{copies} copies, {bytes} bytes, {shared} copies on shared files, {forks} forks, \
         {handed_over} hand-overs, {faults} faults; {lost} bytes lost, {doubled} doubled, {hung} hung, \
         {leaks} descriptors leaked"
    );
}

/// The median of `half`: a leak moves every round after it, and one round alone says nothing. A thread that freed its
/// stack late has made one of twenty 12 MiB larger.
fn median(half: &[u64]) -> u64 {
    let mut half = half.to_vec();
    half.sort_unstable();
    half.get(half.len() / 2).copied().unwrap_or(0)
}

/// The number after `name` on the command line.
fn option(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    match (args.next(), args.next()) {
        (None, _) => default,
        (_, Some(number)) => {
            number.parse().unwrap_or_else(|_| panic!("{name} {number}: no number"))
        }
        _ => panic!("{name} what?"),
    }
}
