//! The transfer, driven by hand: it never waits, and its driver may go at any time.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use zc_core::driver::{Next, Step};
use zc_core::{Side, Sink, Source, Upstream};
use zc_linux::{Mechanism, PageSharing, Transfer, pool};
use zc_std::{Opaque, hook};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::feeder::Feeder;
use zc_testkit::stepping::{ALL, park, run, step, transfer};
use zc_testkit::wait::{is_ready, wait_for};
use zc_testkit::{calls, fds, files, pipes, sockets};

// ---- A relay, and drivers that come and go ----------------------------------------------------------

/// A relay whose driver is dropped after every few steps, at any of their answers and with anything in flight, and
/// replaced by a new one.
///
/// Returns how many drivers were dropped with bytes in flight.
fn relay<W, R, T, C>(
    (client, from): (W, R),
    (to, server): (T, C),
    len: usize,
    adaptive: bool,
) -> usize
where
    W: Write + Send + 'static,
    R: AsFd,
    for<'a> &'a R: Source,
    T: AsFd,
    for<'a> &'a T: Sink,
    C: Read + Send + 'static,
{
    rustix::io::ioctl_fionbio(&from, true).unwrap();
    rustix::io::ioctl_fionbio(&to, true).unwrap();
    let data = data::bytes(20, len);
    let feeder = Feeder::pieces(client, data.clone(), 50_000);
    let collector = Collector::start(server);

    let mut transfer = transfer(adaptive);
    let (mut taken, mut delivered, mut in_flight_at_drop) = (0, 0, 0);
    let mut fruitless_waits = 0;
    for round in 0.. {
        let stopped = run(&mut transfer, &mut &from, &mut &to, 1 + round % 3);
        taken += stopped.taken;
        delivered += stopped.delivered;
        assert_eq!(taken, delivered + transfer.in_flight() as u64);
        in_flight_at_drop += usize::from(transfer.in_flight() > 0);
        // A driver that waits for the wrong side, or for one that is ready already, spins.
        fruitless_waits =
            if stopped.taken + stopped.delivered > 0 { 0 } else { fruitless_waits + 1 };
        assert!(fruitless_waits < 100, "waiting in vain: {stopped:?}");
        match stopped.next {
            Next::Again => {}
            Next::WantRead { .. } => {
                assert_eq!(transfer.in_flight(), 0, "what is in flight goes first");
                park(&mut transfer);
                assert_eq!(pool::in_use(), 0);
                wait_for(&from, PollFlags::IN);
            }
            Next::WantWrite => {
                park(&mut transfer);
                wait_for(&to, PollFlags::OUT);
            }
            Next::Ended => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((delivered, transfer.in_flight()), (len as u64, 0));
    assert_eq!(transfer.report().moved(), len as u64);
    park(&mut transfer);
    drop((from, to));
    feeder.finish().unwrap();
    assert_same(&collector.finish(), &data);
    in_flight_at_drop
}

const RELAYED: usize = 3_000_000;

#[test]
fn relays_unix_to_tcp() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::unix(), sockets::tcp_v4(), RELAYED, adaptive);
        relay(
            sockets::tight(sockets::unix()),
            sockets::tight(sockets::tcp_v4()),
            RELAYED,
            adaptive,
        );
    }
}

#[test]
fn relays_tcp_to_unix() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::tcp_v6(), sockets::unix(), RELAYED, adaptive);
        assert!(relay(sockets::tcp_v4(), sockets::tight(sockets::unix()), RELAYED, adaptive) > 0);
    }
}

#[test]
fn relays_tcp_to_tcp() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::tcp_v4(), sockets::tcp_v6(), RELAYED, adaptive);
        relay(sockets::tight(sockets::tcp_v4()), sockets::tcp_v4(), RELAYED, adaptive);
    }
}

#[test]
fn relays_unix_to_unix() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::unix(), sockets::unix(), RELAYED, adaptive);
        assert!(relay(sockets::unix(), sockets::tight(sockets::unix()), RELAYED, adaptive) > 0);
    }
}

