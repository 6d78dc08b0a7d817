//! Many copies at once, and one long one: `cargo xtask scale`.
//!
//! All of it runs as an ordinary user, whom `pipe-user-pages-soft` limits to a number of pipe pages. Past that number
//! new pipes have a page or two (pipe(7)). Root has no such limit, so a process started as root starts itself again
//! as nobody.
//!
//! What has to hold is asserted: every copy succeeds, with the right bytes in the right order, and the number of
//! pipes is bounded. Other figures are printed, as Markdown.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zc_std::{Copier, Mechanism, Report, pool};

use crate::arena::Arena;
use crate::cells::{Cell, Place, Size};
use crate::clock;
use crate::subjects;

/// The user and group to become when started as root.
const NOBODY: u32 = 65534;

/// How many copies run at once.
const THREADS: usize = 1000;

/// Runs everything, and prints Markdown. `max` bounds the one long copy.
///
/// # Errors
///
/// What failed, or what did not hold.
pub fn run(max: u64) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    if rustix::process::geteuid().is_root() {
        return again_as_nobody().map_err(words);
    }
    println!("# Scale\n\nMade by `cargo xtask scale`, as user {NOBODY}.\n");
    // First, while the process is small: a thousand threads leave a large heap.
    long(max).map_err(words)?;
    many(THREADS)?;
    overhead().map_err(words)
}

/// Raises the limit on descriptors, and starts this program again without root's privileges.
fn again_as_nobody() -> io::Result<()> {
    let need = 8 * THREADS as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < need) {
        let maximum = limit.maximum.map(|maximum| maximum.max(need));
        setrlimit(Resource::Nofile, Rlimit { current: Some(need), maximum })?;
    }
    let mut command = Command::new("/proc/self/exe");
    let status = command.args(std::env::args_os().skip(1)).uid(NOBODY).gid(NOBODY).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("as nobody: {status}"))) }
}

/// A slow sender, and the thread that copies what it sends into a file.
struct Slow {
    sender: UnixStream,
    copying: JoinHandle<io::Result<(Report, File)>>,
}

/// The bytes of each copy tell which copy they belong to, and where.
fn pattern(whose: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| ((whose + at) % 251) as u8).collect()
}

/// A thousand copies at once, each from a socket of its own that sends a little now and then.
fn many(count: usize) -> Result<(), String> {
    const BURST: usize = 32 * 1024;
    const BURSTS: usize = 8;
    let words = |error: io::Error| error.to_string();
    let mut slow = Vec::new();
    for _ in 0..count {
        slow.push(start_slow().map_err(words)?);
    }
    let mut peak = 0;
    let (outcome, took) = clock::measure(|| -> io::Result<()> {
        for burst in 0..BURSTS {
            for (whose, Slow { sender, .. }) in slow.iter_mut().enumerate() {
                let bytes = pattern(whose, BURST * BURSTS);
                sender.write_all(&bytes[burst * BURST..][..BURST])?;
            }
            peak = peak.max(pipes()?);
            thread::sleep(Duration::from_millis(50));
            peak = peak.max(pipes()?);
        }
        Ok(())
    });
    outcome.map_err(|error| format!("sending: {error}"))?;
    let rss = memory("VmHWM");

    let mut spliced = 0;
    for (whose, Slow { sender, copying }) in slow.into_iter().enumerate() {
        drop(sender);
        let (report, mut file) =
            copying.join().expect("no panic").map_err(|error| format!("copy {whose}: {error}"))?;
        spliced += report.moved_by(Mechanism::Splice);
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(words)?;
        if report.moved() != (BURST * BURSTS) as u64 || bytes != pattern(whose, BURST * BURSTS) {
            return Err(format!("copy {whose}: {report:?}, and {} bytes in its file", bytes.len()));
        }
    }
    let bound = pool::MAX_IN_USE + pool::MAX_IDLE;
    if peak > bound {
        return Err(format!("{peak} pipes, of which there should be {bound} at most"));
    }
    let total = (count * BURST * BURSTS) as u64;
    println!("## {count} threads, each copying slowly from its own socket to its own file\n");
    println!(
        "- every copy complete and in order: {} each, in bursts of {}",
        Size((BURST * BURSTS) as u64),
        Size(BURST as u64)
    );
    println!("- {} % of the bytes spliced, the rest read and written", 100 * spliced / total);
    let sizes = pipe_sizes().map_err(words)?;
    let (small, large) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
    println!(
        "- pipes at once: {peak} at most (bound: {bound}), of {} to {} each, {} MiB in all at most",
        Size(*small),
        Size(*large),
        (peak as u64 * large) >> 20
    );
    println!("- pipe-user-pages-soft: {} pages", proc_number("/proc/sys/fs/pipe-user-pages-soft"));
    println!(
        "- peak RSS {} MiB, threads' stacks and buffers included; all sent after {:.1} s\n",
        rss / 1024,
        took.wall.as_secs_f64()
    );
    Ok(())
}

fn start_slow() -> io::Result<Slow> {
    let (sender, mut receiver) = UnixStream::pair()?;
    let mut file = tempfile::tempfile()?;
    let copying = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        let report = Copier::new().copy(&mut receiver, &mut file)?;
        Ok((report, file))
    })?;
    Ok(Slow { sender, copying })
}

/// How many pipes this process has, by /proc.
fn pipes() -> io::Result<usize> {
    Ok(open_pipes()?.len())
}

/// The sizes of the pipes. To ask takes the pipe's lock, which a splice that waits for a socket holds: so this is
/// only for when no copy is running.
fn pipe_sizes() -> io::Result<Vec<u64>> {
    open_pipes()?
        .into_values()
        .map(|path| Ok(rustix::pipe::fcntl_getpipe_size(File::open(path)?)? as u64))
        .collect()
}

