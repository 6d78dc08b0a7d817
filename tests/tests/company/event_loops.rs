use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use static_assertions::assert_impl_all;
use zc_std::{Copier, Fd, PageSharing};
use zc_testkit::apart::apart;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::streams::{Plain, Stream, narrow, nonblocking};
use zc_testkit::{fds, files};

assert_impl_all!(Copier: Send);

const LEN: usize = 400_003;

const LOOPS: [(Told, Threads); 4] = [
    (Told::ByLevel, Threads::One),
    (Told::ByLevel, Threads::Many),
    (Told::ByEdge, Threads::One),
    (Told::ByEdge, Threads::Many),
];

/// Writes bursts of many sizes, with pauses.
fn write_by_bursts(to: OwnedFd, data: &[u8]) {
    let (mut to, mut at) = (Plain(to), 0);
    for size in [1, 100_000, 3, 5000, 200_000, 64_000].into_iter().cycle() {
        let end = data.len().min(at + size);
        to.write_all(&data[at..end]).unwrap();
        at = end;
        if at == data.len() {
            return;
        }
        thread::sleep(Duration::from_micros(300));
    }
}

/// Reads a little, then much, with pauses, so that the sink is full now and then.
fn read_slowly(from: &OwnedFd) -> Vec<u8> {
    let (mut got, mut buf) = (Vec::new(), vec![0; 100_000]);
    for size in [1, 20_000, 100_000, 4096].into_iter().cycle() {
        match rustix::io::read(from, &mut buf[..size]).unwrap() {
            0 => return got,
            n => got.extend(&buf[..n]),
        }
        thread::sleep(Duration::from_micros(300));
    }
    got
}

/// Copies between two ends whose peers keep each other waiting, and returns what came out.
fn pass(
    data: &[u8],
    (to, from): (OwnedFd, OwnedFd),
    (out, into): (OwnedFd, OwnedFd),
    (how, adaptive): ((Told, Threads), bool),
) -> Vec<u8> {
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_by_bursts(to, data));
        let reader = scope.spawn(|| read_slowly(&into));
        let mut source = Fd::new(from).unwrap();
        let mut sink = Fd::new(out).unwrap();
        let mut copier = Copier::new().adaptive(adaptive);
        let moved = copy_all(how, &mut copier, &mut source, &mut sink).unwrap();
        assert_eq!((moved, copier.in_flight()), (LEN as u64, 0));
        joined(writer);
        drop(sink);
        joined(reader)
    })
}

/// Every pair of streams. The sender and the receiver keep each other waiting.
#[test]
fn streams_are_copied_to_streams() {
    apart(|| {
        let data = data::bytes(1, LEN);
        let cells = pairs(&pairs(&Stream::ALL, &Stream::ALL), &pairs(&LOOPS, &[true, false]));
        each(cells, |&((source, sink), (how, adaptive))| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            narrow(&out);
            let (from, out) = (nonblocking(from), nonblocking(out));
            let got = pass(&data, (to, from), (out, into), (how, adaptive));
            assert_same(&got, &data);
        });
    });
}

/// From a file, whose pages are shared with the sink or not.
#[test]
fn files_are_copied_to_streams() {
    apart(|| {
        let data = data::bytes(2, LEN);
        let sharings = [PageSharing::Sockets, PageSharing::Never, PageSharing::Always];
        let cells = pairs(&pairs(&Stream::ALL, &LOOPS), &pairs(&sharings, &[true, false]));
        each(cells, |&((stream, how), (sharing, adaptive))| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(&data);
            let (out, into) = stream.open();
            narrow(&out);
            let got = thread::scope(|scope| {
                let reader = scope.spawn(|| read_slowly(&into));
                let mut sink = Fd::new(nonblocking(out)).unwrap();
                let mut copier = Copier::new().adaptive(adaptive).page_sharing(sharing);
                let moved = copy_all(how, &mut copier, &mut &file, &mut sink).unwrap();
                assert_eq!((moved, copier.in_flight()), (LEN as u64, 0));
                drop(sink);
                joined(reader)
            });
            assert_same(&got, &data);
            assert_eq!(files::position(&file), LEN as u64);
        });
    });
}

