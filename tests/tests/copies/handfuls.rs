//! Handfuls: the engine waits for a bulk sender over TCP until enough has come. Nothing else is waited for, and the
//! socket is left as it was.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};
use zc_std::hook::{self, Action, Call, Guard, Recorder, StoppedClock, Syscall};
use zc_std::{Copier, Options, Progress, ReadFrom, Source, WriteSink, pool};
use zc_testkit::data::{assert_same, bytes};
use zc_testkit::forked::forked;
use zc_testkit::skip::skip;
use zc_testkit::wait::{is_ready, this_thread, until_it_sleeps, wait_for};
use zc_testkit::{fds, files, raw, sockets};

use super::sink_limits::Quota;

/// What counts of a step towards a proof, and how many of those prove a bulk sender.
const RICH: usize = 16 * 1024;
const PROOF: usize = 8;

/// The smallest handful.
const LEAST: usize = 8 * 1024;

/// The receive buffer, in bytes, in which a handful has room to grow; the kernel doubles this.
const ROOM: usize = 200 * 1024;

/// The far end of a connection. It sends while the copy at this end goes on.
struct Peer {
    client: Option<TcpStream>,
    stream: TcpStream,
    /// The copy's descriptor of `stream`.
    fd: RawFd,
    /// The bytes to send, last one first.
    unsent: Vec<u8>,
}

impl Peer {
    fn of(data: &[u8]) -> (Peer, TcpStream) {
        Peer::over(sockets::tcp_v4(), data)
    }

    fn over((client, stream): (TcpStream, TcpStream), data: &[u8]) -> (Peer, TcpStream) {
        sockopt::set_socket_recv_buffer_size(&stream, ROOM).unwrap();
        let peer = Peer {
            client: Some(client),
            fd: stream.as_raw_fd(),
            stream: stream.try_clone().unwrap(),
            unsent: data.iter().rev().copied().collect(),
        };
        (peer, stream)
    }

    fn waiting(&self) -> usize {
        usize::try_from(rustix::io::ioctl_fionread(&self.stream).unwrap()).unwrap()
    }

    /// Sends `n` bytes, or all that are left, and hangs up after the last. They have arrived when this returns.
    fn send(&mut self, n: usize) {
        if self.client.is_none() {
            return;
        }
        let before = self.waiting();
        let sent = self.send_away(n);
        // The bytes behind an urgent one are not counted.
        while self.waiting() < before + sent && !is_ready(&self.stream, PollFlags::PRI) {
            std::thread::yield_now();
        }
        if self.unsent.is_empty() {
            self.end();
        }
    }

    /// Sends `n` bytes, or all that are left. Returns how many.
    fn send_away(&mut self, n: usize) -> usize {
        let rest = self.unsent.len().saturating_sub(n);
        let piece: Vec<u8> = self.unsent.drain(rest..).rev().collect();
        self.client.as_mut().unwrap().write_all(&piece).unwrap();
        piece.len()
    }

    fn end(&mut self) {
        self.client = None;
        wait_for(&self.stream, PollFlags::RDHUP);
    }

    fn mark(&self) -> usize {
        usize::try_from(raw::low_water(&self.stream).unwrap()).unwrap()
    }

    /// Sends a piece whenever the copy would find nothing. `waits` acts when the copy waits. The clock is stopped, so
    /// that no delay of the machine counts as a pause.
    fn serve(
        self,
        piece: impl FnMut() -> usize + 'static,
        waits: impl FnMut(&mut Peer) -> Action + 'static,
    ) -> (Guard, StoppedClock) {
        (self.serve_in_time(piece, waits), hook::stop_clock())
    }

    /// The same with a running clock.
    fn serve_in_time(
        mut self,
        mut piece: impl FnMut() -> usize + 'static,
        mut waits: impl FnMut(&mut Peer) -> Action + 'static,
    ) -> Guard {
        hook::replace(move |call| {
            if call.from != Some(self.fd) {
                return Action::Proceed;
            }
            if call.syscall == Syscall::Poll {
                return waits(&mut self);
            }
            if takes(call) && self.waiting() == 0 {
                self.send(piece());
            }
            Action::Proceed
        })
    }
}

/// Whether a call takes bytes from its source.
fn takes(call: &Call) -> bool {
    matches!(call.syscall, Syscall::Read | Syscall::Splice | Syscall::Discard)
}

/// Sends as much as the copy waits for.
fn a_handful(peer: &mut Peer) -> Action {
    let mark = peer.mark();
    peer.send(mark);
    Action::Proceed
}

/// Copies all of `source` into a file, and asserts that this is `data`. Returns the calls.
fn copied(source: impl Read + Source, data: &[u8]) -> Recorder {
    let (recorder, file) = (hook::record(), files::empty());
    assert_eq!((&file).read_from(source).unwrap(), data.len() as u64);
    assert_same(&files::contents(&file), data);
    recorder
}

/// How often the mark (SO_RCVLOWAT) was set or set back, and how often the copy waited. Asserts that it was on
/// `stream` each time.
fn waits(recorder: &Recorder, stream: &TcpStream) -> (usize, usize) {
    let sets = recorder.calls_to(Syscall::SetSockOpt);
    assert!(sets.iter().all(|set| set.call.to == Some(stream.as_raw_fd())));
    let polls = recorder.calls_to(Syscall::Poll);
    assert!(polls.iter().all(|poll| poll.call.from == Some(stream.as_raw_fd())));
    (sets.len(), polls.len())
}

