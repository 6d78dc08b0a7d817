//! Sources that are slow on purpose, and sources that are too slow. The tests have a clock of their own and count
//! bytes and steps; they measure no time.

use std::cell::Cell;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zc_std::driver::{Next, Step};
use zc_std::hook::{self, Action, Syscall};
use zc_std::{
    Copier, Downstream, Fd, Opaque, Options, Pace, Paced, Progress, Side, Sink, Transfer, pool,
};
use zc_testkit::data::{self, assert_same};
use zc_testkit::streams::{Stream, fill, nonblocking};
use zc_testkit::{calls, fds, files, raw, sockets};

const LEN: usize = 300_000;
const LONG: Duration = Duration::from_secs(3600);

/// A transfer that splices from the first byte on.
fn transfer() -> Transfer {
    let mut options = Options::default();
    options.adaptive = false;
    Transfer::new(options)
}

// ---- Rates --------------------------------------------------------------------------------------

/// Steps until the end. The clock is set to each time that the transfer names. Returns what each step took.
fn run_by(now: &Cell<Instant>, mut step: impl FnMut() -> Step) -> Vec<u64> {
    let mut taken = Vec::new();
    loop {
        let step = step();
        taken.extend((step.taken > 0).then_some(step.taken));
        match step.next {
            Next::Again => {}
            Next::NotBefore(time) => {
                assert!(time > now.get(), "or a driver would spin");
                now.set(time);
            }
            Next::Ended => return taken,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_paced_stream_is_spliced_in_small_portions() {
    const RATE: u64 = 2 << 20;
    for stream in Stream::ALL {
        let _leaks = fds::no_leaks();
        let data = data::bytes(1, LEN);
        let (to, from) = stream.open();
        let feeder = zc_testkit::feeder::Feeder::pieces(
            zc_testkit::streams::Plain(to),
            data.clone(),
            100_000,
        );
        let (from, file) = (Fd::new(from).unwrap(), files::empty());
        // Ahead of the engine's own clock, so that the engine never finds a time come already.
        let begun = Instant::now() + LONG;
        let now = Cell::new(begun);
        let mut source = Paced::with_clock(from, Pace::new(RATE), || now.get()).take(LEN as u64);
        let (mut transfer, mut sink) = (transfer(), &file);
        let recorder = hook::record();
        let taken = run_by(&now, || transfer.step(&mut source, &mut sink, u64::MAX));
        assert!(
            taken.iter().all(|&n| n <= RATE / 50),
            "a burst is what passes in 20 ms: {taken:?}"
        );
        assert_eq!(taken.iter().sum::<u64>(), LEN as u64);
        assert_eq!(source.limit(), 0);
        // No faster than the rate, but for the first burst, and not much slower.
        let millis = (now.get() - begun).as_millis() as u64;
        let due = (LEN as u64 - RATE / 50) * 1000 / RATE;
        assert!((due - 21..due + 21).contains(&millis), "{millis} of {due}");
        assert_eq!(calls::moved_by(&recorder.calls(), Syscall::Splice), 2 * LEN as u64);
        assert_same(&files::contents(&file), &data);
        feeder.finish().unwrap();
    }
}

#[test]
fn whatever_the_layers_no_step_takes_more_than_its_portion() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(2, LEN);
    let pace = || Pace::new(1000).burst(100);
    let now = Cell::new(Instant::now() + LONG);
    let clock = || now.get();
    let check = |taken: Vec<u64>, all: u64| {
        assert!(taken.iter().all(|&n| n <= 100), "{taken:?}");
        assert_eq!(taken.iter().sum::<u64>(), all);
    };
    let file = files::holding(&data);
    for adaptive in [true, false] {
        let mut options = Options::default();
        options.adaptive = adaptive;
        let mut transfer = Transfer::new(options);
        let (out, at) = (files::empty(), zc_std::FileAt::new(&file, 7).unwrap());
        let mut source = Paced::with_clock(at, pace(), clock).take(1000);
        check(run_by(&now, || transfer.step(&mut source, &mut &out, u64::MAX)), 1000);
        assert_same(&files::contents(&out), &data[7..1007]);
    }
    // A buffer below the rate is paced. One above it has passed already.
    let mut buffered = BufReader::with_capacity(500, &file);
    buffered.read_exact(&mut [0; 10]).unwrap();
    let mut transfer = transfer();
    let out = files::empty();
    let mut source = Paced::with_clock(buffered, pace(), clock).take(1000);
    check(run_by(&now, || transfer.step(&mut source, &mut &out, u64::MAX)), 1000);
    assert_same(&files::contents(&out), &data[10..1010]);
}

/// The engine looks at its own clock later than the layer did. By then the time that the layer names may have come.
#[test]
fn a_time_that_has_come_meanwhile_lets_no_more_through() {
    let _leaks = fds::no_leaks();
    let file = files::holding(&data::bytes(6, LEN));
    // Behind the engine's own clock.
    let behind = Instant::now().checked_sub(Duration::from_secs(5));
    let now = Cell::new(behind.expect("the machine has run for so long"));
    let mut source = Paced::with_clock(&file, Pace::new(1000).burst(100), || now.get());
    let (mut transfer, out) = (transfer(), files::empty());
    for most in [100, 50, 50, 50] {
        let step = transfer.step(&mut source, &mut &out, u64::MAX);
        assert!(step.taken <= most, "{step:?}");
    }
}

/// By the blocking driver, and by the source's `read`: every byte comes, and no pipe is held between the portions.
#[test]
fn a_blocking_copy_sleeps_without_a_pipe() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, LEN);
    let (mut client, server) = sockets::tcp_v4();
    let asked = Cell::new(0_u32);
    let clock = || {
        asked.set(asked.get() + 1);
        Instant::now()
    };
    thread::scope(|scope| {
        scope.spawn(|| client.write_all(&data).unwrap());
        let pace = Pace::new(30 << 20).burst(64 << 10);
        let mut source = Paced::with_clock(&server, pace, clock).take(LEN as u64);
        let (file, mut copier) = (files::empty(), Copier::new().adaptive(false));
        let report = copier.copy(&mut source, &mut &file).unwrap();
        assert_eq!(
            (report.moved(), report.mechanism()),
            (LEN as u64, Some(zc_std::Mechanism::Splice))
        );
        assert!(asked.get() >= 8, "portions of at most 64 KiB");
        assert_eq!(pool::in_use(), 0);
        assert_same(&files::contents(&file), &data);
    });
    let mut read = Vec::new();
    Paced::new(&data[..], 100 << 20).read_to_end(&mut read).unwrap();
    assert_same(&read, &data);
    let mut out = Vec::new();
    zc_std::copy(&mut Opaque(Paced::new(&data[..], 100 << 20)), &mut out).unwrap();
    assert_same(&out, &data);
}