/// Every pipe of the process, and a descriptor of it.
fn open_pipes() -> io::Result<HashMap<PathBuf, PathBuf>> {
    let mut pipes = HashMap::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        // Inherited from a process of root's, and not the pool's.
        let ours = path.metadata().is_ok_and(|meta| meta.uid() == NOBODY);
        // It may have been closed since.
        if let Ok(target) = std::fs::read_link(&path)
            && target.to_string_lossy().starts_with("pipe:")
            && ours
        {
            pipes.insert(target, path);
        }
    }
    Ok(pipes)
}

/// The cost of one copy while others are idle that have moved bytes before.
fn overhead() -> io::Result<()> {
    const FRAME: u64 = 64 * 1024;
    const COPIES: u64 = 4000;
    println!("## One busy connection among idle ones\n");
    println!(
        "Each idle one has spliced and now waits; the busy one copies {} frames into /dev/null.\n",
        Size(FRAME)
    );
    println!(
        "| idle connections | pipes lent | µs of CPU per copy | told to splice | of which spliced |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for idle in [0, 1, 10, 100, 1000] {
        let mut slow = Vec::new();
        for whose in 0..idle {
            let mut connection = start_slow()?;
            connection.sender.write_all(&pattern(whose, 48 * 1024))?;
            connection.sender.write_all(&pattern(whose, 48 * 1024))?;
            slow.push(connection);
        }
        thread::sleep(Duration::from_millis(200 + idle as u64));
        let lent = pool::in_use();
        let (mut best, mut spliced) = ([f64::MAX; 2], 0);
        for _ in 0..7 {
            for (adaptive, best) in [true, false].into_iter().zip(&mut best) {
                let (cpu, by_splice) = busy(FRAME, COPIES, adaptive)?;
                *best = best.min(cpu.as_secs_f64() * 1e6 / COPIES as f64);
                spliced = 100 * by_splice / (FRAME * COPIES);
            }
        }
        println!("| {idle} | {lent} | {:.2} | {:.2} | {spliced} % |", best[0], best[1]);
        for Slow { sender, copying } in slow {
            drop(sender);
            copying.join().expect("no panic")?;
        }
    }
    println!();
    Ok(())
}

/// The CPU time of some framed copies, and how many of their bytes were spliced.
fn busy(frame: u64, copies: u64, adaptive: bool) -> io::Result<(Duration, u64)> {
    let (mut sender, receiver) = UnixStream::pair()?;
    let sending = thread::spawn(move || {
        let frame = pattern(0, frame as usize);
        (0..copies).try_for_each(|_| sender.write_all(&frame))
    });
    let mut null = File::create("/dev/null")?;
    let mut copier = Copier::new().adaptive(adaptive);
    let (outcome, took) = clock::measure(|| -> io::Result<u64> {
        let mut spliced = 0;
        for _ in 0..copies {
            let report = copier.copy(&mut (&receiver).take(frame), &mut null)?;
            spliced += report.moved_by(Mechanism::Splice);
        }
        Ok(spliced)
    });
    sending.join().expect("no panic")?;
    Ok((took.cpu, outcome?))
}

/// Copies of more and more bytes.
fn long(max: u64) -> io::Result<()> {
    println!(
        "## One long copy\n\n| copy | bytes | s | CPU s | CPU ns per KiB | peak RSS, KiB |\n|---|---:|---:|---:|---:|---:|"
    );
    let mut arena = Arena::new(Path::new("/tmp"), None, false)?;
    let mut peaks = Vec::new();
    // Past what the kernel lets be dirty (vm.dirty_ratio), this would measure the disk.
    let disk = max.min(1 << 30);
    let routes = [
        ("tcp to /dev/null", Place::Tcp, Place::Null, max),
        ("sparse file on tmpfs to unix", Place::Tmpfs, Place::Unix, max),
        ("tcp to new file on disk", Place::Tcp, Place::New, disk),
    ];
    for (name, from, to, max) in routes {
        for bytes in (20..=34).step_by(2).map(|power| 1u64 << power).filter(|&bytes| bytes <= max) {
            let cell = Cell {
                name: name.to_owned(),
                group: "scale",
                from,
                to,
                chunk: 256 * 1024,
                frame: None,
                copies: 1,
                bytes,
                quick: false,
            };
            if from == Place::Tmpfs {
                arena.sparse(from, bytes)?;
            }
            arena.prepare(&cell).map_err(io::Error::other)?;
            let mut subject = subjects::local(&cell).swap_remove(0).2;
            // Resets the high-water mark (proc_pid_clear_refs(5)).
            std::fs::write("/proc/self/clear_refs", "5")?;
            let took = arena.round(&cell, subject.as_mut())?.took;
            let rss = memory("VmHWM");
            peaks.push(rss);
            println!(
                "| {name} | {} | {:.4} | {:.4} | {:.0} | {rss} |",
                Size(bytes),
                took.wall.as_secs_f64(),
                took.cpu.as_secs_f64(),
                took.cpu.as_nanos() as f64 / (bytes / 1024) as f64,
            );
        }
    }
    let (low, high) = (peaks.iter().min().unwrap_or(&0), peaks.iter().max().unwrap_or(&0));
    println!("\nMemory, whatever the size: {low} to {high} KiB.\n");
    // A quarter of a MiB for each doubling would be growth. This much is noise of the heap.
    if high - low > 4096 {
        return Err(io::Error::other("memory grows with the size of the copy"));
    }
    Ok(())
}

/// A field of /proc/self/status, in KiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn proc_number(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