/// Drivers do not spin between pipes either.
#[test]
fn relays_pipe_to_pipe() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let (reader, writer) = pipes::pipe();
        relay((writer, reader), sockets::unix(), RELAYED, adaptive);
        let (reader, writer) = pipes::pipe();
        relay(sockets::tcp_v4(), (writer, reader), RELAYED, adaptive);
        let ((r1, w1), (r2, w2)) = (pipes::pipe(), pipes::pipe());
        relay((w1, r1), (w2, r2), RELAYED, adaptive);
    }
}

/// Ends for each mechanism.
fn pairs() -> impl Iterator<Item = (From, To)> {
    const SOURCES: [From; 4] = [From::File, From::Tcp4, From::Unix, From::Pipe];
    const SINKS: [To; 4] = [To::File, To::Tcp4, To::Unix, To::Pipe];
    SOURCES.into_iter().flat_map(|from| SINKS.into_iter().map(move |to| (from, to)))
}

// ---- One step at a time, and no other thread -----------------------------------------------------

/// A source with many bytes, a sink that takes few, and a transfer stopped between the two.
struct Stuck {
    data: Vec<u8>,
    delivered: u64,
    client: UnixStream,
    from: UnixStream,
    to: UnixStream,
    server: UnixStream,
}

impl Stuck {
    /// Moves until the sink is full. With `adaptive` in pieces small enough to be read and written.
    fn new(transfer: &mut Transfer, adaptive: bool) -> Stuck {
        let (client, from) = sockets::unix();
        let (to, server) = sockets::tight(sockets::unix());
        for end in [&client, &from, &to, &server] {
            end.set_nonblocking(true).unwrap();
        }
        let mut stuck = Stuck { data: Vec::new(), delivered: 0, client, from, to, server };
        let piece = if adaptive { 3000 } else { 100_000 };
        for round in 0.. {
            stuck.feed(round, piece);
            let stopped = run(transfer, &mut &stuck.from, &mut &stuck.to, ALL);
            stuck.delivered += stopped.delivered;
            match stopped.next {
                Next::WantRead { .. } => {}
                Next::WantWrite if transfer.in_flight() > 0 => break,
                other => panic!("{other:?} after {} bytes", stuck.delivered),
            }
        }
        assert!(!is_ready(&stuck.to, PollFlags::OUT), "the sink is full");
        // More bytes, which the transfer has not seen yet.
        stuck.feed(u64::MAX, 500);
        stuck
    }

    fn feed(&mut self, seed: u64, len: usize) {
        let more = data::bytes(seed, len);
        let n = self.client.write(&more).unwrap();
        self.data.extend_from_slice(&more[..n]);
    }

    /// What has come out at the far end since the last call.
    fn hear(&self) -> Vec<u8> {
        let mut got = Vec::new();
        match (&self.server).read_to_end(&mut got) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => got,
            other => other.map(|_| got).unwrap(),
        }
    }

    /// Lets the client hang up, and moves the rest with one new driver after another.
    fn finish(self, transfer: &mut Transfer, mut got: Vec<u8>) {
        self.client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut delivered = 0;
        loop {
            got.extend(self.hear());
            let stopped = run(transfer, &mut &self.from, &mut &self.to, 1);
            delivered += stopped.delivered;
            match stopped.next {
                Next::Again | Next::WantWrite => {}
                Next::Ended => break,
                other => panic!("{other:?}"),
            }
        }
        got.extend(self.hear());
        assert_eq!(self.delivered + delivered, self.data.len() as u64);
        assert_same(&got, &self.data);
    }
}

/// The driver that met the full sink is gone. The next one delivers what that driver left in the pipe.
#[test]
fn a_new_driver_goes_on_after_want_write_with_bytes_in_the_pipe() {
    let _leaks = fds::no_leaks();
    let mut transfer = transfer(false);
    transfer.options_mut().pipe_size = 8192;
    let stuck = Stuck::new(&mut transfer, false);
    assert_eq!(pool::in_use(), 1, "bytes in flight are in a pipe");
    assert!(transfer.in_flight() >= 4096, "which is half full at least");
    park(&mut transfer);
    assert_eq!(pool::in_use(), 1, "and so it stays there");
    stuck.finish(&mut transfer, Vec::new());
    park(&mut transfer);
    assert_eq!((pool::in_use(), pool::idle()), (0, 1), "the pipe went back empty");
}

