//! What a copy waits for: signals, ends in non-blocking mode, timeouts, limits.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, Mechanism, Opaque, ReadSource, Side, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::feeder::Feeder;
use zc_testkit::signals::Interruptible;
use zc_testkit::wait::wait_for;
use zc_testkit::{calls, fds, files, pipes, sockets};

/// Never reached, unless a copy waits for what it should not wait for.
const NEVER: Option<Duration> = Some(Duration::from_secs(20));

/// A timeout that is meant to expire.
const SOON: Option<Duration> = Some(Duration::from_millis(5));

fn nonblocking<T: AsFd>(end: T) -> T {
    rustix::io::ioctl_fionbio(&end, true).unwrap();
    end
}

fn copier(adaptive: bool) -> Copier {
    Copier::new().adaptive(adaptive)
}

// ---- Signals ------------------------------------------------------------------------------------

/// EINTR comes twice before each call that is let through.
#[test]
fn interrupted_calls_are_made_again() {
    for from in [From::File, From::Tcp4, From::Unix, From::Pipe, From::Plain] {
        for to in [To::File, To::Tcp4, To::Unix, To::Pipe, To::Plain] {
            for adaptive in [true, false] {
                let _leaks = fds::no_leaks();
                let mut giver = from.open(data::bytes(50, 60_000));
                let mut taker = to.open();
                let mut signals = 0;
                let _signals = hook::replace(move |_| {
                    signals += 1;
                    if signals % 3 == 0 {
                        Action::Proceed
                    } else {
                        Action::Fail(Errno::INTR.raw_os_error())
                    }
                });
                let mut limited = (&mut giver.source).take(50_000);
                let report = copier(adaptive).copy(&mut limited, &mut taker.sink).unwrap();
                assert_eq!((report.moved(), limited.limit()), (50_000, 0), "{from:?} to {to:?}");
                if let (From::Tcp4 | From::Unix, To::File | To::Tcp4, false) = (from, to, adaptive)
                {
                    let spliced = report.moved_by(Mechanism::Splice);
                    assert_eq!(spliced, 50_000, "no call was given up for a signal");
                }
                assert_same(&taker.finish().unwrap(), &giver.data[..50_000]);
                assert_same(&giver.rest(), &giver.data[50_000..]);
            }
        }
    }
}

/// Real signals, while a copy waits for its source.
#[test]
fn signals_do_not_end_a_copy() {
    fn check<W: Write + Send>((mut client, mut server): (W, impl ReadSource)) {
        for adaptive in [true, false] {
            let (data, mut file) = (data::bytes(60, 20_000), files::empty());
            let copying = Interruptible::this_thread();
            // A scope, because the thread that is interrupted has to exist until the last signal.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for piece in data.chunks(5_000) {
                        for _ in 0..20 {
                            std::thread::sleep(Duration::from_millis(1));
                            copying.interrupt();
                        }
                        client.write_all(piece).unwrap();
                    }
                });
                let recorder = hook::record();
                let mut limited = (&mut server).take(20_000);
                let report = copier(adaptive).copy(&mut limited, &mut file).unwrap();
                assert_eq!((report.moved(), limited.limit()), (20_000, 0));
                let calls = recorder.calls();
                assert_eq!(report.calls(), calls.len() as u64);
                let eintr = Err(Errno::INTR.raw_os_error());
                assert!(calls.iter().any(|call| call.result == eintr), "no signal came through");
            });
            assert_same(&files::contents(&file), &data);
        }
    }
    let _leaks = fds::no_leaks();
    check(sockets::tcp_v4());
    check(sockets::unix());
    let (reader, writer) = pipes::pipe();
    check((writer, reader));
}

/// The same with types that are nothing but `Read` and `Write`.
#[test]
fn interrupted_readers_and_writers_are_called_again() {
    struct Jumpy<T>(T, bool);
    impl<T> Jumpy<T> {
        fn jump(&mut self) -> io::Result<()> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }
    impl<T: Read> Read for Jumpy<T> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.jump()?;
            self.0.read(buf)
        }
    }
    impl<T: Write> Write for Jumpy<T> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.jump()?;
            self.0.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let data = data::bytes(51, 200_000);
    let mut out = Opaque(Jumpy(Vec::new(), false));
    let n = zc_std::copy(&mut Opaque(Jumpy(&data[..], false)), &mut out).unwrap();
    assert_eq!(n, 200_000);
    assert_same(&out.0.0, &data);
}

