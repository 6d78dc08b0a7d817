//! Copies out of one open file, beside a thread that reads. Every byte is read once.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use zc_std::Side;

use super::copying::Copying;
use super::crew::{Who, work};
use super::shared_sink::stream;
use super::size;
use super::tally::Tally;
use super::workload::Random;
use crate::collector::Collector;
use crate::files;
use crate::numbered_words::{self, Shares, shares, words};
use crate::streams::{Plain, narrow};

/// The most words that a file has.
const MOST: usize = 100_000;

pub(super) fn round(random: &mut Random) -> Tally {
    let count = u32::try_from(size(random, MOST)).expect("few");
    let data = words(count);
    let file = if random.below(2) == 0 { files::on_disk(&data) } else { files::holding(&data) };
    // All into one file, or each into a sink of its own.
    let one_sink = (random.below(4) == 0).then(|| files::on_disk(b""));
    let (mut crew, mut sinks) = (Vec::new(), Vec::new());
    for _ in 0..2 + random.below(5) {
        let to = match &one_sink {
            Some(sink) => sink.try_clone().expect("a descriptor").into(),
            None => {
                let (to, got) = sink(random);
                sinks.push(got);
                to
            }
        };
        let all = random.below(2) == 0;
        let copying = Copying {
            seed: random.next(),
            limit: (!all).then(|| size(random, data.len()) as u64),
            shared: Side::Source,
            from: file.try_clone().expect("a descriptor").into(),
            to,
        };
        crew.push((Who::random(random), copying));
    }
    let buffer = data.len() / 1000 + 1 + random.len(9000);
    // With limits, some bytes may be left.
    let reads = random.below(2) == 0;
    let read_all = || read(&file, buffer);
    let (tallies, read) = work(crew, || if reads { read_all() } else { Vec::new() });

    let mut streams: Vec<Vec<u8>> = sinks.into_iter().map(Got::bytes).collect();
    let mut tally = Tally::default();
    for (place, copy) in tallies.into_iter().enumerate() {
        if let Some(stream) = streams.get(place) {
            assert_eq!(copy.bytes, stream.len() as u64, "bytes delivered, by the report");
        }
        tally += copy;
    }
    streams.extend([read, read_all()]);
    // In a file that several copies write, each copy's words are in order, but not known for its own.
    let in_order = one_sink.is_none();
    streams.extend(one_sink.map(|sink| files::contents(&sink)));
    let Shares { total, doubled, disorder, .. } = shares(count, &streams);
    let doubled =
        (doubled * numbered_words::LEN) as u64 + if in_order { disorder as u64 } else { 0 };
    let (total, whole) = (total as u64, data.len() as u64);
    tally.lost = (whole + doubled).saturating_sub(total);
    tally.doubled = doubled.max(total.saturating_sub(whole));
    if (tally.lost, tally.doubled) == (0, 0) {
        assert_eq!(files::position(&file), whole, "the offset at the end");
    }
    tally
}

/// Reads to the end.
fn read(mut file: &File, buffer: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; buffer]);
    loop {
        match file.read(&mut buffer).expect("a file") {
            0 => return all,
            n => all.extend(&buffer[..n]),
        }
    }
}

/// What came out at the other end.
enum Got {
    File(File),
    Thread(Collector),
}

impl Got {
    fn bytes(self) -> Vec<u8> {
        match self {
            Got::File(file) => files::contents(&file),
            Got::Thread(collector) => collector.finish(),
        }
    }
}

fn sink(random: &mut Random) -> (OwnedFd, Got) {
    let Some(stream) = stream(random) else {
        let file = if random.below(2) == 0 { files::on_disk(b"") } else { files::empty() };
        return (file.try_clone().expect("a descriptor").into(), Got::File(file));
    };
    let (to, from) = stream.open();
    if random.below(2) == 0 {
        narrow(&to);
    }
    (to, Got::Thread(Collector::start(Plain(from))))
}
