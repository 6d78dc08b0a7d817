//! Random copies with random faults, from many threads at once: for the concurrency test and the soak.
//!
//! Every copy is checked byte for byte, whatever the faults.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zc_std::hook::{self, Action, Call, Syscall};
use zc_std::{Copier, Progress, ReadSource, WriteSink};

use super::tally::{Tally, Worker, together};
use crate::collector::Collector;
use crate::data::{assert_joined, bytes};
use crate::feeder::Feeder;
use crate::files::contents;
use crate::pipes;
use crate::sockets::Socket;
use crate::streams::Stream;

/// The longest copy, in bytes.
const LONGEST: usize = 512 << 10;
/// One call in this many misbehaves.
const FAULT_EVERY: u64 = 12;

/// xorshift64*, which is repeatable, and good enough.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("an index")]
    }

    /// Small and large numbers alike, up to `most`.
    pub(crate) fn len(&mut self, most: usize) -> usize {
        let bits = self.below(u64::from(most.max(1).ilog2()) + 2);
        usize::try_from(self.below((1 << bits) + 1)).expect("below `most`").min(most)
    }
}

/// Copies on `threads` threads for `time`.
///
/// # Panics
///
/// If a copy loses or changes a byte. A copy that hangs ends the process.
pub fn run(threads: u64, time: Duration, seed: u64) -> Tally {
    let deadline = Instant::now() + time;
    together(deadline, copiers(threads, deadline, seed)).unwrap_or_else(|_hung| {
        eprintln!("a copy hangs (seed {seed})");
        std::process::abort()
    })
}

/// One worker for each thread, each with ends of its own.
pub(crate) fn copiers(threads: u64, deadline: Instant, seed: u64) -> Vec<Worker> {
    let data: Arc<[u8]> = bytes(0, 2 * LONGEST).into();
    let worker = |thread| -> Worker {
        let data = Arc::clone(&data);
        Box::new(move || {
            let mut random = Random::new(seed + thread);
            let mut tally = Tally::default();
            while Instant::now() < deadline {
                tally += one_copy(&mut random, &data);
            }
            tally
        })
    };
    (0..threads).map(worker).collect()
}

/// What calls of each kind may do wrong.
fn fault(random: &mut Random, call: &Call) -> Action {
    const EINTR: i32 = 4;
    const EIO: i32 = 5;
    const EBADF: i32 = 9;
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const EXDEV: i32 = 18;
    const EINVAL: i32 = 22;
    const EMFILE: i32 = 24;
    const ENOSPC: i32 = 28;
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    const EOPNOTSUPP: i32 = 95;
    let short = Action::Limit(1 + usize::try_from(random.below(call.len as u64)).unwrap_or(0));
    match call.syscall {
        Syscall::Read | Syscall::Write => match random.below(3) {
            0 => short,
            1 => Action::Fail(EINTR),
            _ => Action::Fail(random.pick(&[EAGAIN, EIO, ENOMEM, ENOSPC])),
        },
        Syscall::Splice | Syscall::CopyFileRange | Syscall::Sendfile | Syscall::Discard => {
            match random.below(4) {
                0 | 1 => short,
                2 => Action::Fail(EINTR),
                _ => Action::Fail(random.pick(&[
                    EAGAIN, EINVAL, ENOSYS, EPERM, EXDEV, EIO, EBADF, EOPNOTSUPP, ENOMEM, ENOSPC,
                ])),
            }
        }
        _ => Action::Fail(random.pick(&[EINTR, EMFILE, EPERM, EINVAL, ENOMEM])),
    }
}

/// One copy from one random end to another, with faults, resumed until it is complete.
pub fn one_copy(random: &mut Random, data: &[u8]) -> Tally {
    let start = usize::try_from(random.below(LONGEST as u64)).expect("an index");
    let sent = &data[start..start + random.len(LONGEST)];
    let limit = if random.below(2) == 0 { sent.len() } else { random.len(sent.len()) };

    let (mut source, feeder) = source(random, sent);
    let (mut sink, reader) = sink(random);
    let mut tally = Tally { copies: 1, bytes: limit as u64, ..Tally::default() };
    copy(random, &mut *source, &mut *sink, limit as u64, &mut tally);

    let mut rest = Vec::new();
    source.read_to_end(&mut rest).expect("the rest of the source");
    drop(source);
    drop(sink);
    assert_joined(sent, &[("delivered", &reader.bytes()), ("the rest", &rest)]);
    if let Some(feeder) = feeder {
        assert_eq!(feeder.finish().expect("a number of bytes"), sent.len());
    }
    tally
}