#[test]
fn a_paced_source_conforms() {
    let _leaks = fds::no_leaks();
    zc_std::conformance::assert_source(|stream| Paced::new(stream, u64::MAX));
}

// ---- Deadlines ----------------------------------------------------------------------------------

/// A peer sends some bytes and then says nothing. The descriptor's mode makes no difference.
#[test]
fn a_deadline_ends_the_wait_for_a_silent_peer() {
    for stream in Stream::ALL {
        for (blocking, adaptive) in [(true, true), (true, false), (false, true), (false, false)] {
            let _leaks = fds::no_leaks();
            let (to, from) = stream.open();
            let from = if blocking { from } else { nonblocking(from) };
            rustix::io::write(&to, b"half an upl").unwrap();
            let (mut from, file) = (Fd::new(from).unwrap(), files::empty());
            let mut limited = (&mut from).take(100);
            let deadline = Instant::now() + Duration::from_millis(20);
            let mut copier = Copier::new().adaptive(adaptive).deadline(deadline);
            let error = copier.copy(&mut limited, &mut &file).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::TimedOut, 11), "{error}");
            assert_eq!((limited.limit(), copier.in_flight()), (89, 0));
            assert_eq!(error.waits_for(), None);

            // The copier still knows where it was.
            rustix::io::write(&to, b"oad").unwrap();
            drop(to);
            let mut copier = copier.deadline(Instant::now() + LONG);
            assert_eq!(copier.resume(&mut limited, &mut &file).unwrap().moved(), 3);
            assert_same(&files::contents(&file), b"half an upload");
        }
    }
}

#[test]
fn a_deadline_that_has_passed_takes_nothing() {
    let _leaks = fds::no_leaks();
    let (source, file) = (files::holding(b"all there"), files::empty());
    let error = Copier::new().deadline(Instant::now()).copy(&mut &source, &mut &file).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::TimedOut, 0));
    assert_eq!(files::position(&source), 0);
}

