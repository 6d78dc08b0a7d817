//! Links other than loopback: `zc-bench links`.
//!
//! Receiver and sender are in two network namespaces. These are joined by a veth pair, bare or with its rate limited
//! by tbf, or by a pair of TUN devices, whose packets this process carries over after a delay. All of it is gone at
//! the end.

mod delay;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use zc_std::{Copier, Options};

use crate::cells::Size;
use crate::clock::{self, Took};

/// The hidden first arguments that make this program one end of a link, inside its namespace.
const RECEIVE: &str = "--zc-bench-link-receive";
const SEND: &str = "--zc-bench-link-send";

const NEAR: &str = "10.213.0.1";
const FAR: &str = "10.213.0.2";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How many rounds each subject has.
const ROUNDS: usize = 9;

/// What joins the two namespaces.
#[derive(Clone, Copy)]
enum Link {
    Veth,
    /// At most this many Mbit a second.
    Limited(u32),
    /// Each way takes half of this.
    Far(Duration),
}

/// The links, and how many bytes are sent over each in a round.
const LINKS: [(&str, Link, u64); 5] = [
    ("veth", Link::Veth, 64 * MIB),
    ("1 Gbit/s", Link::Limited(1000), 32 * MIB),
    ("100 Mbit/s", Link::Limited(100), 4 * MIB),
    ("10 ms", Link::Far(Duration::from_millis(10)), 16 * MIB),
    ("50 ms", Link::Far(Duration::from_millis(50)), 16 * MIB),
];

/// How many bytes the sender writes at a time.
const CHUNKS: [u64; 4] = [16 * KIB, 64 * KIB, 128 * KIB, MIB];

/// Whether handfuls are waited for. The first subject has two turns, to tell the spread.
const SUBJECTS: [bool; 3] = [false, true, false];