/// The same with a pipe that is given back meanwhile, since it is far larger than its bytes.
#[test]
fn a_new_driver_goes_on_after_want_write_with_bytes_out_of_the_pipe() {
    let _leaks = fds::no_leaks();
    let mut transfer = transfer(false);
    let stuck = Stuck::new(&mut transfer, false);
    assert_eq!(pool::in_use(), 1, "bytes in flight are in a pipe");
    park(&mut transfer);
    assert_eq!((pool::in_use(), pool::idle()), (0, 1), "the pipe went back empty");
    stuck.finish(&mut transfer, Vec::new());
}

/// The same with the bytes in memory from the beginning.
#[test]
fn a_new_driver_goes_on_after_want_write_with_bytes_in_memory() {
    let _leaks = fds::no_leaks();
    let mut transfer = transfer(true);
    let stuck = Stuck::new(&mut transfer, true);
    assert_eq!(pool::in_use(), 0);
    park(&mut transfer);
    stuck.finish(&mut transfer, Vec::new());
}

/// Steps while the sink is full move nothing and take nothing.
#[test]
fn a_step_with_bytes_in_flight_takes_no_more() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let stuck = Stuck::new(&mut transfer, adaptive);
        let in_flight = transfer.in_flight();
        let recorder = hook::record();
        for _ in 0..10 {
            let step = step(&mut transfer, &mut &stuck.from, &mut &stuck.to, u64::MAX);
            assert_eq!((step.taken, step.delivered, transfer.in_flight()), (0, 0, in_flight));
            assert!(matches!(step.next, Next::WantWrite));
        }
        assert_eq!(recorder.calls().len(), 10, "one call a step, and the source left alone");
        assert!(recorder.calls().iter().all(|r| r.call.to == Some(stuck.to.as_raw_fd())));
        drop(recorder);
        stuck.finish(&mut transfer, Vec::new());
    }
}

#[test]
fn the_residue_can_be_taken_out() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let stuck = Stuck::new(&mut transfer, adaptive);
        let in_flight = transfer.in_flight();
        let residue = transfer.take_residue();
        assert_eq!((residue.len(), transfer.in_flight()), (in_flight, 0));
        assert_eq!(pool::in_use(), 0);
        assert!(transfer.take_residue().is_empty());

        // What was delivered, what was in flight and what was not taken are all of the bytes, in order.
        let mut got = Vec::new();
        while (got.len() as u64) < stuck.delivered {
            got.extend(stuck.hear());
        }
        let at = got.len();
        got.extend_from_slice(&residue);
        assert_same(&got, &stuck.data[..at + in_flight]);

        // The transfer goes on from there.
        let mut stuck = stuck;
        stuck.delivered += in_flight as u64;
        stuck.finish(&mut transfer, got);
    }
}

#[test]
fn bytes_in_flight_go_to_another_thread_with_the_transfer() {
    let _leaks = fds::no_leaks();
    let mut transfer = transfer(false);
    let stuck = Stuck::new(&mut transfer, false);
    std::thread::spawn(move || stuck.finish(&mut transfer, Vec::new())).join().unwrap();
}

#[test]
fn a_transfer_dropped_with_bytes_in_its_pipe_does_not_give_it_back() {
    let _leaks = fds::no_leaks();
    let mut dropped = transfer(false);
    drop(Stuck::new(&mut dropped, false));
    assert_eq!(pool::in_use(), 1);
    drop(dropped);
    assert_eq!((pool::in_use(), pool::idle()), (0, 0), "the next copy would begin with its bytes");
}