#[test]
fn a_deadline_ends_the_wait_for_a_full_sink_and_for_a_rate() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(4, LEN);
    let (to, reader) = Stream::Tcp.open();
    let to = nonblocking(to);
    let filled = fill(&to);
    let mut sink = Fd::new(to).unwrap();
    let mut source = &data[..];
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = Copier::new().deadline(deadline).copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Sink)), "{error}");
    assert_eq!(LEN - source.len(), error.moved() as usize);
    drop((reader, filled));

    let mut source = Paced::with_pace(&data[..], Pace::new(1).burst(10));
    let mut out = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = Copier::new().deadline(deadline).copy(&mut source, &mut out).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::TimedOut, out.len() as u64));
}

/// With a deadline in the future a copy waits by itself where it would stop with `WouldBlock`.
#[test]
fn with_a_deadline_a_copy_waits_for_descriptors_in_non_blocking_mode() {
    for least in [false, true] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(5, 3 << 20);
        let ((mut client, from), (to, mut server)) = (sockets::tcp_v4(), sockets::unix());
        let (mut from, mut to) = (nonblocking(from), nonblocking(to));
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&data).unwrap();
                drop(client);
            });
            let reader = scope.spawn(|| {
                let mut got = Vec::new();
                server.read_to_end(&mut got).unwrap();
                got
            });
            let copier = Copier::new().adaptive(false);
            let mut copier = if least {
                copier.min_rate(1, LONG)
            } else {
                copier.deadline(Instant::now() + LONG)
            };
            assert_eq!(copier.copy(&mut from, &mut to).unwrap().moved(), data.len() as u64);
            drop(to);
            assert_same(&reader.join().unwrap(), &data);
        });
    }
}

/// The peer of both ends says nothing before it has read what the sink held back when the copy began.
#[test]
fn what_a_sink_holds_back_is_flushed_before_the_copy_waits_for_its_source() {
    for (waits, nowhere) in [(true, false), (false, false), (true, true)] {
        let _leaks = fds::no_leaks();
        let (client, server) = sockets::unix();
        // If it is not told, the copy ends without its bytes.
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let peer = thread::spawn(move || {
            let mut head = [0; 6];
            (&client).read_exact(&mut head)?;
            (&client).write_all(b"body")?;
            std::io::Result::Ok((head, client))
        });
        let mut sink =
            BufWriter::new(if nowhere { Held::Nowhere(&server) } else { Held::Fd(&server) });
        sink.write_all(b"ready\n").unwrap();
        let mut copier = Copier::new();
        if waits {
            copier = copier.deadline(Instant::now() + LONG);
        }
        let report = copier.copy(&mut (&server).take(4), &mut sink).unwrap();
        let (head, _open) = peer.join().unwrap().unwrap();
        assert_eq!((report.moved(), &head), (4, b"ready\n"));
    }
}

/// A socket that is written to, or of which a copy is told that it keeps nothing.
enum Held<'s> {
    Fd(&'s UnixStream),
    Nowhere(&'s UnixStream),
}

impl Write for Held<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let (Held::Fd(socket) | Held::Nowhere(socket)) = self;
        socket.write(buf)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Held<'_> {
    fn downstream(&mut self) -> Downstream<'_> {
        match self {
            Held::Fd(socket) => Downstream::through(socket),
            Held::Nowhere(_) => Downstream::nowhere(),
        }
    }
}

/// What a sink in non-blocking mode held back when the copy began has to wait for room, too.
#[test]
fn with_a_deadline_a_copy_waits_for_room_for_what_the_sink_holds_back() {
    let _leaks = fds::no_leaks();
    let (to, mut server) = sockets::unix();
    let to = nonblocking(to);
    let filled = fill(&to);
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (full, is_full) = mpsc::channel();
    let reader = thread::spawn(move || {
        is_full.recv().unwrap();
        let mut got = vec![0; filled + 9];
        server.read_exact(&mut got).map(|()| got.split_off(filled))
    });
    let file = files::holding(b"body");
    let mut sink = BufWriter::new(Tells(&to, full));
    sink.write_all(b"head\n").unwrap();
    let outcome = Copier::new().deadline(Instant::now() + LONG).copy(&mut &file, &mut sink);
    assert_eq!(outcome.unwrap().moved(), 4);
    assert_eq!(reader.join().unwrap().unwrap(), b"head\nbody");
}

/// A socket that tells when it has no room.
struct Tells<'s>(&'s UnixStream, mpsc::Sender<()>);

impl Write for Tells<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let wrote = self.0.write(buf);
        if wrote.is_err() {
            // The reader may have been told before.
            let _ = self.1.send(());
        }
        wrote
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Tells<'_> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(&mut self.0)
    }
}

