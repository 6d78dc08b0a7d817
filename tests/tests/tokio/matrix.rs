//! Every kind of source with every kind of sink. The future is dropped after every poll, and its calls misbehave.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, BufReader, BufWriter};
use tokio::net::unix::pipe;
use zc_linux::hook::{self, Action, Syscall};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::sockets;
use zc_tokio::{AsyncSink, AsyncSource, Copier, Fd, Opaque, Rewind};

use crate::kit;

const LEN: usize = 300_000;

const SOURCES: [&str; 12] = [
    "tcp", "unix", "half", "pipe", "fd", "take", "buffered", "chain", "rewind", "opaque", "file",
    "memory",
];

const SINKS: [&str; 8] = ["tcp", "unix", "half", "pipe", "fd", "buffered", "opaque", "file"];

/// A source that yields `data`, and what feeds it.
fn source(kind: &str, data: &[u8]) -> (Box<dyn AsyncSource>, Option<Feeder>) {
    let feed =
        |to: Box<dyn Write + Send>, data: &[u8]| Some(Feeder::pieces(to, data.to_vec(), 40_000));
    let (peer, stream) = kit::tcp();
    let fed = |data: &[u8]| feed(Box::new(peer), data);
    match kind {
        "tcp" => (Box::new(stream), fed(data)),
        "half" => (Box::new(stream.into_split().0), fed(data)),
        "take" => {
            let longer = [data, &b"what is behind the limit"[..]].concat();
            (Box::new(stream.take(data.len() as u64)), fed(&longer))
        }
        "buffered" => (Box::new(BufReader::new(stream)), fed(data)),
        "rewind" => (Box::new(Rewind::new(&data[..1000], stream)), fed(&data[1000..])),
        "opaque" => (Box::new(Opaque(stream)), fed(data)),
        "chain" => {
            let (other_peer, other) = kit::unix();
            drop(other_peer);
            let first = std::io::Cursor::new(data[..1000].to_vec());
            (Box::new(AsyncReadExt::chain(first, other).chain(stream)), fed(&data[1000..]))
        }
        "unix" => {
            let (peer, stream) = kit::unix();
            (Box::new(stream), feed(Box::new(peer), data))
        }
        "pipe" => {
            let (reader, writer) = std::io::pipe().unwrap();
            let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap();
            (Box::new(reader), feed(Box::new(writer), data))
        }
        "fd" => {
            let (peer, ours) = sockets::unix();
            (Box::new(fd(ours)), feed(Box::new(peer), data))
        }
        "file" => {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(data).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            (Box::new(File::from_std(file)), None)
        }
        "memory" => (Box::new(std::io::Cursor::new(data.to_vec())), None),
        _ => unreachable!("{kind}"),
    }
}

/// What a sink has received, once it is dropped.
type Given = Box<dyn FnOnce() -> Vec<u8>>;

fn sink(kind: &str) -> (Box<dyn AsyncSink>, Given) {
    let collect = |from: Box<dyn Read + Send>| {
        let collector = Collector::start(from);
        Box::new(move || collector.finish())
    };
    let (peer, stream) = kit::tcp();
    match kind {
        "tcp" => (Box::new(stream), collect(Box::new(peer))),
        "half" => (Box::new(stream.into_split().1), collect(Box::new(peer))),
        "buffered" => (Box::new(BufWriter::new(stream)), collect(Box::new(peer))),
        "opaque" => (Box::new(Opaque(stream)), collect(Box::new(peer))),
        "unix" => {
            let (peer, stream) = kit::unix();
            (Box::new(stream), collect(Box::new(peer)))
        }
        "pipe" => {
            let (reader, writer) = std::io::pipe().unwrap();
            let writer = pipe::Sender::from_owned_fd(OwnedFd::from(writer)).unwrap();
            (Box::new(writer), collect(Box::new(reader)))
        }
        "fd" => {
            let (peer, ours) = sockets::unix();
            (Box::new(fd(ours)), collect(Box::new(peer)))
        }
        "file" => {
            let named = tempfile::NamedTempFile::new().unwrap();
            let file = File::from_std(named.reopen().unwrap());
            (Box::new(file), Box::new(move || std::fs::read(named.path()).unwrap()))
        }
        _ => unreachable!("{kind}"),
    }
}

fn fd(stream: std::os::unix::net::UnixStream) -> Fd<std::os::unix::net::UnixStream> {
    stream.set_nonblocking(true).unwrap();
    // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
    Fd::new(unsafe { AsyncFd::register(stream) }.unwrap()).unwrap()
}

async fn copies(from: &str, to: &str, seed: u64) {
    let data = data::bytes(seed, LEN);
    let ((mut source, feeder), (mut sink, given)) = (source(from, &data), sink(to));
    let mut random = fastrand::Rng::with_seed(seed);
    let hook = hook::replace(move |call| {
        const EINTR: i32 = 4;
        match (call.syscall, random.u8(..)) {
            (Syscall::Read | Syscall::Write | Syscall::Splice, 0..40) => {
                Action::Limit(random.usize(1..20_000))
            }
            (Syscall::Read | Syscall::Write | Syscall::Splice, 40..50) => Action::Fail(EINTR),
            _ => Action::Proceed,
        }
    });
    let mut copier = Copier::new();
    let moved = loop {
        match kit::poll_once(copier.run(&mut source, &mut sink)).await {
            Some(outcome) => {
                break outcome.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            }
            None => tokio::task::yield_now().await,
        }
    };
    drop((hook, sink, source));
    if let Some(feeder) = feeder {
        // The feeder may send more than is taken.
        let _ = feeder.finish();
    }
    assert_eq!((moved, copier.in_flight()), (LEN as u64, 0), "{from} to {to}");
    assert_same(&given(), &data);
}

#[test]
fn every_source_copies_to_every_sink() {
    for (from, source) in SOURCES.iter().enumerate() {
        for (to, sink) in SINKS.iter().enumerate() {
            kit::run(async { copies(source, sink, (from * SINKS.len() + to) as u64).await });
        }
    }
}