// ---- Limits -------------------------------------------------------------------------------------

/// The peer stays silent and connected. A copy that asks once more than needed waits for it.
#[test]
fn a_limit_that_is_reached_ends_the_wait() {
    fn check<S: Write, R: AsRawFd>(mut client: S, server: &R)
    where
        for<'a> &'a R: ReadSource,
    {
        let data = data::bytes(52, 100_000);
        for adaptive in [true, false] {
            for len in [1, 5000, 100_000] {
                client.write_all(&data[..len]).unwrap();
                let mut file = files::empty();
                let recorder = hook::record();
                let mut limited = server.take(len as u64);
                let report = copier(adaptive).copy(&mut limited, &mut file).unwrap();
                assert_eq!((report.moved(), limited.limit()), (len as u64, 0));
                calls::assert_stopped_at(&recorder.calls(), server.as_raw_fd(), len as u64);
                assert_same(&files::contents(&file), &data[..len]);
            }
        }
    }
    let _leaks = fds::no_leaks();
    let (client, server) = sockets::tcp_v4();
    server.set_read_timeout(NEVER).unwrap();
    check(client, &server);
    let (client, server) = sockets::unix();
    server.set_read_timeout(NEVER).unwrap();
    check(client, &server);
}

/// A short write under a limit that has just been used up.
#[test]
fn a_limit_reached_with_bytes_in_flight_is_not_the_end() {
    for from in [From::File, From::Unix, From::Pipe, From::Plain] {
        for to in [To::File, To::Unix, To::Pipe, To::Tty, To::Plain] {
            for adaptive in [true, false] {
                let _leaks = fds::no_leaks();
                let mut giver = from.open(data::bytes(53, 50_000));
                let mut taker = to.open();
                let _short = hook::replace(|call| match call.syscall {
                    Syscall::Write => Action::Limit(100),
                    Syscall::Splice if call.len < 50_000 => Action::Limit(call.len.div_ceil(2)),
                    _ => Action::Proceed,
                });
                let mut limited = (&mut giver.source).take(40_000);
                let mut copier = copier(adaptive);
                let report = copier.copy(&mut limited, &mut taker.sink).unwrap();
                assert_eq!((report.moved(), limited.limit()), (40_000, 0), "{from:?} to {to:?}");
                assert_eq!(copier.in_flight(), 0);
                assert_same(&taker.finish().unwrap(), &giver.data[..40_000]);
                assert_same(&giver.rest(), &giver.data[40_000..]);
            }
        }
    }
}

#[test]
fn a_limit_of_zero_makes_no_call() {
    for from in [From::File, From::Tcp4, From::Pipe, From::Tty, From::Plain] {
        for to in [To::File, To::Tcp6, To::Fifo, To::Tty, To::Plain] {
            let _leaks = fds::no_leaks();
            let mut giver = from.open(data::bytes(54, 100));
            let mut taker = to.open();
            let recorder = hook::record();
            let n = zc_std::copy(&mut (&mut giver.source).take(0), &mut taker.sink).unwrap();
            assert_eq!(n, 0);
            assert!(recorder.calls().is_empty(), "{from:?} to {to:?}: {:?}", recorder.calls());
            assert_eq!(taker.finish().unwrap(), b"");
            assert_same(&giver.rest(), &giver.data);
        }
    }
}

// ---- A source that has nothing yet ------------------------------------------------------------------

