//! One copy, with an end that other users share.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;

use zc_core::driver::Next;
use zc_linux::{Options, Transfer};
use zc_std::{Copier, Fd, Kind, PageSharing, ReadSource, Side, WriteSink};

use super::faults::Faults;
use super::tally::Tally;
use super::workload::Random;
use crate::each_cell::joined;
use crate::event_loop::{Edges, Told, level};
use crate::streams::nonblocking;

/// How a copy is made.
#[derive(Clone, Copy, Debug)]
struct Manner {
    adaptive: bool,
    pipe_size: usize,
    sharing: PageSharing,
    /// The private end is in non-blocking mode, and an event loop waits for it.
    nonblocking: bool,
    told: Told,
    /// The budget of a transfer's steps; `None` for a copier.
    budget: Option<u64>,
    /// Each step of the transfer either takes or delivers.
    half_steps: bool,
    /// Each step, or each call of the copier, is made on another thread.
    handed_over: bool,
}

impl Manner {
    fn random(random: &mut Random) -> Manner {
        Manner {
            adaptive: random.below(2) == 0,
            pipe_size: random.pick(&[4 << 10, 16 << 10, 64 << 10, 1 << 20]),
            sharing: random.pick(&[PageSharing::Sockets, PageSharing::Never, PageSharing::Always]),
            nonblocking: random.below(2) == 0,
            told: random.pick(&[Told::ByLevel, Told::ByEdge]),
            budget: random.pick(&[None, None, Some(u64::MAX), Some(10_000), Some(100_000)]),
            half_steps: random.below(2) == 0,
            handed_over: random.below(4) == 0,
        }
    }
}

/// A copy to be made.
#[derive(Debug)]
pub(super) struct Copying {
    /// Seeds how the copy is made.
    pub(super) seed: u64,
    /// The copy ends at this length, or else at the end of the source.
    pub(super) limit: Option<u64>,
    /// Which end is shared.
    pub(super) shared: Side,
    pub(super) from: OwnedFd,
    pub(super) to: OwnedFd,
}

impl Copying {
    /// Copies. `alone`: the process has no other thread.
    ///
    /// # Panics
    ///
    /// If the copy fails for another reason than an injected fault.
    pub(super) fn run(self, alone: bool) -> Tally {
        let Copying { seed, limit, shared, from, to } = self;
        let mut random = Random::new(seed);
        let mut manner = Manner::random(&mut random);
        manner.handed_over &= !alone;
        let loops = EventLoop::of(manner.told, &from, &to);
        let (mut from, mut to) =
            (Fd::new(from).expect("a descriptor"), Fd::new(to).expect("a descriptor"));
        let private = if shared == Side::Source { &to } else { &from };
        if manner.nonblocking {
            nonblocking(private);
        }
        let is_stream = private.kind() != Kind::File;
        let faults = Faults::new(random, is_stream.then(|| private.as_fd().as_raw_fd()));
        let mut tally = match limit {
            Some(limit) => by(manner, &faults, &loops, &mut Read::take(from, limit), &mut to),
            None => by(manner, &faults, &loops, &mut from, &mut to),
        };
        (tally.copies, tally.shared, tally.faults) = (1, 1, faults.made());
        tally
    }
}

fn by<R: ReadSource + Send, W: WriteSink + Send>(
    manner: Manner,
    faults: &Faults,
    loops: &EventLoop,
    from: &mut R,
    to: &mut W,
) -> Tally {
    match manner.budget {
        None => by_copier(manner, faults, loops, from, to),
        Some(budget) => by_transfer(manner, budget, faults, loops, from, to),
    }
}

fn by_copier<R: ReadSource + Send, W: WriteSink + Send>(
    manner: Manner,
    faults: &Faults,
    loops: &EventLoop,
    from: &mut R,
    to: &mut W,
) -> Tally {
    let Manner { adaptive, pipe_size, sharing, .. } = manner;
    let mut copier = Copier::new().adaptive(adaptive).pipe_size(pipe_size).page_sharing(sharing);
    let (mut tally, mut begun) = (Tally::default(), false);
    loop {
        let outcome = on_a_thread(manner, &mut tally, || {
            let _faults = faults.here();
            if begun { copier.resume(from, to) } else { copier.copy(from, to) }
        });
        begun = true;
        let error = match outcome {
            Ok(report) => {
                tally.bytes += report.moved();
                return tally;
            }
            Err(error) => error,
        };
        tally.bytes += error.moved();
        match error.waits_for() {
            Some(side) => loops.wait_for(side),
            None if faults.explain_an_error() => tally.resumed += 1,
            None => panic!("{error} ({manner:?})"),
        }
    }
}

fn by_transfer<R: ReadSource + Send, W: WriteSink + Send>(
    manner: Manner,
    budget: u64,
    faults: &Faults,
    loops: &EventLoop,
    from: &mut R,
    to: &mut W,
) -> Tally {
    let mut options = Options::default();
    (options.adaptive, options.pipe_size) = (manner.adaptive, manner.pipe_size);
    (options.page_sharing, options.half_steps) = (manner.sharing, manner.half_steps);
    let mut transfer = Transfer::new(options);
    let mut tally = Tally::default();
    loop {
        let step = on_a_thread(manner, &mut tally, || {
            let _faults = faults.here();
            transfer.step::<zc_core::StdIo>(from, to, budget)
        });
        tally.bytes += step.delivered;
        let side = match step.next {
            Next::Again => continue,
            Next::Ended => return tally,
            Next::WantRead { .. } => Side::Source,
            Next::WantWrite => Side::Sink,
            Next::Failed(_) if faults.explain_an_error() => {
                tally.resumed += 1;
                continue;
            }
            other => panic!("{other:?} ({manner:?})"),
        };
        transfer.park();
        loops.wait_for(side);
    }
}

fn on_a_thread<T: Send>(manner: Manner, tally: &mut Tally, act: impl FnOnce() -> T + Send) -> T {
    if !manner.handed_over {
        return act();
    }
    tally.handed_over += 1;
    thread::scope(|scope| joined(scope.spawn(act)))
}

/// Waits without a timeout: the soak sees copies that hang.
struct EventLoop {
    ends: [OwnedFd; 2],
    /// If it is edge-triggered.
    edges: Option<Edges>,
}

impl EventLoop {
    fn of(told: Told, from: &OwnedFd, to: &OwnedFd) -> Self {
        let ends = [from, to].map(|end| end.try_clone().expect("a descriptor"));
        let edges = (told == Told::ByEdge).then(|| Edges::of(&ends[0], &ends[1]));
        EventLoop { ends, edges }
    }

    fn wait_for(&self, side: Side) {
        let [from, to] = self.ends.each_ref().map(AsFd::as_fd);
        while !match &self.edges {
            Some(edges) => edges.wait_for(side),
            None => level(side, from, to),
        } {}
    }
}
