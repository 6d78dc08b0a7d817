//! The pump, driven by hand: it never waits, and whoever drives it may go at any time.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt;
use zc_core::{IsStream, Next, PollFd, Step};
use zc_linux::{Inflow, Mechanism, Options, Outflow, PageSharing, Pump, pool};
use zc_std::hook;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::wait::{is_ready, wait_for};
use zc_testkit::{fds, files, pipes, sockets, trace};

/// Drives a pump between two descriptors, and holds nothing of its own: dropping it loses nothing.
struct Driver<'a> {
    pump: &'a mut Pump,
    from: PollFd<'a>,
    to: PollFd<'a>,
}

/// What a driver saw when it stopped.
#[derive(Debug)]
struct Stopped {
    taken: u64,
    delivered: u64,
    steps: usize,
    /// [`Next::Again`]: it had made all its steps.
    next: Next,
}

impl<'a> Driver<'a> {
    fn new(pump: &'a mut Pump, from: &'a impl IsStream, to: &'a impl IsStream) -> Self {
        Driver { pump, from: PollFd::of(from), to: PollFd::of(to) }
    }

    fn step(&mut self, limit: u64) -> Step {
        let before = self.pump.in_flight() as u64;
        let step = self.pump.step(Inflow::Fd(self.from), Outflow::Fd(self.to), limit);
        let after = self.pump.in_flight() as u64;
        assert_eq!(before + step.taken, step.delivered + after, "conservation: {step:?}");
        assert!(step.taken <= limit);
        step
    }

    /// At most `steps` steps, until one has to wait.
    fn run(mut self, mut limit: u64, steps: usize) -> Stopped {
        let mut stopped = Stopped { taken: 0, delivered: 0, steps: 0, next: Next::Again };
        while stopped.steps < steps && matches!(stopped.next, Next::Again) {
            let step = self.step(limit);
            limit -= step.taken;
            stopped.taken += step.taken;
            stopped.delivered += step.delivered;
            stopped.steps += 1;
            stopped.next = step.next;
        }
        stopped
    }
}

/// As many steps as it takes.
const ALL: usize = usize::MAX;

fn pump(adaptive: bool) -> Pump {
    let mut options = Options::default();
    options.adaptive = adaptive;
    Pump::new(options)
}

/// Sockets with small buffers, so that everybody waits for everybody. (TCP's must hold a segment of
/// loopback's 64 KiB, or it advances by the ticks of its timers.)
fn tight<S: std::os::fd::AsFd>((a, b): (S, S)) -> (S, S) {
    let tcp = sockopt::socket_domain(&a) != Ok(rustix::net::AddressFamily::UNIX);
    for end in [&a, &b] {
        let size = if tcp { 128 * 1024 } else { 1 };
        sockopt::set_socket_send_buffer_size(end, size).unwrap();
        sockopt::set_socket_recv_buffer_size(end, size).unwrap();
    }
    (a, b)
}

// ---- A relay, and drivers that come and go ----------------------------------------------------------

