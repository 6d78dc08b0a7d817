use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::mpsc;

use rustix::net::{SendFlags, send};
use rustix::pipe::fcntl_getpipe_size;
use zc_std::Side;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, Mechanism, pool};
use zc_testkit::apart::apart;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::feeder::Feeder;
use zc_testkit::streams::{Plain, Stream, narrow, nonblocking};
use zc_testkit::wait::{is_ready, this_thread, until_it_sleeps};
use zc_testkit::{fds, files, heap, sockets};

/// A copy whose receiver does not read.
struct Stalled {
    copier: Copier,
    source: Fd<OwnedFd>,
    sink: Fd<OwnedFd>,
    writer: OwnedFd,
    reader: OwnedFd,
    written: usize,
    moved: u64,
}

impl Stalled {
    fn new(from: Stream, to: Stream, adaptive: bool) -> Stalled {
        let ((writer, source), (sink, reader)) = (from.open(), to.open());
        for socket in [&writer, &sink] {
            narrow(socket);
        }
        // TCP's receivers take megabytes by default.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&reader, 16 << 10);
        Stalled {
            copier: Copier::new().adaptive(adaptive),
            source: Fd::new(nonblocking(source)).unwrap(),
            sink: Fd::new(nonblocking(sink)).unwrap(),
            writer: nonblocking(writer),
            reader,
            written: 0,
            moved: 0,
        }
    }

    /// Feeds the copy, `piece` bytes at a time, until it waits for its sink and the source is full, too; or, with
    /// `once`, until it first waits for its sink.
    fn stall(&mut self, data: &[u8], piece: usize, once: bool) {
        let mut idle = 0;
        while idle < 5 {
            let end = data.len().min(self.written + piece);
            let wrote = rustix::io::write(&self.writer, &data[self.written..end]).unwrap_or(0);
            self.written += wrote;
            let error = self.copier.copy(&mut self.source, &mut self.sink).unwrap_err();
            self.moved += error.moved();
            let waits = error.waits_for() == Some(Side::Sink);
            if waits && once {
                return;
            }
            let stands = waits && wrote == 0 && error.moved() == 0;
            idle = if stands { idle + 1 } else { 0 };
            assert!(self.written < data.len(), "it takes all of {} bytes", data.len());
        }
    }

    /// Lets the receiver read: every byte arrives.
    fn resume(self, data: &[u8]) {
        let Stalled { mut copier, mut source, mut sink, writer, reader, written, moved } = self;
        let collector = Collector::start(Plain(reader));
        drop(writer);
        for end in [source.get_ref(), sink.get_ref()] {
            rustix::io::ioctl_fionbio(end, false).unwrap();
        }
        let report = copier.copy(&mut source, &mut sink).unwrap();
        drop(sink);
        assert_eq!(moved + report.moved(), written as u64);
        assert_same(&collector.finish(), &data[..written]);
    }
}

/// Copies with a sink that has room. Returns how many bytes were spliced, and how many moved.
fn healthy(from: Stream, to: Stream, adaptive: bool) -> (u64, u64) {
    let ((writer, source), (sink, reader)) = (from.open(), to.open());
    let data = data::bytes(9, 8 << 20);
    let feeder = Feeder::pieces(Plain(writer), data.clone(), 256 << 10);
    let collector = Collector::start(Plain(reader));
    let (mut source, mut sink) = (Fd::new(source).unwrap(), Fd::new(sink).unwrap());
    let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut sink).unwrap();
    drop(sink);
    assert_same(&collector.finish(), &data);
    feeder.finish().unwrap();
    (report.moved_by(Mechanism::Splice), report.moved())
}

/// There are more stalled copies than pipes, and a healthy one still gets a pipe.
#[test]
fn stalled_copies_leave_pipes_to_healthy_ones() {
    apart(|| {
        let stalls = [Stream::Tcp, Stream::Unix];
        let sinks = [Stream::Tcp, Stream::Unix, Stream::Pipe];
        each(pairs(&pairs(&stalls, &sinks), &[true, false]), |&((from, to), adaptive)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(1, 8 << 20);
            let mut stalled: Vec<_> = (0..40).map(|_| Stalled::new(from, to, adaptive)).collect();
            stalled.iter_mut().for_each(|copy| copy.stall(&data, 64 << 10, true));
            let lent = pool::in_use();
            let (spliced, moved) = healthy(Stream::Tcp, Stream::Tcp, adaptive);
            assert!(spliced >= moved / 10 * 9, "{lent} pipes lent: {spliced} of {moved} spliced");
            assert_eq!(pool::in_use(), lent, "after a healthy copy");
            // Two are enough: TCP takes its time to recover from a window of 0.
            stalled.into_iter().take(2).for_each(|copy| copy.resume(&data));
        });
    });
}

