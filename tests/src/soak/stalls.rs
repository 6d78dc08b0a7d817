//! Copies whose receivers have stopped reading. They wait beside the others. A forked child does not get what they
//! have in flight. In the end they are completed.

use std::os::fd::OwnedFd;
use std::thread;

use zc_std::{Copier, Fd, Side};

use super::crew::PATIENCE;
use super::tally::Tally;
use super::workload::Random;
use crate::collector::Collector;
use crate::data;
use crate::each_cell::joined;
use crate::event_loop::{Threads, Told, copy_all, level};
use crate::feeder::Feeder;
use crate::forked::forked;
use crate::streams::{Plain, Stream, narrow, nonblocking};

/// Enough to fill all buffers in between.
const LEN: usize = 700_000;

pub(super) struct Stalls(Vec<Stalled>);

struct Stalled {
    data: Vec<u8>,
    copier: Copier,
    moved: u64,
    source: Fd<OwnedFd>,
    sink: Fd<OwnedFd>,
    receiver: OwnedFd,
    feeder: Feeder,
}

impl Stalls {
    /// Mostly none; sometimes more than the pool has pipes.
    pub(super) fn begin(random: &mut Random) -> Stalls {
        let many = 1 + random.len(40);
        let count = random.pick(&[0, 0, 0, 0, 1, 3, many]);
        Stalls((0..count).map(|_| Stalled::begin(random)).collect())
    }

    pub(super) fn end(self, random: &mut Random) -> Tally {
        let mut tally = Tally::default();
        for stalled in self.0 {
            tally += stalled.end(random);
        }
        tally
    }
}

impl Stalled {
    fn begin(random: &mut Random) -> Stalled {
        let kinds = [Stream::Unix, Stream::Unix, Stream::Pipe];
        let ((to, from), (out, receiver)) =
            (random.pick(&kinds).open(), random.pick(&kinds).open());
        narrow(&out);
        let data = data::bytes(random.next(), LEN);
        let feeder = Feeder::pieces(Plain(to), data.clone(), 1000 + random.len(60_000));
        let mut source = Fd::new(nonblocking(from)).expect("a stream");
        let mut sink = Fd::new(nonblocking(out)).expect("a stream");
        let mut copier = Copier::new().adaptive(random.below(2) == 0);
        let mut moved = 0;
        loop {
            let error =
                copier.copy(&mut source, &mut sink).expect_err("more than there is room for");
            moved += error.moved();
            match error.waits_for() {
                Some(Side::Sink) => break,
                Some(Side::Source) => {
                    while !level(Side::Source, source.get_ref(), sink.get_ref()) {}
                }
                None => panic!("{error}"),
            }
        }
        Stalled { data, copier, moved, source, sink, receiver, feeder }
    }

    fn end(self, random: &mut Random) -> Tally {
        let Stalled { data, mut copier, moved, mut source, mut sink, receiver, feeder } = self;
        let mut tally = Tally { copies: 1, bytes: data.len() as u64, ..Tally::default() };
        if random.below(8) == 0 && copier.in_flight() > 0 {
            let child = forked(|| {
                let error = copier.resume(&mut source, &mut sink).expect_err("the parent's");
                assert_eq!((error.waits_for(), error.moved()), (None, 0), "{error}");
            });
            child.finish_within(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
            tally.forks += 1;
        }
        let collector = Collector::start(Plain(receiver));
        // Another thread completes the copy than began it.
        tally.handed_over += 1;
        let how = (random.pick(&[Told::ByLevel, Told::ByEdge]), Threads::One);
        let rest = thread::scope(|scope| {
            joined(scope.spawn(|| copy_all(how, &mut copier, &mut source, &mut sink)))
        });
        let rest = rest.unwrap_or_else(|error| panic!("{error}"));
        drop((source, sink));
        let got = collector.finish();
        feeder.finish().expect("a receiver that has read all");
        assert_eq!(moved + rest, data.len() as u64, "bytes delivered, by the report");
        let (lost, doubled) = super::account::lost_and_doubled(&data, &got);
        Tally { lost, doubled, ..tally }
    }
}