/// A new pair of ends: what was in flight for the old pair goes first.
#[test]
fn a_restart_keeps_what_is_in_flight() {
    let _leaks = fds::no_leaks();
    for (adaptive, then) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut transfer = transfer(adaptive);
        let stuck = Stuck::new(&mut transfer, adaptive);
        let in_flight = transfer.in_flight();
        transfer.rebind();
        transfer.options_mut().adaptive = then;
        assert_eq!((transfer.in_flight(), transfer.report().moved()), (in_flight, 0));

        let (mut more, from) = sockets::unix();
        more.write_all(b"and then this").unwrap();
        drop(more);
        let file = files::empty();
        let stopped = run(&mut transfer, &mut &from, &mut &file, ALL);
        assert!(matches!(stopped.next, Next::Ended));
        assert_eq!(transfer.report().moved(), in_flight as u64 + 13);
        let at = stuck.delivered as usize;
        let old = &stuck.data[at..at + in_flight];
        assert_same(&files::contents(&file), &[old, b"and then this"].concat());
    }
}

#[test]
fn a_dead_sink_fails_and_keeps_what_is_in_flight() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let data = data::bytes(21, 10_000);
        let (mut client, from) = sockets::unix();
        client.write_all(&data).unwrap();
        let (to, server) = sockets::unix();
        drop(server);
        let stopped = run(&mut transfer, &mut &from, &mut &to, ALL);
        let Next::Failed(failed) = stopped.next else { panic!("{stopped:?}") };
        assert_eq!(failed.error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(
            (failed.side, failed.syscall),
            (Some(Side::Sink), if adaptive { "write" } else { "splice" })
        );
        assert_eq!((stopped.taken, stopped.delivered), (10_000, 0));
        assert_same(&transfer.take_residue(), &data);
    }
}

#[test]
fn a_source_that_fails_says_so_and_nothing_is_in_flight() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let (client, from) = sockets::tcp_v4();
        // To close with unread input resets the connection.
        (&from).write_all(b"never read").unwrap();
        wait_for(&client, PollFlags::IN);
        drop(client);
        wait_for(&from, PollFlags::IN);
        let file = files::empty();
        let stopped = run(&mut transfer, &mut &from, &mut &file, ALL);
        let Next::Failed(failed) = stopped.next else { panic!("{stopped:?}") };
        assert_eq!(failed.error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((stopped.taken, stopped.delivered, transfer.in_flight()), (0, 0, 0));
    }
}

#[test]
fn an_idle_source_asks_to_be_waited_for_and_its_end_is_done() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let (client, from) = sockets::tcp_v4();
        from.set_nonblocking(true).unwrap();
        let file = files::empty();
        for _ in 0..3 {
            let step = step(&mut transfer, &mut &from, &mut &file, u64::MAX);
            assert!(matches!(step.next, Next::WantRead { .. }), "{step:?}");
        }
        (&client).write_all(b"x").unwrap();
        wait_for(&from, PollFlags::IN);
        let stopped = run(&mut transfer, &mut &from, &mut &file, ALL);
        assert_eq!(stopped.delivered, 1);
        assert!(matches!(stopped.next, Next::WantRead { .. }));
        drop(client);
        wait_for(&from, PollFlags::IN);
        for _ in 0..2 {
            let stopped = run(&mut transfer, &mut &from, &mut &file, ALL);
            assert!(matches!(stopped.next, Next::Ended));
            assert_eq!(stopped.delivered, 0);
        }
        assert_same(&files::contents(&file), b"x");
    }
}

#[test]
fn a_limit_is_never_passed_and_zero_makes_no_call() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut transfer = transfer(adaptive);
        let data = data::bytes(22, 60_000);
        let (mut client, from) = sockets::unix();
        client.write_all(&data).unwrap();
        let (file, recorder) = (files::empty(), hook::record());
        let mut limited = (&from).take(40_001);
        let stopped = run(&mut transfer, &mut limited, &mut &file, ALL);
        assert!(matches!(stopped.next, Next::Ended));
        assert_eq!((stopped.taken, stopped.delivered), (40_001, 40_001));
        calls::assert_stopped_at(&recorder.calls(), from.as_raw_fd(), 40_001);
        recorder.clear();
        let step = step(&mut transfer, &mut limited, &mut &file, u64::MAX);
        assert!(matches!(step.next, Next::Ended));
        assert!(recorder.calls().is_empty());
        assert_same(&files::contents(&file), &data[..40_001]);
        let mut rest = vec![0; 60_000];
        let n = (&from).read(&mut rest).unwrap();
        assert_same(&rest[..n], &data[40_001..]);
    }
}