/// Copies `limit` bytes in spite of all faults, and accounts for every attempt.
fn copy(
    random: &mut Random,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
    limit: u64,
    tally: &mut Tally,
) {
    let adaptive = random.below(2) == 0;
    let copier = || Copier::new().adaptive(adaptive);
    let mut seen = 0;
    let mut source = Progress::new(source.take(limit), |n| seen += n);
    let (mut moved, mut current) = (0, copier());
    let faults = Arc::new(AtomicU64::new(0));
    loop {
        let guard = {
            let (mut random, faults) = (random.clone(), Arc::clone(&faults));
            hook::replace(move |call| {
                if random.below(FAULT_EVERY) != 0 {
                    return Action::Proceed;
                }
                faults.fetch_add(1, Ordering::Relaxed);
                fault(&mut random, call)
            })
        };
        let outcome = current.copy(&mut source, sink);
        drop(guard);
        random.next();
        moved += current.report().moved();
        let taken = limit - source.get_ref().limit();
        assert_eq!(moved + current.in_flight() as u64, taken, "delivered + in flight == taken");
        if outcome.is_ok() {
            assert_eq!((moved, current.in_flight()), (limit, 0));
            break;
        }
        tally.resumed += 1;
        if random.below(4) == 0 {
            // A program that gives up its copier writes the residue itself.
            let residue = current.take_residue();
            sink.write_all(&residue).expect("a sink that works");
            moved += residue.len() as u64;
            current = copier();
        }
    }
    assert_eq!(seen, limit, "what the meter saw");
    tally.faults += faults.load(Ordering::Relaxed);
}

fn file_with(random: &mut Random, bytes: &[u8]) -> File {
    let mut file = if random.below(4) == 0 {
        tempfile::tempfile().expect("a file")
    } else {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        rustix::fs::memfd_create("zc", flags).expect("a file in memory").into()
    };
    file.write_all(bytes).and_then(|()| file.rewind()).expect("room for it");
    file
}

/// Two ends of a random connection.
fn connection(random: &mut Random) -> (Socket, Socket) {
    // Each TCP connection uses up a port for a minute.
    let kind = if random.below(8) == 0 { Stream::Tcp } else { Stream::Unix };
    kind.sockets()
}

/// A random source of `bytes`, and the thread that sends them, if one has to.
fn source<'a>(
    random: &mut Random,
    bytes: &'a [u8],
) -> (Box<dyn ReadSource + 'a>, Option<Feeder<usize>>) {
    match random.below(6) {
        0 => (Box::new(bytes), None),
        1 => (Box::new(file_with(random, bytes)), None),
        2 => {
            let (reader, writer) = pipes::pipe();
            (Box::new(reader), Some(Feeder::until_refused(writer, bytes.to_vec())))
        }
        3 => {
            let (ours, theirs) = connection(random);
            let capacity = 1 + random.len(100_000);
            let feeder = Feeder::until_refused(theirs, bytes.to_vec());
            (Box::new(std::io::BufReader::with_capacity(capacity, ours)), Some(feeder))
        }
        _ => {
            let (ours, theirs) = connection(random);
            (Box::new(ours), Some(Feeder::until_refused(theirs, bytes.to_vec())))
        }
    }
}

/// Where the bytes that arrived can be had.
enum Arrived {
    File(File),
    Thread(Collector),
}

impl Arrived {
    /// All bytes that arrived. The sink has been dropped.
    fn bytes(self) -> Vec<u8> {
        match self {
            Arrived::File(file) => contents(&file),
            Arrived::Thread(thread) => thread.finish(),
        }
    }
}

/// A random sink, and where the bytes that arrived in it can be had.
fn sink(random: &mut Random) -> (Box<dyn WriteSink>, Arrived) {
    match random.below(5) {
        0 | 1 => {
            let file = file_with(random, b"");
            (Box::new(file.try_clone().expect("a descriptor")), Arrived::File(file))
        }
        2 => {
            let (reader, writer) = pipes::pipe();
            (Box::new(writer), Arrived::Thread(Collector::start(reader)))
        }
        _ => {
            let (ours, theirs) = connection(random);
            (Box::new(ours), Arrived::Thread(Collector::start(theirs)))
        }
    }
}

/// How many bytes of the process are resident, by /proc/self/status.
///
/// # Panics
///
/// Without procfs.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib = line.trim().trim_end_matches(" kB");
    kib.parse::<u64>().expect("a number of KiB") << 10
}