/// Into a file, and into the null device.
#[test]
fn streams_are_copied_to_files() {
    apart(|| {
        let data = data::bytes(3, LEN);
        each(pairs(&pairs(&Stream::ALL, &LOOPS), &[true, false]), |&((stream, how), adaptive)| {
            for null in [false, true] {
                let _leaks = fds::no_leaks();
                let file = if null {
                    File::options().write(true).open("/dev/null").unwrap()
                } else {
                    files::on_disk(b"")
                };
                let (to, from) = stream.open();
                thread::scope(|scope| {
                    let writer = scope.spawn(|| write_by_bursts(to, &data));
                    let mut source = Fd::new(nonblocking(from)).unwrap();
                    let mut copier = Copier::new().adaptive(adaptive);
                    let moved = copy_all(how, &mut copier, &mut source, &mut &file).unwrap();
                    assert_eq!((moved, copier.in_flight()), (LEN as u64, 0));
                    joined(writer);
                });
                if !null {
                    assert_same(&files::contents(&file), &data);
                }
            }
        });
    });
}

/// One side is in blocking mode and the other is not. Each waits in its own way.
#[test]
fn one_side_may_block() {
    apart(|| {
        let data = data::bytes(4, LEN);
        let cells =
            pairs(&pairs(&Stream::ALL, &Stream::ALL), &pairs(&[true, false], &[true, false]));
        each(cells, |&((source, sink), (source_blocks, adaptive))| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            narrow(&out);
            let mode = |end, blocks| if blocks { end } else { nonblocking(end) };
            let (from, out) = (mode(from, source_blocks), mode(out, !source_blocks));
            let how = (Told::ByLevel, Threads::One);
            let got = pass(&data, (to, from), (out, into), (how, adaptive));
            assert_same(&got, &data);
        });
    });
}

/// A proxy in one thread: a copier for each direction of a connection, over the same two descriptors.
#[test]
fn one_thread_copies_both_directions() {
    apart(|| {
        let requests = data::bytes(5, 300_000);
        let answers = data::bytes(6, 400_000);
        each(pairs(&pairs(&Stream::SOCKETS, &Stream::SOCKETS), &LOOPS), |&((one, other), how)| {
            let _leaks = fds::no_leaks();
            let ((client, front), (back, server)) = (one.open(), other.open());
            let (front, back) = (nonblocking(front), nonblocking(back));
            let exchange = |fd: OwnedFd, say: &[u8], hear: usize| {
                let mut got = vec![0; hear];
                thread::scope(|scope| {
                    let speaker = scope.spawn(|| Plain(&fd).write_all(say).unwrap());
                    std::io::Read::read_exact(&mut Plain(&fd), &mut got).unwrap();
                    joined(speaker);
                });
                rustix::net::shutdown(&fd, rustix::net::Shutdown::Write).unwrap();
                got
            };
            let relay = |from: BorrowedFd<'_>, to: BorrowedFd<'_>| {
                let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(to).unwrap());
                copy_all(how, &mut Copier::new(), &mut source, &mut sink).unwrap()
            };
            thread::scope(|scope| {
                let client = scope.spawn(|| exchange(client, &requests, answers.len()));
                let server = scope.spawn(|| exchange(server, &answers, requests.len()));
                let there = scope.spawn(|| relay(front.as_fd(), back.as_fd()));
                let here = scope.spawn(|| relay(back.as_fd(), front.as_fd()));
                assert_same(&joined(client), &answers);
                assert_same(&joined(server), &requests);
                assert_eq!((joined(there), joined(here)), (300_000, 400_000));
            });
        });
    });
}
