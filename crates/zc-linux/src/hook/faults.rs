//! Ready-made faults: a full disk, a call that fails, calls that move little.
//!
//! They go by the descriptor, and hit every call on it: a disk is full for write(2), splice(2) and copy_file_range(2)
//! alike.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use rustix::io::Errno;

use super::{Action, Call, EveryThread, Guard, ProcessGuard, Record, Syscall};

/// A fault, to be [installed](Fault::install).
///
/// ```
/// use std::io::{ErrorKind, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_linux::{Transfer, drive, hook};
///
/// let (mut client, mut stream) = UnixStream::pair()?;
/// client.write_all(b"an upload")?;
/// drop(client);
/// let mut file = std::fs::File::create("/dev/null")?;
///
/// let disk = hook::full_disk(&file, 4).install();
/// let mut transfer = Transfer::default();
/// let error = drive(&mut transfer, &mut stream, &mut file).unwrap_err();
/// assert_eq!((error.kind(), error.moved(), transfer.in_flight()), (ErrorKind::StorageFull, 4, 5));
///
/// disk.make_room(100);
/// transfer.resume();
/// assert_eq!(drive(&mut transfer, &mut stream, &mut file)?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a fault does nothing until it is installed"]
pub struct Fault {
    what: What,
    at: Option<RawFd>,
    skip: u64,
    times: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Full { room: u64 },
    Fails { syscall: Syscall, errno: i32 },
    Short { most: usize },
}

/// The disk under `file` has room for `room` more bytes, by any call. The next ones fail with `ENOSPC`.
///
/// It goes by the descriptor's number, so a duplicate has room, and so has a write that the engine does not make.
pub fn full_disk(file: impl AsFd, room: u64) -> Fault {
    Fault::new(What::Full { room }).at(file)
}

/// All calls of this kind fail with this errno.
///
/// ```
/// use zc_linux::hook::{self, Syscall};
///
/// // A container that knows no copy_file_range: ENOSYS.
/// let container = hook::failing(Syscall::CopyFileRange, 38).install();
/// // … copy something …
/// # assert_eq!(container.hits(), 0);
/// ```
pub fn failing(syscall: Syscall, errno: i32) -> Fault {
    Fault::new(What::Fails { syscall, errno })
}

/// No call moves more than `most` bytes, 0 counting as 1: short reads, short writes, short splices.
pub fn short(most: usize) -> Fault {
    Fault::new(What::Short { most: most.max(1) })
}

impl Fault {
    fn new(what: What) -> Fault {
        Fault { what, at: None, skip: 0, times: u64::MAX }
    }

    /// Only calls from or to this descriptor. (A full disk is full only for calls to it.)
    pub fn at(self, fd: impl AsFd) -> Fault {
        Fault { at: Some(fd.as_fd().as_raw_fd()), ..self }
    }

    /// Skips the first `calls` that it would hit.
    pub fn after(self, calls: u64) -> Fault {
        Fault { skip: calls, ..self }
    }

    /// Hits no more than `calls`.
    pub fn times(self, calls: u64) -> Fault {
        Fault { times: calls, ..self }
    }

    /// Hits this thread's calls, until the guard is dropped.
    pub fn install(self) -> FaultGuard<(Guard, Guard)> {
        let state = State::new(self);
        let (decides, sees) = (state.clone(), state.clone());
        let hook = super::replace(move |call| decides.decide(call));
        let observer = super::observe(move |record| sees.saw(record));
        FaultGuard { state, _guard: (hook, observer) }
    }

    /// Hits the calls of every thread, until the guard is dropped.
    pub fn install_everywhere(
        self,
        threads: &EveryThread,
    ) -> FaultGuard<(ProcessGuard, ProcessGuard)> {
        let state = State::new(self);
        let (decides, sees) = (state.clone(), state.clone());
        let hook = threads.replace(move |call| decides.decide(call));
        let observer = threads.observe(move |record| sees.saw(record));
        FaultGuard { state, _guard: (hook, observer) }
    }
}

/// A [`Fault`] in force. Dropped, it is taken away.
#[derive(Debug)]
#[must_use = "dropping it takes the fault away"]
pub struct FaultGuard<G> {
    state: State,
    _guard: G,
}

impl<G> FaultGuard<G> {
    /// How many calls it has made fail or cut short.
    pub fn hits(&self) -> u64 {
        self.state.lock().met
    }

    /// Lets `bytes` more fit on a full disk.
    pub fn make_room(&self, bytes: u64) {
        let mut counts = self.state.lock();
        counts.room = counts.room.saturating_add(bytes);
    }
}

#[derive(Clone, Debug)]
struct State {
    fault: Arc<Fault>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    met: u64,
    /// How many calls there were that it could have hit.
    asked: u64,
    /// How much fits on the disk.
    room: u64,
    /// How much of it a call may be using that is being made: one a thread.
    reserved: HashMap<ThreadId, u64>,
}

impl Counts {
    /// For the call that this thread is about to make.
    fn reserve(&mut self, bytes: u64) {
        self.room -= bytes;
        self.reserved.insert(thread::current().id(), bytes);
    }
}

impl State {
    fn new(fault: Fault) -> State {
        let room = if let What::Full { room } = fault.what { room } else { 0 };
        let counts = Counts { met: 0, asked: 0, room, reserved: HashMap::new() };
        State { fault: Arc::new(fault), counts: Arc::new(Mutex::new(counts)) }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, call: &Call) -> Action {
        let Fault { what, at, skip, times } = *self.fault;
        let concerns = match what {
            What::Full { .. } => call.len > 0 && call.to == at && call.syscall != Syscall::Read,
            What::Fails { syscall, .. } => {
                call.syscall == syscall
                    && at.is_none_or(|fd| [call.from, call.to].contains(&Some(fd)))
            }
            What::Short { most } => {
                call.len > most && at.is_none_or(|fd| [call.from, call.to].contains(&Some(fd)))
            }
        };
        if !concerns {
            return Action::Proceed;
        }
        let mut counts = self.lock();
        let fits = matches!(what, What::Full { .. }) && call.len as u64 <= counts.room;
        if fits {
            counts.reserve(call.len as u64);
            return Action::Proceed;
        }
        counts.asked += 1;
        let number = counts.asked - 1;
        if number < skip || number - skip >= times {
            return Action::Proceed;
        }
        counts.met += 1;
        match what {
            What::Full { .. } if counts.room == 0 => Action::Fail(Errno::NOSPC.raw_os_error()),
            What::Full { .. } => {
                let most = counts.room;
                counts.reserve(most);
                Action::Limit(usize::try_from(most).expect("less than a call's length"))
            }
            What::Fails { errno, .. } => Action::Fail(errno),
            What::Short { most } => Action::Limit(most),
        }
    }

    /// What a call has not used of the disk is there for others.
    fn saw(&self, record: &Record) {
        if record.call.to != self.fault.at || !matches!(self.fault.what, What::Full { .. }) {
            return;
        }
        let mut counts = self.lock();
        if let Some(reserved) = counts.reserved.remove(&thread::current().id()) {
            counts.room += reserved.saturating_sub(record.moved() as u64);
        }
    }
}