/// No step moves more bytes than its budget, by any mechanism, and a budget of 0 moves none.
#[test]
fn a_budget_is_never_passed() {
    for (from, to) in pairs() {
        for adaptive in [true, false] {
            for budget in [1, 4096, 65_536] {
                let _leaks = fds::no_leaks();
                let len = if budget == 1 { 3000 } else { 200_000 };
                let mut giver = from.open(data::bytes(26, len));
                let mut taker = to.open();
                let mut transfer = transfer(adaptive);
                assert!(matches!(
                    step(&mut transfer, &mut giver.source, &mut taker.sink, 0),
                    Step { taken: 0, next: Next::Again, .. }
                ));
                let (mut taken, mut steps) = (0, 0);
                loop {
                    let step = step(&mut transfer, &mut giver.source, &mut taker.sink, budget);
                    taken += step.taken;
                    steps += 1;
                    match step.next {
                        Next::Again => {}
                        Next::Ended => break,
                        other => panic!("{from:?} to {to:?}: {other:?}"),
                    }
                }
                assert_eq!(taken, len as u64, "{from:?} to {to:?}");
                assert!(steps > len as u64 / budget);
                drop(transfer);
                assert_same(&taker.finish().unwrap(), &giver.data);
            }
        }
    }
}

/// The budget does not decide where the source ends.
#[test]
fn a_budget_does_not_end_a_copy_of_a_file_into_itself() {
    for adaptive in [true, false] {
        for budget in [1000, 4096, 200_000] {
            let _leaks = fds::no_leaks();
            let data = data::bytes(29, 100_000);
            let file = files::holding(&data);
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let end = std::fs::File::options().append(true).open(path).unwrap();
            let (mut transfer, mut moved) = (transfer(adaptive), 0);
            loop {
                let step = step(&mut transfer, &mut &file, &mut &end, budget);
                moved += step.delivered;
                assert!(moved <= 100_000, "it chases its own tail");
                match step.next {
                    Next::Again => {}
                    Next::Ended => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(moved, 100_000, "{adaptive}, {budget}");
            assert_same(&files::contents(&file), &[&data[..], &data[..]].concat());
        }
    }
}

/// sendfile into a full socket.
#[test]
fn a_file_to_a_full_socket_waits_for_the_sink() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(23, 2_000_000);
    let file = files::holding(&data);
    let (to, server) = sockets::tight(sockets::tcp_v4());
    to.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let mut transfer = transfer(false);
    let (mut got, mut waited) = (Vec::new(), 0);
    loop {
        match run(&mut transfer, &mut &file, &mut &to, 2).next {
            Next::Again => {}
            Next::Ended => break,
            Next::WantWrite => {
                waited += 1;
                let moved = transfer.report().moved() + transfer.in_flight() as u64;
                assert_eq!(files::position(&file), moved, "what was claimed is moved or in flight");
                hear_some(&server, &mut got);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(waited > 0);
    assert_eq!(transfer.report().moved(), 2_000_000);
    assert!(transfer.report().moved_by(Mechanism::Sendfile) > 1_000_000);
    assert_eq!(files::position(&file), 2_000_000);
    drop(to);
    server.set_nonblocking(false).unwrap();
    (&server).read_to_end(&mut got).unwrap();
    assert_same(&got, &data);
}

fn hear_some(server: &TcpStream, got: &mut Vec<u8>) {
    wait_for(server, PollFlags::IN);
    let mut some = [0; 30_000];
    let n = (&*server).read(&mut some).unwrap();
    got.extend_from_slice(&some[..n]);
}

/// Ends without descriptors: the driver calls their `read`, `write` and `flush`.
#[test]
fn plain_readers_and_writers_are_moved_too() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(24, 100_000);
    let (mut out, mut transfer) = (Vec::new(), transfer(true));
    let mut reader = Opaque(&data[..]).take(90_000);
    loop {
        let step = match step(&mut transfer, &mut reader, &mut out, u64::MAX).next {
            Next::ReadSource(most) => transfer.read_with(most, |room| reader.read(room)),
            Next::WriteSink => transfer.write_with(&mut reader, |bytes| out.write(bytes)),
            next => Step::idle(next),
        };
        match step.next {
            Next::Again => {}
            Next::Ended => break,
            other => panic!("{other:?}"),
        }
    }
    assert_same(&out, &data[..90_000]);
    assert_same(reader.get_ref().0, &data[90_000..]);
    assert_eq!(transfer.report().moved(), 90_000);
}

/// What a sink holds back goes out before what the kernel moves past it, also what its owner has written to it since
/// the last step.
#[test]
fn a_sink_that_holds_back_is_flushed_after_every_return() {
    let _leaks = fds::no_leaks();
    let (mut client, from) = sockets::unix();
    from.set_nonblocking(true).unwrap();
    let file = files::empty();
    let (mut sink, mut transfer) = (io::BufWriter::new(&file), transfer(true));
    for round in 0..3 {
        client.write_all(b"body ").unwrap();
        sink.write_all(b"head ").unwrap();
        let mut flushes = 0;
        loop {
            match step(&mut transfer, &mut &from, &mut sink, u64::MAX).next {
                Next::Again => {}
                Next::FlushSink => {
                    flushes += 1;
                    sink.flush().unwrap();
                    transfer.flushed();
                }
                Next::WantRead { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(flushes > 0, "round {round}");
        assert_same(&files::contents(&file), b"head body ".repeat(round + 1).as_slice());
    }
}

/// A rate limit gives a time, and no call is made until then.
#[test]
fn a_time_to_wait_for_is_named_and_no_call_is_made_before() {
    struct Later<'a>(&'a UnixStream, Instant);
    impl Source for Later<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.0).not_before(self.1)
        }
    }
    let _leaks = fds::no_leaks();
    let (mut client, from) = sockets::unix();
    client.write_all(b"patience").unwrap();
    drop(client);
    let (file, time) = (files::empty(), Instant::now() + Duration::from_secs(3600));
    let (mut later, mut transfer) = (Later(&from, time), transfer(true));
    let recorder = hook::record();
    for _ in 0..3 {
        let step = step(&mut transfer, &mut later, &mut &file, u64::MAX);
        assert!(matches!(step.next, Next::NotBefore(named) if named == time), "{step:?}");
    }
    assert!(recorder.calls().is_empty());
    later.1 = Instant::now();
    let stopped = run(&mut transfer, &mut later, &mut &file, ALL);
    assert!(matches!(stopped.next, Next::Ended));
    assert_same(&files::contents(&file), b"patience");
}

/// For poll(2) a regular file is always ready, and yet a step with one may block.
#[test]
fn an_end_that_can_block_is_named() {
    let _leaks = fds::no_leaks();
    let file = files::holding(&data::bytes(27, 100_000));
    let (mut client, from) = sockets::unix();
    from.set_nonblocking(true).unwrap();
    client.write_all(&[7; 20_000]).unwrap();
    let mut transfer = transfer(false);
    assert_eq!(transfer.waits_for_disk(Side::Sink), None);
    let stopped = run(&mut transfer, &mut &from, &mut &files::empty(), ALL);
    assert!(matches!(stopped.next, Next::WantRead { .. }));
    assert_eq!(
        [Side::Source, Side::Sink].map(|side| transfer.waits_for_disk(side)),
        [Some(false), Some(true)]
    );
    transfer.rebind();
    assert_eq!(transfer.waits_for_disk(Side::Sink), None, "other ends, another answer");
    let (to, mut server) = sockets::unix();
    let stopped = run(&mut transfer, &mut &file, &mut &to, ALL);
    assert!(matches!(stopped.next, Next::Ended));
    assert_eq!(
        [Side::Source, Side::Sink].map(|side| transfer.waits_for_disk(side)),
        [Some(true), Some(false)]
    );
    drop(to);
    server.read_to_end(&mut Vec::new()).unwrap();
}

/// For a driver that makes one side of a step elsewhere: no step moves on both sides, unless one call does.
#[test]
fn half_a_step_takes_or_delivers() {
    for (from, to) in pairs() {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let mut giver = from.open(data::bytes(28, 200_000));
            let mut taker = to.open();
            let mut transfer = transfer(adaptive);
            transfer.options_mut().half_steps = true;
            transfer.rebind();
            loop {
                let recorder = hook::record();
                let step = step(&mut transfer, &mut giver.source, &mut taker.sink, u64::MAX);
                let both = [giver.fd, taker.fd];
                let by_one_call = recorder.calls().iter().any(|r| [r.call.from, r.call.to] == both);
                assert!(step.taken == 0 || step.delivered == 0 || by_one_call, "{step:?}");
                match step.next {
                    Next::Again => {}
                    Next::Ended => break,
                    other => panic!("{from:?} to {to:?}: {other:?}"),
                }
            }
            drop(transfer);
            assert_same(&taker.finish().unwrap(), &giver.data);
        }
    }
}

/// Where the transfer's own pipe cannot be read the residue comes later, and is not lost.
#[test]
fn the_residue_survives_a_failing_read_of_the_pipe() {
    let _leaks = fds::no_leaks();
    let mut transfer = transfer(false);
    let stuck = Stuck::new(&mut transfer, false);
    let in_flight = transfer.in_flight();
    let mut failures = 3;
    let hook = hook::replace(move |call| {
        if call.syscall == hook::Syscall::Read && failures > 0 {
            failures -= 1;
            return hook::Action::Fail(Errno::IO.raw_os_error());
        }
        hook::Action::Proceed
    });
    let residue = transfer.take_residue();
    drop(hook);
    let at = stuck.delivered as usize;
    assert_same(&residue, &stuck.data[at..at + in_flight]);
}

/// The options can be changed between copies.
#[test]
fn options_take_effect_with_the_next_copy() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(25, 30_000);
    let mut transfer = transfer(true);
    for (sharing, mechanism) in
        [(PageSharing::Never, Mechanism::ReadWrite), (PageSharing::Always, Mechanism::Splice)]
    {
        transfer.options_mut().page_sharing = sharing;
        transfer.rebind();
        let (file, (mut reader, writer)) = (files::holding(&data), pipes::pipe());
        let stopped = run(&mut transfer, &mut &file, &mut &writer, ALL);
        assert!(matches!(stopped.next, Next::Ended));
        assert_eq!(transfer.report().mechanism(), Some(mechanism));
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_same(&got, &data);
    }
}