/// A sender of small pieces, whose next ones are waited for together, and do not come.
#[test]
fn coalescing_waits_no_longer_than_the_copy_does() {
    for rate in [false, true] {
        let _leaks = fds::no_leaks();
        let (client, server) = sockets::tcp_v4();
        let mut same = client.try_clone().unwrap();
        let (stop, stopped) = mpsc::channel::<()>();
        let sender = thread::spawn(move || {
            (&client).write_all(&[1; 1000]).unwrap();
            // More, which only a copy that waits for too long gets.
            if stopped.recv_timeout(Duration::from_secs(10)).is_err() {
                (&client).write_all(&[3; 200_000]).unwrap();
            }
        });
        let copier = Copier::new().coalesce(LONG);
        let soon = Duration::from_millis(200);
        let mut copier = match rate {
            true => copier.min_rate(3000, soon),
            false => copier.deadline(Instant::now() + soon),
        };
        let file = files::empty();
        // Each piece is answered by the next one.
        let mut pieces = 0;
        let mut sink = Progress::new(&file, |_| {
            pieces += 1;
            if pieces < 3 {
                same.write_all(&[2]).unwrap();
            }
        });
        let error = copier.copy(&mut &server, &mut sink).unwrap_err();
        stop.send(()).unwrap();
        sender.join().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.moved() <= 1002, "{error}");
        assert_eq!(raw::low_water(&server).unwrap(), 1);
    }
}

/// What only a type's own `read` or `write` can tell cannot be waited for.
#[test]
fn a_type_that_is_not_ready_and_has_no_descriptor_stops_the_copy() {
    let _leaks = fds::no_leaks();
    let (_client, server) = sockets::unix();
    let server = nonblocking(server);
    let copier = || Copier::new().min_rate(1, LONG);
    let error = copier().copy(&mut Opaque(&server), &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::WouldBlock, Some(Side::Source)));
    fill(&server);
    let mut source = &b"more"[..];
    let error = copier().copy(&mut source, &mut Opaque(&server)).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::WouldBlock, Some(Side::Sink)));
    assert_eq!((error.moved(), source.len()), (0, 4));
}

// ---- Least rates --------------------------------------------------------------------------------

#[test]
fn a_source_that_gives_too_little_is_given_up_on() {
    let _leaks = fds::no_leaks();
    let (mut client, mut server) = sockets::tcp_v4();
    client.write_all(b"drip").unwrap();
    let mut copier = Copier::new().min_rate(1 << 20, Duration::from_millis(20));
    let file = files::empty();
    let error = copier.copy(&mut server, &mut &file).unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Source)));
    assert_eq!((error.moved(), files::contents(&file).len()), (4, 4));
    assert!(error.to_string().contains("of 1048576 at least"), "{error}");
}

/// Bytes that are there already are not waited for, and no rate is asked of them, however slow the sink is.
/// The copy is stopped (SIGSTOP, a busy machine) for longer than the source has, which gives all in time.
#[test]
fn a_source_is_not_to_blame_for_a_copy_that_was_stopped() {
    let _leaks = fds::no_leaks();
    let (client, mut server) = sockets::unix();
    let mut client = Some(client);
    let period = Duration::from_millis(5);
    let _stopped = hook::replace(move |call| {
        if call.syscall == Syscall::Poll
            && let Some(mut client) = client.take()
        {
            client.write_all(b"in time").unwrap();
            thread::sleep(4 * period);
        }
        Action::Proceed
    });
    let mut copier = Copier::new().min_rate(7, period);
    let report = copier.copy(&mut server, &mut files::empty()).unwrap();
    assert_eq!(report.moved(), 7);
}

#[test]
fn a_source_that_is_there_is_fast_enough() {
    let _leaks = fds::no_leaks();
    let (mut client, mut server) = sockets::unix();
    client.write_all(&[7; 50_000]).unwrap();
    drop(client);
    let mut copier = Copier::new().min_rate(u64::MAX, LONG);
    let mut slow = zc_std::Progress::new(files::empty(), |_| thread::yield_now());
    assert_eq!(copier.copy(&mut server, &mut slow).unwrap().moved(), 50_000);
    // Files do not wait, so no rate is asked of them.
    let mut source = files::holding(&[7; 50_000]);
    assert_eq!(copier.copy(&mut source, &mut slow).unwrap().moved(), 50_000);
}