/// Sinks for a handful, each with the file to read it back from, if it has one.
fn sinks() -> [(&'static str, Box<dyn WriteSink>, Option<File>); 3] {
    let file = files::empty();
    let null = File::options().write(true).open("/dev/null").unwrap();
    [
        ("a file", Box::new(file.try_clone().unwrap()), Some(file)),
        ("the null device", Box::new(null), None),
        ("nowhere", Box::new(std::io::sink()), None),
    ]
}

#[test]
fn a_bulk_sender_is_waited_for() {
    let leaks = fds::no_leaks();
    let data = bytes(1, 4 << 20);
    for (name, mut sink, file) in sinks() {
        let (peer, stream) = Peer::of(&data);
        let buffer = sockopt::socket_recv_buffer_size(&stream).unwrap();
        let marks = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&marks);
        let hook = peer.serve(
            || RICH,
            move |peer| {
                seen.borrow_mut().push(peer.mark());
                a_handful(peer)
            },
        );
        let recorder = hook::record();
        let owner = stream.try_clone().unwrap();
        let mut source =
            Progress::new(&stream, move |_| assert_eq!(raw::low_water(&owner).unwrap(), 1));
        let report = Copier::new().copy(&mut source, &mut sink).unwrap();
        drop((hook, source));

        assert_eq!(report.moved(), data.len() as u64, "{name}");
        assert_eq!(report.calls(), recorder.calls().len() as u64, "{name}");
        let marks = marks.take();
        assert_eq!(waits(&recorder, &stream), (2 * marks.len(), marks.len()), "{name}");
        // All but the proof, and the steps that plan.
        let waited: usize = marks.iter().sum();
        assert!(waited >= data.len() - (PROOF + 2) * RICH, "{name}: {waited} of {}", data.len());
        assert!(marks.iter().all(|mark| (LEAST..=buffer / 4).contains(mark)), "{name}: {marks:?}");
        assert!(recorder.calls_to(Syscall::Poll).iter().all(|poll| poll.result == Ok(1)), "{name}");
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
        // The receive buffer is as large as before.
        assert_eq!(sockopt::socket_recv_buffer_size(&stream).unwrap(), buffer);
        if let Some(file) = file {
            assert_same(&files::contents(&file), &data);
        }
    }
    leaks.check();
}

/// The call that takes a handful finds the mark as its owner has it, and takes the whole handful.
#[test]
fn each_wait_is_followed_by_one_call_that_takes_it_all() {
    let _leaks = fds::no_leaks();
    let data = bytes(2, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let owner = stream.try_clone().unwrap();
    let fd = stream.as_raw_fd();
    let marks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&marks);
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            seen.borrow_mut().push(peer.mark());
            a_handful(peer)
        },
    );
    let _sees = hook::observe(move |record| {
        if takes(&record.call) && record.call.from == Some(fd) {
            assert_eq!(raw::low_water(&owner).unwrap(), 1, "during {record:?}");
        }
    });
    let recorder = copied(&stream, &data);

    let calls = recorder.calls();
    let polls = calls.iter().enumerate().filter(|(_, it)| it.call.syscall == Syscall::Poll);
    let (mut seen, mut marks) = (marks.take().into_iter(), Vec::new());
    for (at, _) in polls {
        let around: Vec<_> = calls[at - 2..at + 3].iter().map(|it| it.call.syscall).collect();
        let (ask, set, poll) = (Syscall::GetSockOpt, Syscall::SetSockOpt, Syscall::Poll);
        assert_eq!(around, [ask, set, poll, set, Syscall::Splice]);
        marks.push((calls[at + 2].moved(), seen.next().unwrap()));
    }
    // A splice from a socket that has ended may take less at a time.
    marks.pop();
    assert!(!marks.is_empty() && marks.iter().all(|(took, mark)| took == mark), "{marks:?}");
}

/// A few pieces are no bulk sender's, large or small.
#[test]
fn others_are_not_waited_for() {
    let _leaks = fds::no_leaks();
    for (piece, len) in [(RICH, PROOF * RICH), (4 * RICH, PROOF * 4 * RICH), (1000, 100_000)] {
        let data = bytes(3, len);
        let (peer, stream) = Peer::of(&data);
        let _hook = peer.serve(move || piece, |_| panic!("the copy waits"));
        let recorder = copied(&stream, &data);
        assert_eq!(waits(&recorder, &stream), (0, 0), "{len} bytes by {piece}");
    }
}