/// Becomes one end of a link if the program's arguments say so.
pub fn serve_if_asked() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [RECEIVE, bytes] => receive(bytes),
        [SEND, to, chunk, bytes] => send(to, chunk, bytes),
        _ => return,
    };
    let code = outcome.map_or_else(
        |error| {
            eprintln!("zc-bench: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    );
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// Runs all of it, and prints Markdown.
///
/// # Errors
///
/// What could not be set up, or failed.
pub fn run() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("two network namespaces take root".into());
    }
    println!("| link | chunk | plain: wall, CPU | handfuls / plain: wall, CPU | plain / plain |");
    println!("|---|---|---|---|---|");
    for (name, link, bytes) in LINKS {
        let spaces = Spaces::joined_by(link).map_err(|error| format!("{name}: {error}"))?;
        for chunk in CHUNKS {
            let rounds = spaces.measure(chunk, bytes);
            let rounds = rounds.map_err(|error| format!("{name}, {}: {error}", Size(chunk)))?;
            println!("| {name} | {} | {} |", Size(chunk), row(&rounds, bytes));
        }
    }
    Ok(())
}

/// Medians over the rounds: times in ns/KiB, and ratios within a round.
fn row(rounds: &[[Took; 3]], bytes: u64) -> String {
    let wall = |took: &Took| took.wall.as_nanos() as f64;
    let cpu = |took: &Took| took.cpu.as_nanos() as f64;
    let median = |of: &dyn Fn(&[Took; 3]) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let kib = (bytes / KIB) as f64;
    format!(
        "{:.0}, {:.0} | {:.2}, {:.2} | {:.2}, {:.2}",
        median(&|round| wall(&round[0]) / kib),
        median(&|round| cpu(&round[0]) / kib),
        median(&|round| wall(&round[1]) / wall(&round[0])),
        median(&|round| cpu(&round[1]) / cpu(&round[0])),
        median(&|round| wall(&round[2]) / wall(&round[0])),
        median(&|round| cpu(&round[2]) / cpu(&round[0])),
    )
}

/// Two network namespaces, which go when dropped.
struct Spaces {
    near: String,
    far: String,
    _delay: Option<delay::Delay>,
}

impl Spaces {
    fn joined_by(link: Link) -> io::Result<Spaces> {
        let id = std::process::id();
        let (near, far) = (format!("zc-near-{id}"), format!("zc-far-{id}"));
        let mut spaces = Spaces { near: near.clone(), far: far.clone(), _delay: None };
        for space in [&near, &far] {
            ip(&["netns", "add", space])?;
        }
        let (a, b) = match link {
            Link::Veth | Link::Limited(_) => {
                let pair = ["type", "veth", "peer", "name", "zc-b", "netns", &far];
                ip(&[&["link", "add", "zc-a", "netns", &near][..], &pair].concat())?;
                ("zc-a", "zc-b")
            }
            Link::Far(delay) => {
                spaces._delay = Some(delay::Delay::between(&near, &far, delay / 2)?);
                (delay::DEVICE, delay::DEVICE)
            }
        };
        for (space, device, address, other) in [(&near, a, NEAR, FAR), (&far, b, FAR, NEAR)] {
            let inside = |words: &[&str]| ip(&[&["-n", space][..], words].concat());
            inside(&["address", "add", address, "peer", other, "dev", device])?;
            inside(&["link", "set", device, "up"])?;
            if let Link::Limited(rate) = link {
                let rate = format!("{rate}mbit");
                let limit = ["root", "tbf", "rate", &rate, "burst", "128kb", "latency", "50ms"];
                let add = ["-n", space, "qdisc", "add", "dev", device];
                succeed(Command::new("tc").args(add).args(limit))?;
            }
        }
        Ok(spaces)
    }

    fn measure(&self, chunk: u64, bytes: u64) -> io::Result<Vec<[Took; 3]>> {
        let this = std::env::current_exe()?;
        let inside = |space: &str| {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", space]).arg(&this);
            command
        };
        let mut receiver = inside(&self.near)
            .args([RECEIVE, &bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut orders = receiver.stdin.take().expect("asked for");
        let mut answers = io::BufReader::new(receiver.stdout.take().expect("asked for"));
        let address = line(&mut answers)?;
        let mut rounds = Vec::new();
        // One round does not count: caches and the disk get warm.
        for _ in 0..=ROUNDS {
            let mut round = [Took::default(); 3];
            for (waits, took) in SUBJECTS.into_iter().zip(&mut round) {
                writeln!(orders, "{waits}")?;
                let words = [SEND, &address, &chunk.to_string(), &bytes.to_string()];
                succeed(inside(&self.far).args(words))?;
                let answer = line(&mut answers)?;
                let figures =
                    answer.split_once(' ').ok_or_else(|| io::Error::other(answer.clone()))?;
                *took = Took { wall: nanos(figures.0)?, cpu: nanos(figures.1)? };
            }
            rounds.push(round);
        }
        drop(orders);
        receiver.wait()?;
        rounds.remove(0);
        Ok(rounds)
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in [&self.near, &self.far] {
            let _ = ip(&["netns", "delete", space]);
        }
    }
}

/// Takes one connection for each line that says how. Prints how long its bytes took into the file.
fn receive(bytes: &str) -> io::Result<()> {
    let listener = TcpListener::bind((NEAR, 0))?;
    println!("{}", listener.local_addr()?);
    let mut file = tempfile::tempfile_in(std::env::current_dir()?)?;
    file.set_len(number(bytes)?)?;
    let mut orders = io::stdin().lock();
    while let Ok(order) = line(&mut orders) {
        let mut options = Options::default();
        options.handfuls = order == "true";
        file.rewind()?;
        let (stream, _) = listener.accept()?;
        let (moved, took) = clock::measure(|| {
            let moved = Copier::with_options(options).copy(&mut &stream, &mut &file)?.moved();
            Ok::<_, zc_std::CopyError>(moved)
        });
        if moved? != number(bytes)? {
            return Err(io::Error::other("some of it has not arrived"));
        }
        println!("{} {}", took.wall.as_nanos(), took.cpu.as_nanos());
    }
    Ok(())
}

fn send(to: &str, chunk: &str, bytes: &str) -> io::Result<()> {
    let (chunk, mut left) =
        (usize::try_from(number(chunk)?).map_err(io::Error::other)?, number(bytes)?);
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let buffer = vec![7; chunk];
    while left > 0 {
        let n = usize::try_from(left).map_or(chunk, |left| left.min(chunk));
        stream.write_all(&buffer[..n])?;
        left -= n as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // Waits until the other end has all of it.
    stream.read(&mut [0]).map(drop)
}

fn line(from: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    match from.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

fn nanos(word: &str) -> io::Result<Duration> {
    number(word).map(Duration::from_nanos)
}

fn ip(words: &[&str]) -> io::Result<()> {
    succeed(Command::new("ip").args(words))
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}

/// A namespace, opened from inside it.
fn namespace(name: &str) -> io::Result<File> {
    File::open(format!("/run/netns/{name}"))
}