/// Three pieces with nothing between them. Each copy tells its own count.
fn helpings<W: Write, R: ReadSource>(mut client: W, mut server: R, to: To, adaptive: bool) {
    let data = data::bytes(55, 90_000);
    let mut taker = to.open();
    let mut copier = copier(adaptive);
    let mut limited = (&mut server).take(1_000_000);
    let mut left = 1_000_000;
    for helping in data.chunks(30_000) {
        client.write_all(helping).unwrap();
        // The piece comes in one go, but loopback may be slower than a timeout.
        let mut moved = 0;
        for _ in 0..1000 {
            let error = copier.copy(&mut limited, &mut taker.sink).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{to:?}: {error}");
            assert_eq!(error.waits_for(), Some(Side::Source), "{to:?}: {error:?}");
            assert_eq!(error.moved(), copier.report().moved());
            assert_eq!((error.residue(), copier.in_flight()), (&b""[..], 0));
            moved += error.moved();
            if moved == helping.len() as u64 {
                break;
            }
        }
        assert_eq!(moved, helping.len() as u64, "{to:?}");
        left -= helping.len() as u64;
        assert_eq!(limited.limit(), left, "{to:?}");
    }
    // Nothing at all, twice over.
    for _ in 0..2 {
        let error = copier.copy(&mut limited, &mut taker.sink).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (io::ErrorKind::WouldBlock, 0));
    }
    // `copy` says the same with an `io::Error`.
    let error = zc_std::copy(&mut limited, &mut taker.sink).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(
        CopyError::from_io(&error).unwrap().raw_os_error(),
        Some(Errno::AGAIN.raw_os_error())
    );

    drop(client);
    assert_eq!(copier.copy(&mut limited, &mut taker.sink).unwrap().moved(), 0);
    assert_eq!(limited.limit(), left);
    assert_same(&taker.finish().unwrap(), &data);
}

#[test]
fn a_nonblocking_source_would_block_and_goes_on_later() {
    for to in [To::File, To::Unix, To::Tcp4, To::Plain, To::Tty] {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (client, server) = sockets::unix();
            helpings(client, nonblocking(server), to, adaptive);
            let (reader, writer) = pipes::pipe();
            helpings(writer, nonblocking(reader), to, adaptive);
            let (reader, writer) = pipes::fifo();
            helpings(writer, nonblocking(reader), to, adaptive);
        }
    }
}

/// Two pipes in different modes: each end waits by its own mode.
#[test]
fn a_nonblocking_source_would_block_before_a_blocking_pipe() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let (client, server) = sockets::unix();
        helpings(client, nonblocking(server), To::Pipe, adaptive);
        let (reader, writer) = pipes::pipe();
        helpings(writer, nonblocking(reader), To::Fifo, adaptive);
    }
}

// ---- A sink that takes no more ------------------------------------------------------------------