/// A relay whose driver is dropped after every few steps, whatever they said and whatever is in
/// flight, and replaced by a new one.
///
/// Returns how many were dropped with bytes in flight.
fn relay<W, R, T, C>(
    (client, from): (W, R),
    (to, server): (T, C),
    len: usize,
    adaptive: bool,
) -> usize
where
    W: Write + Send + 'static,
    R: IsStream + AsRawFd,
    T: IsStream + AsRawFd,
    C: Read + Send + 'static,
{
    rustix::io::ioctl_fionbio(&from, true).unwrap();
    rustix::io::ioctl_fionbio(&to, true).unwrap();
    let data = data::bytes(20, len);
    let feeder = Feeder::pieces(client, data.clone(), 50_000);
    let collector = Collector::start(server);

    let mut pump = pump(adaptive);
    let (mut taken, mut delivered, mut in_flight_at_drop) = (0, 0, 0);
    let mut fruitless_waits = 0;
    for round in 0.. {
        let stopped = Driver::new(&mut pump, &from, &to).run(u64::MAX, 1 + round % 3);
        taken += stopped.taken;
        delivered += stopped.delivered;
        assert_eq!(taken, delivered + pump.in_flight() as u64);
        in_flight_at_drop += usize::from(pump.in_flight() > 0);
        // Whoever waits for the wrong end, or for one that is ready already, spins.
        fruitless_waits =
            if stopped.taken + stopped.delivered > 0 { 0 } else { fruitless_waits + 1 };
        assert!(fruitless_waits < 100, "waiting in vain: {stopped:?}");
        match stopped.next {
            Next::Again => {}
            Next::Readable => {
                // Before it waits, a driver gives back what holds no bytes.
                pump.release();
                assert_eq!((pump.in_flight(), pool::lent()), (0, 0));
                wait_for(&from, PollFlags::IN);
            }
            Next::Writable => {
                pump.release();
                wait_for(&to, PollFlags::OUT);
            }
            Next::Done => break,
            Next::Failed(fault) => panic!("{fault:?}"),
        }
    }
    assert_eq!((delivered, pump.in_flight()), (len as u64, 0));
    assert_eq!(pump.report().moved(), len as u64);
    pump.release();
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
        relay(tight(sockets::unix()), tight(sockets::tcp_v4()), RELAYED, adaptive);
    }
}

#[test]
fn relays_tcp_to_unix() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::tcp_v6(), sockets::unix(), RELAYED, adaptive);
        assert!(relay(sockets::tcp_v4(), tight(sockets::unix()), RELAYED, adaptive) > 0);
    }
}

#[test]
fn relays_tcp_to_tcp() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::tcp_v4(), sockets::tcp_v6(), RELAYED, adaptive);
        relay(tight(sockets::tcp_v4()), sockets::tcp_v4(), RELAYED, adaptive);
    }
}

#[test]
fn relays_unix_to_unix() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        relay(sockets::unix(), sockets::unix(), RELAYED, adaptive);
        assert!(relay(sockets::unix(), tight(sockets::unix()), RELAYED, adaptive) > 0);
    }
}

/// Between a pipe and a socket nothing is ever in flight, and nobody may spin either.
#[test]
fn relays_pipes() {
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

// ---- One step at a time, nobody else about ----------------------------------------------------------

/// A source with a lot in it, a sink that takes little, and a pump stopped between the two.
struct Stuck {
    data: Vec<u8>,
    delivered: u64,
    client: UnixStream,
    from: UnixStream,
    to: UnixStream,
    server: UnixStream,
}

impl Stuck {
    /// Moves until the sink is full. With `adaptive`, in pieces small enough to be read and written.
    fn new(pump: &mut Pump, adaptive: bool) -> Stuck {
        let (client, from) = sockets::unix();
        let (to, server) = tight(sockets::unix());
        for end in [&client, &from, &to, &server] {
            end.set_nonblocking(true).unwrap();
        }
        let mut stuck = Stuck { data: Vec::new(), delivered: 0, client, from, to, server };
        let piece = if adaptive { 3000 } else { 100_000 };
        for round in 0.. {
            stuck.feed(round, piece);
            let stopped = Driver::new(pump, &stuck.from, &stuck.to).run(u64::MAX, ALL);
            stuck.delivered += stopped.delivered;
            match stopped.next {
                Next::Readable => {}
                Next::Writable if pump.in_flight() > 0 => break,
                other => panic!("{other:?} after {} bytes", stuck.delivered),
            }
        }
        assert!(!is_ready(&stuck.to, PollFlags::OUT), "the sink is full");
        // More, which nobody has seen yet.
        stuck.feed(u64::MAX, 500);
        stuck
    }

    fn feed(&mut self, seed: u64, len: usize) {
        let more = data::bytes(seed, len);
        let n = self.client.write(&more).unwrap();
        self.data.extend_from_slice(&more[..n]);
    }

    /// What has come out at the far end and was not read yet.
    fn hear(&self) -> Vec<u8> {
        let mut got = Vec::new();
        match (&self.server).read_to_end(&mut got) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => got,
            other => other.map(|_| got).unwrap(),
        }
    }

    /// Lets the client hang up, and moves the rest by one new driver after another.
    fn finish(self, pump: &mut Pump, mut got: Vec<u8>) {
        self.client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut delivered = 0;
        loop {
            got.extend(self.hear());
            let stopped = Driver::new(pump, &self.from, &self.to).run(u64::MAX, 1);
            delivered += stopped.delivered;
            match stopped.next {
                Next::Again | Next::Writable => {}
                Next::Done => break,
                other => panic!("{other:?}"),
            }
        }
        got.extend(self.hear());
        assert_eq!(self.delivered + delivered, self.data.len() as u64);
        assert_same(&got, &self.data);
    }
}

