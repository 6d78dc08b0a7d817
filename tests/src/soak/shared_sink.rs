//! Copies into one open file, beside a thread that writes. Every writer's bytes are in it once, in order.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use zc_std::Side;

use super::account::lost_and_doubled;
use super::copying::Copying;
use super::crew::{Who, work};
use super::size;
use super::tally::Tally;
use super::workload::Random;
use crate::feeder::Feeder;
use crate::files;
use crate::streams::{Plain, Stream};
use crate::woven::{self, thread_of, unwoven};

/// The most that one writer writes, in bytes.
const MOST: usize = 250_000;

pub(super) fn round(random: &mut Random) -> Tally {
    let file = sink(random);
    let copies = 2 + u8::try_from(random.below(u64::from(woven::WRITERS) - 2)).expect("few");
    let lens: Vec<usize> = (0..=copies).map(|_| size(random, MOST)).collect();
    let (mut crew, mut feeders) = (Vec::new(), Vec::new());
    for (writer, &len) in (1..=copies).zip(&lens) {
        let who = Who::random(random);
        let (from, feeder) = source(random, thread_of(writer, len));
        feeders.extend(feeder);
        let to_its_end = who != Who::Child && random.below(2) == 0;
        let copying = Copying {
            seed: random.next(),
            limit: (!to_its_end).then_some(len as u64),
            shared: Side::Sink,
            from,
            to: file.try_clone().expect("a descriptor").into(),
        };
        crew.push((who, copying));
    }
    let plain = thread_of(copies + 1, lens[usize::from(copies)]);
    let piece = plain.len() / 1000 + 1 + random.len(5000);
    let (tallies, ()) = work(crew, || write(&file, &plain, piece));

    let mut tally = Tally::default();
    for (copy, &len) in tallies.into_iter().zip(&lens) {
        assert_eq!(copy.bytes, len as u64, "bytes delivered, by the report");
        tally += copy;
    }
    let all = files::contents(&file);
    let threads = unwoven(&all);
    for (writer, &len) in (1..).zip(&lens) {
        let (lost, doubled) =
            lost_and_doubled(&thread_of(writer, len), &threads[usize::from(writer)]);
        (tally.lost, tally.doubled) = (tally.lost + lost, tally.doubled + doubled);
    }
    tally.doubled += threads[0].len() as u64;
    if (tally.lost, tally.doubled) == (0, 0) {
        assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
    }
    tally
}

fn sink(random: &mut Random) -> File {
    match random.below(3) {
        0 => files::on_disk(b""),
        1 => files::empty(),
        _ => {
            let name = tempfile::NamedTempFile::new().expect("a temporary file");
            let mut options = File::options();
            options.read(true).append(true).open(name.path()).expect("just made")
        }
    }
}

/// Writes as shells and loggers do.
fn write(mut file: &File, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        file.write_all(piece).expect("room for it");
    }
}

fn source(random: &mut Random, data: Vec<u8>) -> (OwnedFd, Option<Feeder>) {
    match stream(random) {
        None if random.below(2) == 0 => (files::on_disk(&data).into(), None),
        None => (files::holding(&data).into(), None),
        Some(stream) => {
            let (to, from) = stream.open();
            let piece = data.len() / 50 + 1 + random.len(60_000);
            (from, Some(Feeder::pieces(Plain(to), data, piece)))
        }
    }
}

/// A kind of stream, or `None` for a file. (Each TCP connection uses up a port for a minute.)
pub(super) fn stream(random: &mut Random) -> Option<Stream> {
    match random.below(16) {
        0 => Some(Stream::Tcp),
        1 => Some(Stream::Fifo),
        2..6 => None,
        6..11 => Some(Stream::Pipe),
        _ => Some(Stream::Unix),
    }
}