/// The sink was full when splice said so. It has room by the time the transfer asks which side that was. The source
/// has had its bytes all along, so a wait for it would not end (EPOLLET).
#[test]
fn the_end_that_was_not_ready_may_be_by_now() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(71, 128 * 1024);
    let (before, rest) = data.split_at(64 * 1024);
    let (reader, mut writer) = pipes::pipe();
    let (mut behind, mut sink) = pipes::pipe();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    rustix::io::ioctl_fionbio(&sink, true).unwrap();
    sink.write_all(before).unwrap();
    writer.write_all(rest).unwrap();

    let (mut emptied, got) = (behind.try_clone().unwrap(), Rc::new(RefCell::new(Vec::new())));
    let hooked = Rc::clone(&got);
    let once = hook::replace(move |call| {
        if call.syscall == hook::Syscall::Poll && hooked.borrow().is_empty() {
            hooked.borrow_mut().resize(64 * 1024, 0);
            emptied.read_exact(&mut hooked.borrow_mut()).unwrap();
        }
        hook::Action::Proceed
    });
    let mut transfer = Transfer::default();
    let stopped = run(&mut transfer, &mut &reader, &mut &sink, usize::MAX);
    drop(once);
    assert_same(&got.borrow(), before);

    // The driver stopped only when there was nothing to read.
    assert!(matches!(stopped.next, Next::WantRead { .. }), "{stopped:?}");
    assert_eq!((stopped.taken, stopped.delivered), (rest.len() as u64, rest.len() as u64));
    drop((sink, writer));
    let mut arrived = Vec::new();
    behind.read_to_end(&mut arrived).unwrap();
    assert_same(&arrived, rest);
    transfer.rebind();
}