/// A sink that is never read is filled until it would block. What was taken and not delivered goes first once there
/// is room, even if the source has no more.
fn filled<R: Read + AsFd, W: WriteSink + AsFd>(
    from: From,
    (reader, mut sink): (R, W),
    adaptive: bool,
) {
    let mut giver = from.open(data::bytes(56, 2_000_000));
    let mut copier = copier(adaptive);
    let mut limited = (&mut giver.source).take(1_900_000);

    let error = copier.copy(&mut limited, &mut sink).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{from:?}: {error}");
    assert_eq!(error.waits_for(), Some(Side::Sink), "{from:?}: {error:?}");
    let (moved, in_flight) = (error.moved(), copier.in_flight() as u64);
    assert!(moved > 0, "{from:?}: it took nothing");
    assert_eq!(1_900_000 - limited.limit(), moved + in_flight, "{from:?}: conservation");
    // Another call changes nothing, but for the last page of a full pipe: a splice takes a slot of its own. A write
    // of what is in flight fills the page up (pipe_write, Linux 2.6.11).
    let mut more = 0;
    while more < 4096 {
        let error = copier.copy(&mut limited, &mut sink).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{from:?}");
        let all = moved + more + error.moved() + copier.in_flight() as u64;
        assert_eq!(1_900_000 - limited.limit(), all, "{from:?}");
        if error.moved() == 0 {
            break;
        }
        more += error.moved();
    }
    assert!(more < 4096, "{from:?}: {more}");
    let moved = moved + more;

    // Once there is room, first what is in flight, from a source that has no more …
    let (in_flight, mut got) = (copier.in_flight() as u64, Vec::new());
    let mut reader = nonblocking(reader);
    hear(&mut reader, &mut got);
    let mut first = 0;
    while first < in_flight {
        match copier.copy(&mut io::empty(), &mut sink) {
            Ok(report) => first += report.moved(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => first += error.moved(),
            Err(error) => panic!("{error}"),
        }
        hear(&mut reader, &mut got);
    }
    assert_eq!((first, copier.in_flight()), (in_flight, 0), "{from:?}");
    while (got.len() as u64) < moved + in_flight {
        hear(&mut reader, &mut got);
    }
    assert_same(&got, &giver.data[..(moved + in_flight) as usize]);

    // … and then the rest.
    let mut limited = (&mut giver.source).take(1_900_000 - moved - in_flight);
    loop {
        match copier.copy(&mut limited, &mut sink) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => hear(&mut reader, &mut got),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((limited.limit(), copier.in_flight()), (0, 0));
    drop(sink);
    while got.len() < 1_900_000 {
        hear(&mut reader, &mut got);
    }
    assert_same(&got, &giver.data[..1_900_000]);
    assert_same(&giver.rest(), &giver.data[1_900_000..]);
}

/// The error names the side to wait for. A driver that waits for that side alone never waits in vain, and moves
/// something each time.
#[test]
fn the_end_to_wait_for_is_named() {
    fn relayed<C, S, W, R>((client, source): (C, S), (sink, mut reader): (W, R), adaptive: bool)
    where
        C: Write,
        S: ReadSource + AsFd,
        W: WriteSink + AsFd,
        R: Read,
    {
        let data = data::bytes(59, 3_000_000);
        let (mut client, mut unsent) = (Some(client), &data[..]);
        let (mut copier, mut got) = (copier(adaptive), Vec::new());
        let (mut limited, mut sink) = (source.take(u64::MAX), sink);
        let (mut moved, mut left) = (0, u64::MAX);
        let mut waited_for = None;
        loop {
            let error = match copier.copy(&mut limited, &mut sink) {
                Ok(report) => {
                    moved += report.moved();
                    break;
                }
                Err(error) => error,
            };
            let got_on = error.moved() > 0 || limited.limit() < left;
            // Neither side may be ready; then each is waited for in turn.
            assert!(got_on || waited_for != error.waits_for(), "waited in vain before {error:?}");
            waited_for = error.waits_for();
            left = limited.limit();
            moved += error.moved();
            match error.waits_for() {
                Some(Side::Source) => {
                    // The client writes as much as there is room for, or ends.
                    match client.as_mut().map(|client| client.write(unsent)) {
                        Some(Ok(0)) => client = None,
                        Some(Ok(n)) => unsent = &unsent[n..],
                        other => panic!("{other:?} while the source was empty"),
                    }
                    wait_for(limited.get_ref(), PollFlags::IN);
                }
                Some(Side::Sink) => {
                    let mut some = [0; 150_000];
                    let n = reader.read(&mut some).unwrap();
                    got.extend_from_slice(&some[..n]);
                    // A socket may need more than one read to have room again.
                    hear(&mut reader, &mut got);
                    wait_for(&sink, PollFlags::OUT);
                }
                None => panic!("{error:?}"),
            }
        }
        assert_eq!((moved, copier.in_flight()), (data.len() as u64, 0));
        assert_eq!(limited.limit(), u64::MAX - moved);
        drop(sink);
        while got.len() < data.len() {
            hear(&mut reader, &mut got);
        }
        assert_same(&got, &data);
    }
    fn both<T: AsFd, U: AsFd>((one, other): (T, U)) -> (T, U) {
        (nonblocking(one), nonblocking(other))
    }
    fn swapped<T, U>((one, other): (T, U)) -> (U, T) {
        (other, one)
    }
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        relayed(both(sockets::unix()), both(sockets::unix()), adaptive);
        relayed(both(sockets::unix()), both(sockets::tcp_v4()), adaptive);
        relayed(both(sockets::tcp_v4()), both(sockets::unix()), adaptive);
        relayed(both(sockets::tcp_v4()), swapped(both(pipes::pipe())), adaptive);
        relayed(both(sockets::unix()), swapped(both(pipes::pipe())), adaptive);
        relayed(swapped(both(pipes::pipe())), both(sockets::unix()), adaptive);
        relayed(swapped(both(pipes::pipe())), swapped(both(pipes::pipe())), adaptive);
    }
}

/// Reads what has arrived by now.
fn hear(reader: &mut impl Read, got: &mut Vec<u8>) {
    match reader.read_to_end(got) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
        _ => {}
    }
}

const FILLING: [From; 5] = [From::File, From::Tcp4, From::Unix, From::Pipe, From::Plain];

#[test]
fn a_nonblocking_socket_that_is_full_gets_what_is_in_flight_first() {
    for from in FILLING {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (sink, reader) = sockets::unix();
            filled(from, (reader, nonblocking(sink)), adaptive);
        }
    }
}