/// How many bytes the pipes of this process can hold, without those in `but`. The kernel charges a user for this
/// much.
fn pipes_hold(but: &BTreeSet<String>) -> usize {
    let mut seen = but.clone();
    let sizes = fds::census().into_iter().filter_map(|(fd, what)| {
        let new = what.starts_with("pipe:") && seen.insert(what);
        // SAFETY: the census saw it open, and no other thread closes anything here.
        new.then(|| fcntl_getpipe_size(unsafe { BorrowedFd::borrow_raw(fd) }).unwrap())
    });
    sizes.sum()
}

/// A stalled copy holds, in memory and pipes, at most twice what it has in flight, or 4 KiB.
#[test]
fn a_stalled_copy_holds_little() {
    apart(|| {
        const COPIES: usize = 12;
        // What a thread keeps for all of its copies.
        const OF_THE_THREAD: usize = 512 << 10;
        let ends = pairs(&Stream::ALL, &Stream::ALL);
        let pieces = [(700, true), (64 << 10, true), (64 << 10, false)];
        each(pairs(&ends, &pieces), |&((from, to), (piece, adaptive))| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(2, 2 << 20);
            let mut copies: Vec<_> =
                (0..COPIES).map(|_| Stalled::new(from, to, adaptive)).collect();
            let ours: BTreeSet<_> = fds::census().into_values().collect();
            let before = heap::in_use();
            for copy in &mut copies {
                copy.stall(&data, piece, true);
                // One more call, so that what is in flight is delivered as far as it goes.
                let error = copy.copier.copy(&mut copy.source, &mut copy.sink).unwrap_err();
                copy.moved += error.moved();
            }
            pool::clear();
            let memory = heap::in_use().saturating_sub(before);
            let pipes = pipes_hold(&ours);
            let in_flight: Vec<_> = copies.iter().map(|copy| copy.copier.in_flight()).collect();
            let allowed: usize = in_flight.iter().map(|&n| (2 * n).max(4 << 10)).sum();
            let total: usize = in_flight.iter().sum();
            assert!(
                memory + pipes <= allowed + OF_THE_THREAD,
                "{COPIES} copies with {total} bytes in flight hold {memory} bytes of memory and \
                 {} pipes of {pipes} bytes in all",
                pool::in_use(),
            );
            copies.into_iter().take(1).for_each(|copy| copy.resume(&data));
        });
    });
}

/// A copy that waits for its source holds nothing.
#[test]
fn a_copy_without_bytes_in_flight_holds_nothing() {
    apart(|| {
        const COPIES: usize = 12;
        each(
            pairs(&pairs(&Stream::ALL, &Stream::ALL), &[true, false]),
            |&((from, to), adaptive)| {
                let _leaks = fds::no_leaks();
                let mut copies: Vec<_> =
                    (0..COPIES).map(|_| Stalled::new(from, to, adaptive)).collect();
                let ours: BTreeSet<_> = fds::census().into_values().collect();
                let before = heap::in_use();
                for copy in &mut copies {
                    rustix::io::write(&copy.writer, &[1; 3000]).unwrap();
                    zc_testkit::wait::wait_for(copy.source.get_ref(), rustix::event::PollFlags::IN);
                    let mut moved = 0;
                    while moved < 3000 {
                        let error = copy.copier.copy(&mut copy.source, &mut copy.sink).unwrap_err();
                        assert_eq!(error.waits_for(), Some(Side::Source), "{error}");
                        moved += error.moved();
                    }
                    assert_eq!(copy.copier.in_flight(), 0);
                }
                assert_eq!(pool::in_use(), 0);
                pool::clear();
                let memory = heap::in_use().saturating_sub(before);
                assert!(memory <= 512 << 10, "{COPIES} copies hold {memory} bytes");
                assert_eq!(pipes_hold(&ours), 0);
            },
        );
    });
}