/// Small pieces are waited for as large ones are: a wake-up and two calls for each cost more than what they bring.
#[test]
fn a_sender_of_small_pieces_is_waited_for() {
    const PIECE: usize = 1000;
    let _leaks = fds::no_leaks();
    let data = bytes(33, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let _hook = peer.serve(|| PIECE, a_handful);
    let recorder = copied(&stream, &data);
    let pieces = recorder.calls().iter().filter(|it| takes(&it.call)).count();
    let proof = PROOF * RICH / PIECE;
    assert!((proof..proof + 2 * data.len() / LEAST).contains(&pieces), "{pieces} pieces");
    assert!(waits(&recorder, &stream).1 > 10);
}

/// Where a receiver is behind, small pieces come together by themselves.
#[test]
fn small_pieces_that_come_together_anyway_are_not_waited_for() {
    let _leaks = fds::no_leaks();
    let data = bytes(35, 4 << 20);
    let (peer, stream) = Peer::of(&data);
    let mut pieces = (0..17).cycle().map(|at| if at == 16 { 2 * RICH } else { 2000 });
    let _hook = peer.serve(move || pieces.next().unwrap(), |_| panic!("the copy waits"));
    let recorder = copied(&stream, &data);
    assert_eq!(waits(&recorder, &stream), (0, 0));
}

/// A source that would not have brought a handful when the wait is over.
#[test]
fn a_slow_sender_is_not_waited_for() {
    let _leaks = fds::no_leaks();
    let data = bytes(34, 2 * PROOF * RICH);
    let (peer, stream) = Peer::of(&data);
    // At the most 20 MB/s, of which 6 KB come in a wait.
    let slowly = move || {
        std::thread::sleep(Duration::from_micros(100));
        2000
    };
    let _hook = peer.serve_in_time(slowly, |_| panic!("the copy waits"));
    let recorder = copied(&stream, &data);
    assert_eq!(waits(&recorder, &stream), (0, 0));
}

/// Nothing may follow the last bytes of a burst.
#[test]
fn a_sender_that_pauses_is_not_waited_for() {
    let _leaks = fds::no_leaks();
    let data = bytes(25, 4 * PROOF * RICH);
    let (peer, stream) = Peer::of(&data);
    let pause = Duration::from_millis(2);
    let after_a_pause = move || {
        std::thread::sleep(pause);
        RICH
    };
    let _hook = peer.serve_in_time(after_a_pause, |_| panic!("the copy waits"));
    let recorder = copied(&stream, &data);
    assert_eq!(waits(&recorder, &stream), (0, 0));
}

/// A source that fills a hand unasked is not slowed down.
#[test]
fn full_hands_are_not_waited_for() {
    const FULL: usize = 512 * 1024;
    let _leaks = fds::no_leaks();
    let data = bytes(24, 40 * FULL);
    let (peer, stream) = Peer::of(&data);
    // Two full hands, and one that is not.
    let mut pieces = [FULL, FULL, RICH].into_iter().cycle();
    if sockopt::set_socket_recv_buffer_size_force(&stream, 8 * FULL).is_err() {
        return skip("a receive buffer of 4 MiB takes root");
    }
    let _hook = peer.serve(move || pieces.next().unwrap(), |_| panic!("the copy waits"));
    let file = files::empty();
    assert_eq!((&file).read_from(&stream).unwrap(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
}

/// A sender may begin to fill hands by itself. That shows only where it is not waited for.
#[test]
fn a_sender_has_to_prove_itself_again() {
    const HOLDS_FOR: usize = 256;
    const HAND: usize = 2 * RICH;
    let _leaks = fds::no_leaks();
    let data = bytes(25, 2 * (PROOF + 1) * RICH + (HOLDS_FOR + 2) * HAND);
    let (peer, stream) = Peer::of(&data);
    // A handful is a quarter of what the kernel makes of it, at the most.
    sockopt::set_socket_recv_buffer_size(&stream, 2 * HAND).unwrap();
    let polls = Rc::new(RefCell::new(Vec::new()));
    let (at, seen) = (Rc::new(Cell::new(0)), Rc::clone(&polls));
    let count = Rc::clone(&at);
    let _hook = peer.serve(
        move || {
            count.set(count.get() + 1);
            RICH
        },
        move |peer| {
            seen.borrow_mut().push(at.get());
            a_handful(peer)
        },
    );
    let file = files::empty();
    assert_eq!((&file).read_from(&stream).unwrap(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
    let polls = polls.take();
    assert!(polls[..HOLDS_FOR].iter().all(|at| *at == polls[0]));
    assert_eq!(polls[HOLDS_FOR], polls[0] + PROOF);
}

/// Bytes on the way to another host are not held back unasked.
#[test]
fn on_the_way_to_a_socket_handfuls_take_an_option() {
    let _leaks = fds::no_leaks();
    for coalesces in [false, true] {
        let data = bytes(4, 4 << 20);
        let (peer, stream) = Peer::of(&data);
        let (far, near) = sockets::tcp_v4();
        let drain = std::thread::spawn(move || {
            let mut got = Vec::new();
            { far }.read_to_end(&mut got).unwrap();
            got
        });
        let polls = Rc::new(Cell::new(0));
        let count = Rc::clone(&polls);
        let hook = peer.serve(
            // Pieces that are not small: small ones gather and are read.
            || 3 * RICH,
            move |peer| {
                count.set(count.get() + 1);
                assert_eq!(pool::in_use(), 0, "a pipe is held while the copy waits");
                a_handful(peer)
            },
        );
        let mut copier = Copier::new();
        if coalesces {
            copier = copier.coalesce(Duration::from_millis(1));
        }
        assert_eq!(copier.copy(&mut &stream, &mut &near).unwrap().moved(), data.len() as u64);
        drop((hook, near));
        assert_same(&drain.join().unwrap(), &data);
        assert_eq!(polls.get() > 0, coalesces, "{} waits", polls.get());
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
    }
}

#[test]
fn handfuls_can_be_turned_off() {
    let _leaks = fds::no_leaks();
    let data = bytes(5, 1 << 20);
    let mut without = Options::default();
    without.handfuls = false;
    for copier in [Copier::with_options(without), Copier::new().adaptive(false)] {
        let (peer, stream) = Peer::of(&data);
        let _hook = peer.serve(|| RICH, |_| panic!("the copy waits"));
        let file = files::empty();
        let mut copier = copier;
        assert_eq!(copier.copy(&mut &stream, &mut &file).unwrap().moved(), data.len() as u64);
        assert_same(&files::contents(&file), &data);
    }
}

/// A frame is two calls, whatever the copies before were.
#[test]
fn frames_are_read_and_written() {
    let _leaks = fds::no_leaks();
    for frame in [4096, 64 * 1024] {
        let data = bytes(6, 40 * frame);
        let (peer, stream) = Peer::of(&data);
        let _hook = peer.serve(move || frame, |_| panic!("the copy waits"));
        let (recorder, file) = (hook::record(), files::empty());
        for _ in 0..40 {
            let mut taken = (&stream).take(frame as u64);
            assert_eq!((&file).read_from(&mut taken).unwrap(), frame as u64);
        }
        let calls = recorder.calls();
        let rw = |syscall| matches!(syscall, Syscall::Read | Syscall::Write);
        assert!(calls.iter().all(|it| rw(it.call.syscall)));
        assert_same(&files::contents(&file), &data);
    }
}

#[test]
fn bytes_past_the_limit_are_not_waited_for() {
    let _leaks = fds::no_leaks();
    const LEFT: usize = 1000;
    // A last handful that is smaller than others, and a rest that is not worth a wait.
    for rest in [LEAST + 5, LEAST - 5] {
        let buffer = sockopt::socket_recv_buffer_size(&Peer::of(&[0]).1).unwrap();
        let limit = (PROOF + 2) * RICH + 3 * (buffer / 4) + rest;
        let data = bytes(7, limit + LEFT);
        let (peer, stream) = Peer::of(&data);
        let moved = Rc::new(Cell::new(0));
        let told = Rc::clone(&moved);
        let _hook = peer.serve(
            || RICH,
            move |peer| {
                let left = limit - moved.get();
                assert!(peer.mark() <= left, "waits for {} of {left}", peer.mark());
                a_handful(peer)
            },
        );
        let file = files::empty();
        let mut source = Progress::new((&stream).take(limit as u64), move |n| {
            told.set(told.get() + usize::try_from(n).unwrap());
        });
        let report = Copier::new().copy(&mut source, &mut &file).unwrap();
        let limited = source.into_inner();
        assert_eq!((report.moved(), limited.limit()), (limit as u64, 0));
        assert_same(&files::contents(&file), &data[..limit]);
        assert_eq!(files::position(&file), limit as u64);
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
    }
}

/// A sink with a limit: the copy waits for no more than the sink will take.
#[test]
fn no_more_than_fits_is_waited_for() {
    let _leaks = fds::no_leaks();
    let fits = 40 * RICH + LEAST + 5;
    let data = bytes(26, fits + 1);
    let (peer, stream) = Peer::of(&data);
    let moved = Rc::new(Cell::new(0));
    let told = Rc::clone(&moved);
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            count.set(count.get() + 1);
            let left = fits - moved.get();
            assert!(peer.mark() <= left, "waits for {} of {left}", peer.mark());
            a_handful(peer)
        },
    );
    let file = files::empty();
    let mut source = Progress::new(&stream, move |n| {
        told.set(told.get() + usize::try_from(n).unwrap());
    });
    let mut sink = Quota { inner: &file, left: fits as u64 };
    let error = Copier::new().copy(&mut source, &mut sink).unwrap_err();
    assert_eq!(error.moved(), fits as u64);
    assert_same(&files::contents(&file), &data[..fits]);
    assert!(polls.get() > 0);
}

/// Bytes that have waited for a handful do not wait for `coalesce`, too.
#[test]
fn nothing_is_waited_for_twice() {
    let _leaks = fds::no_leaks();
    let data = bytes(27, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let fd = stream.as_raw_fd();
    let _hook = peer.serve(|| RICH, a_handful);
    // One wait is answered in time, the next is not.
    let mut answers = [true, false].into_iter().cycle();
    let _late = hook::replace(move |call| {
        let waits = call.syscall == Syscall::Poll && call.from == Some(fd);
        if waits && !answers.next().unwrap() { Action::Return(0) } else { Action::Proceed }
    });
    let (recorder, file) = (hook::record(), files::empty());
    let mut copier = Copier::new().coalesce(Duration::from_millis(1));
    assert_eq!(copier.copy(&mut &stream, &mut &file).unwrap().moved(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
    let calls = recorder.calls();
    let of_source = calls.iter().filter(|it| it.call.from == Some(fd));
    let mut waits = 0;
    for it in of_source {
        waits = match it.call.syscall {
            Syscall::Poll => waits + 1,
            _ if takes(&it.call) => 0,
            _ => waits,
        };
        assert!(waits <= 1, "{calls:#?}");
    }
    assert!(calls.iter().any(|it| it.call.syscall == Syscall::Poll));
}

/// The sender ends, is reset, or sends an urgent byte: what is there is taken at once.
#[test]
fn an_end_ends_the_wait() {
    let _leaks = fds::no_leaks();
    let data = bytes(8, 1 << 20);
    let (peer, stream) = Peer::of(&data);
    let some = LEAST - 1;
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            peer.send(some);
            peer.end();
            Action::Proceed
        },
    );
    let (recorder, file) = (hook::record(), files::empty());
    let moved = (&file).read_from(&stream).unwrap();
    assert_same(&files::contents(&file), &data[..usize::try_from(moved).unwrap()]);
    let polls = recorder.calls_to(Syscall::Poll);
    assert_eq!(polls.iter().map(|poll| poll.result).collect::<Vec<_>>(), [Ok(1)]);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn a_reset_ends_the_wait() {
    let _leaks = fds::no_leaks();
    let data = bytes(9, 1 << 20);
    let (peer, stream) = Peer::of(&data);
    let _hook = peer.serve(
        || RICH,
        |peer| {
            sockets::reset(peer.client.take().unwrap());
            wait_for(&peer.stream, PollFlags::RDHUP);
            Action::Proceed
        },
    );
    let (recorder, file) = (hook::record(), files::empty());
    let error = Copier::new().copy(&mut &stream, &mut &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let moved = usize::try_from(error.moved()).unwrap();
    assert_same(&files::contents(&file), &data[..moved]);
    assert_eq!(recorder.calls_to(Syscall::Poll).last().unwrap().result, Ok(1));
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn urgent_data_ends_the_wait() {
    let _leaks = fds::no_leaks();
    let data = bytes(10, 1 << 20);
    let (peer, stream) = Peer::of(&data);
    let mut is_urgent = true;
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            if std::mem::take(&mut is_urgent) {
                let client = peer.client.as_ref().unwrap();
                assert_eq!(rustix::net::send(client, b"!", SendFlags::OOB), Ok(1));
                wait_for(&peer.stream, PollFlags::PRI);
                return Action::Proceed;
            }
            a_handful(peer)
        },
    );
    let recorder = copied(&stream, &data);
    assert_eq!(recorder.calls_to(Syscall::Poll)[0].result, Ok(1));
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

/// The owner's own timeout stays as long as it was, and ends what it would end in a read.
#[test]
fn a_timeout_of_the_socket_holds() {
    let _leaks = fds::no_leaks();
    for timeout in [Duration::from_micros(10), Duration::from_millis(20)] {
        let data = bytes(11, 1 << 20);
        let (mut peer, stream) = Peer::of(&data);
        stream.set_read_timeout(Some(timeout)).unwrap();
        // Enough for the plan and the proof, and then nothing.
        let enough = (PROOF + 2) * RICH + RICH / 2;
        peer.send(enough);
        let fd = peer.fd;
        let _pieces = hook::replace(move |call| match call.from {
            Some(from) if from == fd && takes(call) => Action::Limit(RICH),
            _ => Action::Proceed,
        });
        let (recorder, file) = (hook::record(), files::empty());
        let error = Copier::new().copy(&mut &stream, &mut &file).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::WouldBlock, enough as u64));
        assert_same(&files::contents(&file), &data[..enough]);
        let (sets, polls) = waits(&recorder, &stream);
        assert_eq!(sets, 2 * polls);
        assert!(polls > 0);
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
    }
}

/// Waits that run out end the waiting, each time for longer. A sender that proves itself again is waited for again.
#[test]
fn waits_that_run_out_end_the_waiting() {
    let _leaks = fds::no_leaks();
    let data = bytes(12, 16 << 20);
    let (peer, stream) = Peer::of(&data);
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let (slow, asked) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
    let is_slow = Rc::clone(&slow);
    let total = Rc::clone(&asked);
    let _hook = peer.serve(
        move || {
            total.set(total.get() + RICH);
            RICH
        },
        move |peer| {
            count.set(count.get() + 1);
            // A hand that is never half full.
            if is_slow.get() { Action::Return(0) } else { a_handful(peer) }
        },
    );
    let file = files::empty();
    let mut first = (&stream).take(8 << 20);
    let mut copier = Copier::new();
    copier.copy(&mut first, &mut &file).unwrap();
    // 512 pieces: proofs of 8, 32, 128, … with a few waits behind each.
    let in_vain = polls.get();
    assert!((2..=40).contains(&in_vain), "{in_vain} waits in vain");

    slow.set(false);
    copier.copy(&mut &stream, &mut &file).unwrap();
    assert!(polls.get() > in_vain + 10, "{} waits", polls.get() - in_vain);
    assert_same(&files::contents(&file), &data);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

/// The same within one copy.
#[test]
fn a_sender_that_picks_up_is_waited_for_again() {
    let _leaks = fds::no_leaks();
    let data = bytes(13, 8 << 20);
    let (peer, stream) = Peer::of(&data);
    let events = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&events);
    let mut vain = 2;
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            if vain > 0 {
                vain -= 1;
                // Less than a plain step brings: it stops at once.
                peer.send(RICH / 2);
                seen.borrow_mut().push(false);
                return Action::Proceed;
            }
            seen.borrow_mut().push(true);
            a_handful(peer)
        },
    );
    let recorder = copied(&stream, &data);
    let events = events.take();
    assert_eq!(events[..3], [false, false, true]);
    assert!(events[2..].iter().all(|came| *came));
    // One wait in vain is forgiven. After the second a proof takes four times as many pieces.
    let calls = recorder.calls();
    let polls: Vec<_> = (0..calls.len())
        .filter(|&at| calls[at].call.syscall == Syscall::Poll && calls[at].call.from.is_some())
        .collect();
    let pieces = |from: usize, to: usize| {
        let fd = Some(stream.as_raw_fd());
        let takes = |it: &&hook::Record| takes(&it.call) && it.call.from == fd;
        calls[polls[from]..polls[to]].iter().filter(takes).count()
    };
    assert_eq!([pieces(0, 1), pieces(1, 2)], [PROOF + 1, 4 * PROOF + 1]);
}

/// Where less comes than was waited for, the next step is a plain one, and the next wait is for half as much.
#[test]
fn less_is_waited_for_where_less_comes() {
    let _leaks = fds::no_leaks();
    let data = bytes(14, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let marks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&marks);
    let mut is_first = true;
    let _hook = peer.serve(
        || RICH,
        move |peer| {
            let mark = peer.mark();
            seen.borrow_mut().push(mark);
            peer.send(if std::mem::take(&mut is_first) { mark - 1 } else { mark });
            Action::Proceed
        },
    );
    let recorder = copied(&stream, &data);
    let marks = marks.take();
    assert_eq!(marks[1], marks[0] / 2);
    let results = recorder.calls_to(Syscall::Poll);
    assert_eq!(results[0].result, Ok(0), "the time is over");
    let fd = Some(stream.as_raw_fd());
    let calls = recorder.calls();
    let mut polls = (0..calls.len()).filter(|&at| calls[at].call.syscall == Syscall::Poll);
    let (first, second) = (polls.next().unwrap(), polls.next().unwrap());
    let taken = calls[first..second].iter().filter(|it| takes(&it.call) && it.call.from == fd);
    assert_eq!(taken.count(), 2, "one takes what has come, and one what comes next");
}

/// A mark that the kernel did not set is its owner's, or another waiter's.
#[test]
fn a_mark_that_is_not_the_kernel_s_is_left_alone() {
    let _leaks = fds::no_leaks();
    let data = bytes(15, 1 << 20);
    // Set before the copy, and during it.
    for after in [0, 20 * RICH as u64] {
        let (peer, stream) = Peer::of(&data);
        let owner = stream.try_clone().unwrap();
        if after == 0 {
            raw::set_low_water(&stream, 7).unwrap();
        }
        let _hook = peer.serve(|| RICH, a_handful);
        let (recorder, file) = (hook::record(), files::empty());
        let mut so_far = 0;
        let mut source = Progress::new(&stream, move |n| {
            so_far += n;
            if so_far >= after && raw::low_water(&owner).unwrap() == 1 {
                raw::set_low_water(&owner, 7).unwrap();
            }
        });
        let report = Copier::new().copy(&mut source, &mut &file).unwrap();
        drop(source);
        assert_eq!(report.moved(), data.len() as u64);
        assert_same(&files::contents(&file), &data);
        assert_eq!(raw::low_water(&stream).unwrap(), 7);
        let (sets, _) = waits(&recorder, &stream);
        assert!((sets == 0) == (after == 0), "{sets} times");
    }
}

/// Each call of a wait fails in turn. The bytes arrive, and the mark is set back.
#[test]
fn faults_change_nothing() {
    let _leaks = fds::no_leaks();
    let data = bytes(16, 1 << 20);
    for syscall in [Syscall::SetSockOpt, Syscall::GetSockOpt, Syscall::Poll, Syscall::GetFlags] {
        for errno in [Errno::INTR, Errno::PERM, Errno::INVAL, Errno::NOMEM, Errno::NOSYS] {
            for nth in 0..12 {
                let (peer, stream) = Peer::of(&data);
                let _hook = peer.serve(|| RICH, a_handful);
                let mut left = nth;
                let _fault = hook::replace(move |call| {
                    if call.syscall == syscall {
                        left -= 1;
                        if left == -1 {
                            return Action::Fail(errno.raw_os_error());
                        }
                    }
                    Action::Proceed
                });
                let file = files::empty();
                let moved = (&file).read_from(&stream).unwrap();
                assert_eq!(moved, data.len() as u64, "{errno:?} of {syscall:?} {nth}");
                assert_same(&files::contents(&file), &data);
                let mark = raw::low_water(&stream).unwrap();
                assert_eq!(mark, 1, "{errno:?} of {syscall:?} {nth}");
            }
        }
    }
}

/// A mark that cannot be set back stays as it is. The engine does not set it again.
#[test]
fn a_mark_that_cannot_be_taken_back_is_not_set_again() {
    let _leaks = fds::no_leaks();
    let data = bytes(17, 1 << 20);
    let (peer, stream) = Peer::of(&data);
    let _hook = peer.serve(|| RICH, a_handful);
    let mut sets = 0;
    let _fault = hook::replace(move |call| {
        sets += usize::from(call.syscall == Syscall::SetSockOpt);
        match call.syscall {
            Syscall::SetSockOpt if sets > 1 => Action::Fail(Errno::PERM.raw_os_error()),
            _ => Action::Proceed,
        }
    });
    let recorder = copied(&stream, &data);
    assert_eq!(waits(&recorder, &stream), (1 + 16, 1));
}

/// A hook that panics while the copy waits, and a callback that panics.
#[test]
fn a_panic_leaves_the_mark_as_it_was() {
    let leaks = fds::no_leaks();
    let data = bytes(18, 1 << 20);
    for in_wait in [true, false] {
        let (peer, stream) = Peer::of(&data);
        let hook = peer.serve(
            || RICH,
            move |peer| {
                assert!(peer.mark() > 1);
                assert!(!in_wait, "while it waits");
                a_handful(peer)
            },
        );
        let file = files::empty();
        let mut copier = Copier::new();
        let mut so_far = 0;
        let mut source = Progress::new(&stream, move |n| {
            so_far += n;
            assert!(in_wait || so_far < 20 * RICH as u64, "a callback");
        });
        let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut &file));
        assert!(catch_unwind(copy).is_err());
        drop((hook, source));
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
        assert_eq!(pool::in_use(), 0);
        assert_same(&files::contents(&file), &data[..files::contents(&file).len()]);
    }
    leaks.check();
}