/// The driver that met the full sink is gone. What it left in the pipe, the next one delivers.
#[test]
fn a_new_driver_goes_on_after_writable_with_bytes_in_the_pipe() {
    let _leaks = fds::no_leaks();
    let mut pump = pump(false);
    let stuck = Stuck::new(&mut pump, false);
    assert_eq!(pool::lent(), 1, "bytes in flight are in a pipe");
    pump.release();
    assert_eq!(pool::lent(), 1, "and a release does not take it away");
    stuck.finish(&mut pump, Vec::new());
    pump.release();
    assert_eq!((pool::lent(), pool::idle()), (0, 1), "the pipe went back empty");
}

/// The same with the bytes in memory.
#[test]
fn a_new_driver_goes_on_after_writable_with_bytes_in_memory() {
    let _leaks = fds::no_leaks();
    let mut pump = pump(true);
    let stuck = Stuck::new(&mut pump, true);
    assert_eq!(pool::lent(), 0);
    stuck.finish(&mut pump, Vec::new());
}

/// Asking again while the sink is full moves nothing and takes nothing.
#[test]
fn a_step_with_bytes_in_flight_takes_no_more() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let stuck = Stuck::new(&mut pump, adaptive);
        let in_flight = pump.in_flight();
        let recorder = hook::record();
        for _ in 0..10 {
            let step = Driver::new(&mut pump, &stuck.from, &stuck.to).step(u64::MAX);
            assert_eq!((step.taken, step.delivered, pump.in_flight()), (0, 0, in_flight));
            assert!(matches!(step.next, Next::Writable));
        }
        assert_eq!(recorder.calls().len(), 10, "one call a step, and the source left alone");
        assert!(recorder.calls().iter().all(|r| r.call.to == Some(stuck.to.as_raw_fd())));
        drop(recorder);
        stuck.finish(&mut pump, Vec::new());
    }
}

#[test]
fn the_residue_can_be_taken_out() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let stuck = Stuck::new(&mut pump, adaptive);
        let in_flight = pump.in_flight();
        let residue = pump.take_residue();
        assert_eq!((residue.len(), pump.in_flight()), (in_flight, 0));
        assert_eq!(pool::lent(), 0);
        assert!(pump.take_residue().is_empty());

        // What was delivered, what was in flight, what was not taken: all of it, in order.
        let mut got = Vec::new();
        while (got.len() as u64) < stuck.delivered {
            got.extend(stuck.hear());
        }
        let at = got.len();
        got.extend_from_slice(&residue);
        assert_same(&got, &stuck.data[..at + in_flight]);

        // The pump goes on from there.
        let mut stuck = stuck;
        stuck.delivered += in_flight as u64;
        stuck.finish(&mut pump, got);
    }
}

#[test]
fn bytes_in_flight_go_to_another_thread_with_the_pump() {
    let _leaks = fds::no_leaks();
    let mut pump = pump(false);
    let stuck = Stuck::new(&mut pump, false);
    std::thread::spawn(move || stuck.finish(&mut pump, Vec::new())).join().unwrap();
}

#[test]
fn a_pump_dropped_with_bytes_in_its_pipe_does_not_give_it_back() {
    let _leaks = fds::no_leaks();
    let mut dropped = pump(false);
    drop(Stuck::new(&mut dropped, false));
    assert_eq!(pool::lent(), 1);
    drop(dropped);
    assert_eq!((pool::lent(), pool::idle()), (0, 0), "the next copy would begin with its bytes");
}