/// A read tells why a splice has found nothing, and what that read has brought waits for a sink. Neither holds a
/// pipe: both may take long.
#[test]
fn a_read_in_front_of_urgent_data_holds_nothing() {
    apart(|| {
        each([true, false], |&adaptive| {
            let _leaks = fds::no_leaks();
            let (mut client, server) = sockets::tcp_v4();
            server.set_nonblocking(true).unwrap();
            let data = data::bytes(4, 30_000);
            client.write_all(&data).unwrap();
            assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
            client.write_all(b"and more").unwrap();
            let all = data.len() + 8;
            // The bytes behind the urgent one are not counted.
            while rustix::io::ioctl_fionread(&server).unwrap() < data.len() as u64 {
                std::thread::yield_now();
            }
            let file = files::empty();
            // Not to the stream's end: of a stream that has ended splice says so beside urgent data, too.
            let mut source = (&server).take(all as u64);
            let held = Rc::new(Cell::new(0));
            let seen = Rc::clone(&held);
            let reads = Rc::new(Cell::new(0));
            let made = Rc::clone(&reads);
            let watch = hook::replace(move |call| {
                if matches!(call.syscall, Syscall::Read | Syscall::Write) {
                    made.set(made.get() + 1);
                    seen.set(seen.get().max(pool::in_use()));
                }
                Action::Proceed
            });
            let mut copier = Copier::new().adaptive(adaptive);
            let mut moved = 0;
            while let Err(error) = copier.resume(&mut source, &mut &file).map(|report| {
                moved += report.moved();
            }) {
                assert_eq!(error.waits_for(), Some(Side::Source), "{error}");
                moved += error.moved();
                zc_testkit::wait::wait_for(&server, rustix::event::PollFlags::IN);
            }
            drop(watch);
            assert_eq!((moved, source.limit()), (all as u64, 0));
            assert_same(&files::contents(&file), &[&data[..], b"and more"].concat());
            assert!(reads.get() > 0, "nothing was read in front of urgent data");
            assert_eq!(held.get(), 0, "pipes that were held while it read or wrote");
        });
    });
}

/// Stalled copies in blocking mode, and a healthy one beside them.
#[test]
fn blocked_copies_leave_pipes_to_healthy_ones() {
    apart(|| {
        each(Stream::SOCKETS, |&stream| {
            let _leaks = fds::no_leaks();
            std::thread::scope(|scope| {
                let mut peers = Vec::new();
                let (tell, tasks) = mpsc::channel();
                for _ in 0..40 {
                    let ((to, from), (out, into)) = (stream.open(), stream.open());
                    narrow(&out);
                    let feeder = Feeder::pieces(Plain(to), vec![1; 400_000], 100_000);
                    let fd = into.as_raw_fd();
                    peers.push((into, feeder, fd));
                    let tell = tell.clone();
                    scope.spawn(move || {
                        tell.send(this_thread()).unwrap();
                        let (mut source, mut sink) =
                            (Fd::new(from).unwrap(), Fd::new(out).unwrap());
                        let report = Copier::new().adaptive(false).copy(&mut source, &mut sink);
                        assert_eq!(report.unwrap().moved(), 400_000);
                    });
                }
                // Each copy has begun to deliver, and stalls.
                for (into, _, _) in &peers {
                    while !is_ready(into, rustix::event::PollFlags::IN) {
                        std::thread::yield_now();
                    }
                }
                tasks.iter().take(peers.len()).for_each(|task| until_it_sleeps(&task));
                let (spliced, moved) = healthy(Stream::Tcp, Stream::Tcp, false);
                let drained = peers.into_iter().map(|(into, feeder, _)| {
                    let mut got = Vec::new();
                    Plain(into).read_to_end(&mut got).unwrap();
                    feeder.finish().unwrap();
                    got.len()
                });
                assert_eq!(drained.sum::<usize>(), 40 * 400_000);
                // A copy reads what comes after a wait, some 64 KiB, and a slow machine waits often.
                assert!(spliced >= moved / 2, "{spliced} of {moved} spliced");
            });
        });
    });
}