#[test]
fn a_socket_in_non_blocking_mode_is_not_waited_for() {
    let _leaks = fds::no_leaks();
    let data = bytes(19, 1 << 20);
    let (peer, stream) = Peer::of(&data);
    stream.set_nonblocking(true).unwrap();
    let _hook = peer.serve(|| RICH, |_| panic!("the copy waits"));
    let recorder = copied(&stream, &data);
    assert_eq!(recorder.calls_to(Syscall::SetSockOpt), []);
}

/// A copy with a deadline and a minimum rate still waits for handfuls, and keeps both.
#[test]
fn patience_goes_on() {
    let _leaks = fds::no_leaks();
    let data = bytes(20, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let _hook = peer.serve(
        || RICH,
        |peer| {
            match peer.mark() {
                // This wait is for a first byte.
                1 if peer.waiting() == 0 => peer.send(RICH),
                1 => {}
                mark => peer.send(mark),
            }
            Action::Proceed
        },
    );
    let (recorder, file) = (hook::record(), files::empty());
    let far = Instant::now() + Duration::from_secs(3600);
    let copier = Copier::new().deadline(far).min_rate(1, Duration::from_secs(3600));
    let report = { copier }.copy(&mut &stream, &mut &file).unwrap();
    assert_eq!(report.moved(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
    assert!(recorder.calls_to(Syscall::SetSockOpt).len() > 10);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn a_deadline_that_comes_meanwhile_is_kept() {
    let _leaks = fds::no_leaks();
    let data = bytes(21, 1 << 20);
    let (mut peer, stream) = Peer::of(&data);
    let enough = (PROOF + 2) * RICH;
    peer.send(enough);
    let fd = peer.fd;
    let _pieces = hook::replace(move |call| match call.from {
        Some(from) if from == fd && takes(call) => Action::Limit(RICH),
        _ => Action::Proceed,
    });
    let file = files::empty();
    let mut copier = Copier::new().deadline(Instant::now() + Duration::from_millis(100));
    let error = copier.copy(&mut &stream, &mut &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let moved = usize::try_from(error.moved()).unwrap();
    assert_same(&files::contents(&file), &data[..moved]);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

/// A signal that interrupts the wait ends neither the wait nor the copy.
#[test]
fn signals_do_not_end_the_wait() {
    let _leaks = fds::no_leaks();
    let data = bytes(22, 4 << 20);
    let (client, stream) = sockets::tcp_v4();
    let feeder = zc_testkit::feeder::Feeder::pieces(client, data.clone(), 64 * 1024);
    let storm = raw::Storm::every(Duration::from_millis(1)).unwrap();
    let file = files::empty();
    assert_eq!((&file).read_from(&stream).unwrap(), data.len() as u64);
    drop(storm);
    feeder.finish().unwrap();
    assert_same(&files::contents(&file), &data);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

/// Each link of a chain has to prove itself.
#[test]
fn every_link_of_a_chain_is_a_source_of_its_own() {
    let _leaks = fds::no_leaks();
    let data = bytes(23, 2 << 20);
    let (one, other) = data.split_at(1 << 20);
    let ((first, a), (second, b)) = (Peer::of(one), Peer::of(other));
    let _hooks = (first.serve(|| RICH, a_handful), second.serve(|| RICH, a_handful));
    let recorder = copied((&a).chain(&b), &data);
    let fd = Some(b.as_raw_fd());
    let of_b = |it: &hook::Record| it.call.from == fd;
    let calls = recorder.calls();
    let first = calls.iter().position(|it| of_b(it) && it.call.syscall == Syscall::Poll).unwrap();
    let pieces = calls[..first].iter().filter(|it| of_b(it) && takes(&it.call)).count();
    assert!(pieces >= PROOF, "{pieces}");
    assert_eq!((raw::low_water(&a).unwrap(), raw::low_water(&b).unwrap()), (1, 1));
}

/// MPTCP has a queue for each path, and its mark has another meaning.
#[test]
fn mptcp_is_not_waited_for() {
    let _leaks = fds::no_leaks();
    let data = bytes(28, 1 << 20);
    let Some((client, stream)) = sockets::mptcp() else { return skip("no MPTCP in this kernel") };
    let (peer, stream) = Peer::over((client.into(), stream.into()), &data);
    let _hook = peer.serve(|| RICH, |_| panic!("the copy waits"));
    let recorder = copied(&stream, &data);
    assert_eq!(recorder.calls_to(Syscall::SetSockOpt), []);
}

/// Under TLS in the kernel, or another such protocol, the queue has records. A kernel without one to set up is
/// answered for.
#[test]
fn a_connection_that_carries_a_protocol_is_not_waited_for() {
    let carrying = [Action::Return(0), Action::Fail(libc::EINVAL), Action::Fail(libc::EPERM)];
    let none = [Action::Proceed, Action::Fail(libc::ENOPROTOOPT)];
    for (answers, waits) in [(&carrying[..], false), (&none[..], true)] {
        for &answer in answers {
            let _leaks = fds::no_leaks();
            let data = bytes(29, 1 << 20);
            let (peer, stream) = Peer::of(&data);
            let fd = peer.fd;
            let _hook = peer.serve(|| RICH, a_handful);
            // After the proof the copy asks for the timeout and then for the protocol.
            let (mut taken, mut asked) = (0, 0);
            let _answer = hook::replace(move |call| {
                if call.from != Some(fd) {
                    return Action::Proceed;
                }
                taken += usize::from(takes(call));
                if call.syscall != Syscall::GetSockOpt || taken < PROOF {
                    return Action::Proceed;
                }
                asked += 1;
                if asked == 2 { answer } else { Action::Proceed }
            });
            let recorder = copied(&stream, &data);
            assert_eq!(!recorder.calls_to(Syscall::SetSockOpt).is_empty(), waits, "{answer:?}");
            assert_eq!(raw::low_water(&stream).unwrap(), 1);
        }
    }
}

/// Lets another user act on the socket during the copy's first wait.
fn meanwhile(mut does: impl FnMut(&mut Peer) + 'static) -> impl FnMut(&mut Peer) -> Action {
    let mut is_first = true;
    move |peer| {
        if !std::mem::take(&mut is_first) {
            return a_handful(peer);
        }
        does(peer);
        Action::Proceed
    }
}

/// A thread that acts on the socket. It sleeps in its call when this returns.
fn another<T: Send + 'static>(
    stream: &TcpStream,
    does: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    let (tell, told) = mpsc::channel();
    let stream = stream.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        tell.send(this_thread()).unwrap();
        does(stream)
    });
    until_it_sleeps(&told.recv().unwrap());
    thread
}

/// Another thread reads from the same socket meanwhile, less than is waited for and more. Each byte is read once.
#[test]
fn another_thread_that_reads_meanwhile_has_its_bytes() {
    for asks in [100, 4 << 20] {
        let _leaks = fds::no_leaks();
        let data = bytes(30, 2 << 20);
        let (peer, stream) = Peer::of(&data);
        let total = data.len();
        let got = Rc::new(RefCell::new((0, Vec::new())));
        let theirs = Rc::clone(&got);
        let hook = peer.serve(
            || RICH,
            meanwhile(move |peer| {
                let (mark, at) = (peer.mark(), total - peer.unsent.len());
                let reader = another(&peer.stream, move |mut stream| {
                    let mut buf = vec![0; asks];
                    let n = stream.read(&mut buf).unwrap();
                    buf.truncate(n);
                    buf
                });
                peer.send_away(mark);
                *theirs.borrow_mut() = (at, reader.join().unwrap());
            }),
        );
        let file = files::empty();
        let moved = (&file).read_from(&stream).unwrap();
        drop(hook);
        let (at, theirs) = got.take();
        assert!(!theirs.is_empty());
        assert_same(&theirs, &data[at..at + theirs.len()]);
        let ours = [&data[..at], &data[at + theirs.len()..]].concat();
        assert_eq!(moved, ours.len() as u64);
        assert_same(&files::contents(&file), &ours);
        assert_eq!(raw::low_water(&stream).unwrap(), 1);
    }
}

/// Another thread that polls the same socket hears of a single byte, as soon as the copy waits no longer.
#[test]
fn another_thread_that_polls_meanwhile_hears_of_one_byte() {
    let _leaks = fds::no_leaks();
    let data = bytes(31, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let fd = peer.fd;
    let poller = Rc::new(RefCell::new(None));
    let started = Rc::clone(&poller);
    let _hook = peer.serve(
        || RICH,
        meanwhile(move |peer| {
            let poller = another(&peer.stream, |stream| wait_for(stream, PollFlags::IN));
            *started.borrow_mut() = Some(poller);
            peer.send(1);
        }),
    );
    let heard = Rc::new(Cell::new(false));
    let hears = Rc::clone(&heard);
    // The byte is still in the queue.
    let _joins = hook::replace(move |call| {
        if takes(call)
            && call.from == Some(fd)
            && let Some(poller) = poller.borrow_mut().take()
        {
            poller.join().unwrap();
            hears.set(true);
        }
        Action::Proceed
    });
    let file = files::empty();
    assert_eq!((&file).read_from(&stream).unwrap(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
    assert!(heard.get());
}

/// Another process that shares the socket reads from it meanwhile. The mark is set back afterwards.
#[test]
fn another_process_that_reads_meanwhile_has_its_bytes() {
    const THEIRS: usize = 100;
    let _leaks = fds::no_leaks();
    let data = bytes(32, 2 << 20);
    let (peer, stream) = Peer::of(&data);
    let fd = peer.fd;
    let sent = Rc::new(Cell::new(0));
    let (before, at, all) = (Rc::clone(&sent), Rc::clone(&sent), data.clone());
    let _hook = peer.serve(
        || RICH,
        meanwhile(move |peer| {
            let (mark, sent) = (peer.mark(), all.len() - peer.unsent.len());
            peer.send(mark);
            let stream = &peer.stream;
            let child = forked(|| {
                let mut buf = [0; THEIRS];
                { stream }.read_exact(&mut buf).unwrap();
                assert_same(&buf, &all[sent..sent + THEIRS]);
            });
            child.finish().unwrap();
            before.set(sent);
        }),
    );
    let other = stream.try_clone().unwrap();
    let asked = Rc::new(Cell::new(false));
    let asks = Rc::clone(&asked);
    let _later = hook::observe(move |record| {
        if takes(&record.call) && record.call.from == Some(fd) && at.get() > 0 && !asks.get() {
            let child = forked(|| assert_eq!(raw::low_water(&other).unwrap(), 1));
            child.finish().unwrap();
            asks.set(true);
        }
    });
    let file = files::empty();
    let moved = (&file).read_from(&stream).unwrap();
    assert!(asked.get());
    let at = sent.get();
    let ours = [&data[..at], &data[at + THEIRS..]].concat();
    assert_eq!(moved, ours.len() as u64);
    assert_same(&files::contents(&file), &ours);
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}
