//! How long the last byte of a burst takes into a file: `zc-bench latency`.
//!
//! A copy that sleeps until there is a handful may hold back the last bytes. So a bulk sender sends bursts with
//! pauses between. The time is measured from when the last byte of each burst was sent to when the sink's layer hears
//! of it. A copy that does not wait has its turns, too. The file is in memory: a disk's own stalls take longer than
//! that.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use zc_std::{Copier, Options, Progress};

const KIB: usize = 1 << 10;

/// The pauses, and how many bursts a turn has with each.
const PAUSES: [(Duration, usize); 6] = [
    (Duration::from_micros(100), 400),
    (Duration::from_micros(500), 400),
    (Duration::from_millis(1), 400),
    (Duration::from_millis(5), 300),
    (Duration::from_millis(10), 300),
    (Duration::from_millis(50), 200),
];

/// How many turns each subject has.
const TURNS: usize = 5;

/// Runs all of it, and prints Markdown.
///
/// # Errors
///
/// Those of sockets and files.
pub fn run() -> Result<(), String> {
    println!("| pause | subject | bursts | median, µs | 99 % | 99.9 % | most | calls |");
    println!("|---|---|---|---|---|---|---|---|");
    for (pause, bursts) in PAUSES {
        let mut took = [const { Vec::new() }; 2];
        let mut calls = [0; 2];
        for turn in 0..2 * TURNS {
            let of = turn % 2;
            let (delays, made) = turn_of(of == 1, pause, bursts, turn as u64 / 2)
                .map_err(|error| format!("bursts {pause:?} apart: {error}"))?;
            took[of].extend(delays);
            calls[of] += made;
        }
        for ((mut took, calls), name) in took.into_iter().zip(calls).zip(["plain", "handfuls"]) {
            took.sort();
            let at = |share: f64| {
                let last = took.len() - 1;
                took[((last as f64 * share).ceil() as usize).min(last)].as_micros()
            };
            println!(
                "| {pause:?} | {name} | {} | {} | {} | {} | {} | {calls} |",
                took.len(),
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
            );
        }
    }
    Ok(())
}

/// Bursts of one sender. Returns how long the last byte of each took, and how many calls were made.
fn turn_of(
    waits: bool,
    pause: Duration,
    bursts: usize,
    seed: u64,
) -> io::Result<(Vec<Duration>, u64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    let (server, _) = listener.accept()?;
    let sender = thread::spawn(move || {
        let mut sizes = fastrand::Rng::with_seed(seed);
        let piece = vec![7; 64 * KIB];
        let (mut total, mut ends) = (0, Vec::with_capacity(bursts));
        for _ in 0..bursts {
            let mut left = sizes.usize(KIB..512 * KIB);
            while left > 0 {
                let n = left.min(piece.len());
                client.write_all(&piece[..n])?;
                (left, total) = (left - n, total + n as u64);
            }
            ends.push((total, Instant::now()));
            thread::sleep(pause);
        }
        Ok::<_, io::Error>(ends)
    });

    let mut options = Options::default();
    options.handfuls = waits;
    let mut arrivals = Vec::with_capacity(1 << 16);
    let mut total = 0;
    let file = tempfile::tempfile_in("/dev/shm")?;
    let arrived = |n| {
        total += n;
        arrivals.push((total, Instant::now()));
    };
    let mut copier = Copier::with_options(options);
    let report = copier.copy(&mut &server, &mut Progress::new(&file, arrived))?;
    let ends = sender.join().expect("it does not panic")?;
    let mut arrivals = arrivals.into_iter().peekable();
    let delays = ends.into_iter().map(|(end, sent)| {
        while arrivals.next_if(|(total, _)| *total < end).is_some() {}
        arrivals.peek().map_or(Duration::ZERO, |(_, at)| at.saturating_duration_since(sent))
    });
    Ok((delays.collect(), report.calls()))
}