/// A new pair of ends: what was in flight for the old one goes first.
#[test]
fn a_restart_keeps_what_is_in_flight() {
    let _leaks = fds::no_leaks();
    for (adaptive, then) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut pump = pump(adaptive);
        let stuck = Stuck::new(&mut pump, adaptive);
        let in_flight = pump.in_flight();
        pump.restart();
        pump.options_mut().adaptive = then;
        assert_eq!((pump.in_flight(), pump.report().moved()), (in_flight, 0));

        let (mut more, from) = sockets::unix();
        more.write_all(b"and then this").unwrap();
        drop(more);
        let file = files::empty();
        let stopped = Driver::new(&mut pump, &from, &file).run(u64::MAX, ALL);
        assert!(matches!(stopped.next, Next::Done));
        assert_eq!(pump.report().moved(), in_flight as u64 + 13);
        let at = stuck.delivered as usize;
        let old = &stuck.data[at..at + in_flight];
        assert_same(&files::contents(&file), &[old, b"and then this"].concat());
    }
}

#[test]
fn a_dead_sink_fails_and_keeps_what_is_in_flight() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let data = data::bytes(21, 10_000);
        let (mut client, from) = sockets::unix();
        client.write_all(&data).unwrap();
        let (to, server) = sockets::unix();
        drop(server);
        let stopped = Driver::new(&mut pump, &from, &to).run(u64::MAX, ALL);
        let Next::Failed(fault) = stopped.next else { panic!("{stopped:?}") };
        assert_eq!(fault.error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(fault.syscall, if adaptive { "write" } else { "splice" });
        assert_eq!((stopped.taken, stopped.delivered), (10_000, 0));
        assert_same(&pump.take_residue(), &data);
    }
}

#[test]
fn a_source_that_fails_says_so_and_nothing_is_in_flight() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let (client, from) = sockets::tcp_v4();
        // Closing with unread input resets the connection.
        (&from).write_all(b"never read").unwrap();
        wait_for(&client, PollFlags::IN);
        drop(client);
        wait_for(&from, PollFlags::IN);
        let file = files::empty();
        let stopped = Driver::new(&mut pump, &from, &file).run(u64::MAX, ALL);
        let Next::Failed(fault) = stopped.next else { panic!("{stopped:?}") };
        assert_eq!(fault.error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((stopped.taken, stopped.delivered, pump.in_flight()), (0, 0, 0));
    }
}

#[test]
fn an_idle_source_asks_to_be_waited_for_and_its_end_is_done() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let (client, from) = sockets::tcp_v4();
        from.set_nonblocking(true).unwrap();
        let file = files::empty();
        for _ in 0..3 {
            let step = Driver::new(&mut pump, &from, &file).step(u64::MAX);
            assert!(matches!(step.next, Next::Readable), "{step:?}");
        }
        (&client).write_all(b"x").unwrap();
        wait_for(&from, PollFlags::IN);
        let stopped = Driver::new(&mut pump, &from, &file).run(u64::MAX, ALL);
        assert_eq!(stopped.delivered, 1);
        assert!(matches!(stopped.next, Next::Readable));
        drop(client);
        wait_for(&from, PollFlags::IN);
        for _ in 0..2 {
            let stopped = Driver::new(&mut pump, &from, &file).run(u64::MAX, ALL);
            assert!(matches!(stopped.next, Next::Done));
            assert_eq!(stopped.delivered, 0);
        }
        assert_same(&files::contents(&file), b"x");
    }
}

#[test]
fn a_limit_is_never_passed_and_zero_makes_no_call() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let mut pump = pump(adaptive);
        let data = data::bytes(22, 60_000);
        let (mut client, from) = sockets::unix();
        client.write_all(&data).unwrap();
        let file = files::empty();
        let recorder = hook::record();
        let stopped = Driver::new(&mut pump, &from, &file).run(40_001, ALL);
        assert!(matches!(stopped.next, Next::Done));
        assert_eq!((stopped.taken, stopped.delivered), (40_001, 40_001));
        trace::assert_stopped_at(&recorder.calls(), from.as_raw_fd(), 40_001);
        recorder.clear();
        let step = Driver::new(&mut pump, &from, &file).step(0);
        assert!(matches!(step.next, Next::Done));
        assert!(recorder.calls().is_empty());
        assert_same(&files::contents(&file), &data[..40_001]);
        let mut rest = vec![0; 60_000];
        let n = (&from).read(&mut rest).unwrap();
        assert_same(&rest[..n], &data[40_001..]);
    }
}