/// golang/go#75304 spun here.
#[test]
fn a_nonblocking_pipe_that_is_full_gets_what_is_in_flight_first() {
    for from in FILLING {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (reader, sink) = pipes::pipe();
            filled(from, (reader, nonblocking(sink)), adaptive);
            let (reader, sink) = pipes::fifo();
            filled(from, (reader, nonblocking(sink)), adaptive);
        }
    }
}

#[test]
fn a_send_timeout_keeps_its_meaning() {
    for from in FILLING {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (sink, reader) = sockets::unix();
            sink.set_write_timeout(SOON).unwrap();
            filled(from, (reader, sink), adaptive);
        }
    }
}

/// `copy` is not resumed, so its error has what was in flight.
#[test]
fn the_plain_copy_hands_over_what_was_in_flight() {
    for from in FILLING {
        let _leaks = fds::no_leaks();
        let mut giver = from.open(data::bytes(57, 2_000_000));
        let (mut sink, mut reader) = sockets::unix();
        sink.set_nonblocking(true).unwrap();
        let mut limited = (&mut giver.source).take(u64::MAX);
        let error = zc_std::copy(&mut limited, &mut sink).unwrap_err();
        let left = limited.limit();
        let error = CopyError::from_io(&error).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let residue = error.residue().to_vec();
        assert_eq!(u64::MAX - left, error.moved() + residue.len() as u64, "{from:?}");
        drop(sink);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got.len() as u64, error.moved());
        assert_same(&[got, residue, giver.rest()].concat(), &giver.data);
    }
}

// ---- A timeout of the source --------------------------------------------------------------------

#[test]
fn a_receive_timeout_keeps_its_meaning() {
    for to in [To::File, To::Unix, To::Pipe, To::Plain] {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (client, server) = sockets::tcp_v4();
            server.set_read_timeout(SOON).unwrap();
            helpings(client, server, to, adaptive);
            let (client, server) = sockets::unix();
            server.set_read_timeout(SOON).unwrap();
            helpings(client, server, to, adaptive);
        }
    }
}

// ---- Ends that differ in mode -------------------------------------------------------------------

/// The source is in blocking mode, the sink is not. The kernel takes the sink's mode for the whole call. A copy that
/// does the same spins while the source is silent.
fn copied_while_the_source_pauses<R: ReadSource>(
    client: impl Write + Send + 'static,
    mut source: R,
) {
    let data = data::bytes(58, 30_000);
    let (reader, writer) = pipes::pipe();
    let mut sink = nonblocking(writer);
    let collector = Collector::start(reader);
    let (mut client, pieces) = (client, data.clone());
    let feeder = Feeder::run(move || {
        for piece in pieces.chunks(10_000) {
            std::thread::sleep(Duration::from_millis(30));
            client.write_all(piece)?;
        }
        std::thread::sleep(Duration::from_millis(30));
        Ok(())
    });
    let report = copier(false).copy(&mut source, &mut sink).unwrap();
    assert_eq!(report.moved(), 30_000);
    assert!(report.calls() < 100, "{} calls for three pieces: it spins", report.calls());
    drop(sink);
    assert_same(&collector.finish(), &data);
    feeder.finish().unwrap();
}

#[test]
fn a_source_that_waits_does_not_spin_before_a_nonblocking_pipe() {
    let _leaks = fds::no_leaks();
    let (client, server) = sockets::unix();
    copied_while_the_source_pauses(client, server);
    let (client, server) = sockets::tcp_v4();
    copied_while_the_source_pauses(client, server);
    let (reader, writer) = pipes::pipe();
    copied_while_the_source_pauses(writer, reader);
    let (reader, writer) = pipes::fifo();
    copied_while_the_source_pauses(writer, reader);
}

/// A sink in blocking mode takes everything, from a source in non-blocking mode that always has more.
#[test]
fn a_sink_that_waits_is_waited_for() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(59, 50_000);
        let (mut client, server) = sockets::unix();
        client.write_all(&data).unwrap();
        drop(client);
        let server: UnixStream = nonblocking(server);
        let (reader, mut writer) = pipes::pipe();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        let collector = Collector::start(reader);
        let report = copier(adaptive).copy(&mut &server, &mut writer).unwrap();
        assert_eq!(report.moved(), 50_000);
        assert!(report.calls() < 1000, "{} calls: it spins", report.calls());
        drop(writer);
        assert_same(&collector.finish(), &data);
    }
}