/// sendfile to a socket that is full.
#[test]
fn a_file_to_a_full_socket_waits_for_the_sink() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(23, 2_000_000);
    let file = files::holding(&data);
    let (to, server) = tight(sockets::tcp_v4());
    to.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let mut pump = pump(false);
    let (mut got, mut waited) = (Vec::new(), 0);
    loop {
        match Driver::new(&mut pump, &file, &to).run(u64::MAX, 2).next {
            Next::Again => {}
            Next::Done => break,
            Next::Writable => {
                waited += 1;
                assert_eq!(pump.in_flight(), 0, "sendfile takes what it delivers");
                hear_some(&server, &mut got);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(waited > 0);
    assert_eq!(pump.report().moved_by(Mechanism::Sendfile), 2_000_000);
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

/// Ends that are no descriptors.
#[test]
fn plain_readers_and_writers_are_pumped_too() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(24, 100_000);
    let (mut reader, mut out, mut pump) = (&data[..], Vec::new(), pump(true));
    let mut limit = 90_000;
    loop {
        let step = pump.step(Inflow::Read(&mut reader), Outflow::Write(&mut out), limit);
        limit -= step.taken;
        match step.next {
            Next::Again => {}
            Next::Done => break,
            other => panic!("{other:?}"),
        }
    }
    assert_same(&out, &data[..90_000]);
    assert_same(reader, &data[90_000..]);
}

/// A hook that makes reading the pump's own pipe fail delays the residue; it does not lose it.
#[test]
fn the_residue_survives_a_failing_read_of_the_pipe() {
    let _leaks = fds::no_leaks();
    let mut pump = pump(false);
    let stuck = Stuck::new(&mut pump, false);
    let in_flight = pump.in_flight();
    let mut failures = 3;
    let hook = hook::replace(move |call| {
        if call.syscall == hook::Syscall::Read && failures > 0 {
            failures -= 1;
            return hook::Action::Fail(Errno::IO.raw_os_error());
        }
        hook::Action::Proceed
    });
    let residue = pump.take_residue();
    drop(hook);
    let at = stuck.delivered as usize;
    assert_same(&residue, &stuck.data[at..at + in_flight]);
}

/// The options can be changed between copies.
#[test]
fn options_take_effect_with_the_next_copy() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(25, 30_000);
    let mut pump = pump(true);
    for (sharing, mechanism) in
        [(PageSharing::Never, Mechanism::ReadWrite), (PageSharing::Always, Mechanism::Splice)]
    {
        pump.options_mut().page_sharing = sharing;
        pump.restart();
        let (file, (mut reader, writer)) = (files::holding(&data), pipes::pipe());
        let stopped = Driver::new(&mut pump, &file, &writer).run(u64::MAX, ALL);
        assert!(matches!(stopped.next, Next::Done));
        assert_eq!(pump.report().mechanism(), Some(mechanism));
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_same(&got, &data);
    }
}

/// The sink was full when splice said so, and has room by the time the pump asks which end it was. To wait
/// for the source, which has had its bytes all along, would be to wait for news that never come (EPOLLET).
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
    let mut pump = Pump::default();
    let stopped = Driver::new(&mut pump, &reader, &sink).run(u64::MAX, usize::MAX);
    drop(once);
    assert_same(&got.borrow(), before);

    // It did not stop before there was nothing to read.
    assert!(matches!(stopped.next, Next::Readable), "{stopped:?}");
    assert_eq!((stopped.taken, stopped.delivered), (rest.len() as u64, rest.len() as u64));
    drop((sink, writer));
    let mut arrived = Vec::new();
    behind.read_to_end(&mut arrived).unwrap();
    assert_same(&arrived, rest);
    pump.restart();
}
