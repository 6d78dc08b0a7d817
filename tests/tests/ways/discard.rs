//! Copies into nowhere: into the null device and into `std::io::sink()`.
//!
//! `ways/chain_table.rs` has each kind of source into them, and the calls.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use zc_std::hook::{self, Action, Recorder, Syscall};
use zc_std::{
    Copier, CopyError, Fd, Mechanism, Options, PollFd, Progress, ReadSource, Side, Source,
    Upstream, WriteSink,
};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::feeder::Feeder;
use zc_testkit::wait::{eventually, wait_for};
use zc_testkit::{calls, fds, pipes, raw, sockets};

const NOWHERE: [To; 2] = [To::Null, To::Sink];

/// Adaptive, and discarding from the first byte on.
const ADAPTIVE: [bool; 2] = [true, false];

fn copier(adaptive: bool) -> Copier {
    Copier::new().adaptive(adaptive)
}

/// The calls since the last look.
fn names(recorder: &Recorder) -> Vec<Syscall> {
    let names = calls::names(&recorder.calls());
    recorder.clear();
    names
}

/// A connection on which all of `data` has arrived.
fn arrived(data: &[u8]) -> (TcpStream, TcpStream) {
    let (mut client, server) = sockets::tcp_v4();
    client.write_all(data).unwrap();
    eventually("it arrives", || rustix::io::ioctl_fionread(&server).unwrap() == data.len() as u64);
    (client, server)
}

// ---- What there is to wait for ------------------------------------------------------------------

/// Some bytes, then none for the time being, then the rest.
#[test]
fn a_source_with_nothing_to_give_now_says_so() {
    fn check<W: Write>((mut client, mut server): (W, impl ReadSource + std::os::fd::AsFd)) {
        rustix::io::ioctl_fionbio(&server, true).unwrap();
        let mut left = 1 << 40;
        for to in NOWHERE {
            for adaptive in ADAPTIVE {
                let (mut taker, mut copier) = (to.open(), copier(adaptive));
                for len in [1, 30_000, 40_000] {
                    client.write_all(&data::bytes(1, len)).unwrap();
                    let mut moved = 0;
                    while moved < len as u64 {
                        wait_for(&server, PollFlags::IN);
                        let mut limited = (&mut server).take(left);
                        let error = copier.resume(&mut limited, &mut taker.sink).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{to:?}: {error}");
                        assert_eq!(error.waits_for(), Some(Side::Source), "{to:?}: {error}");
                        assert_eq!(copier.in_flight(), 0, "{to:?}");
                        moved += error.moved();
                        left -= error.moved();
                        assert_eq!(limited.limit(), left, "{to:?}");
                    }
                    assert_eq!(moved, len as u64, "{to:?}");
                }
            }
        }
        drop(client);
        assert_eq!(copier(true).copy(&mut server, &mut io::sink()).unwrap().moved(), 0);
    }
    let _leaks = fds::no_leaks();
    check(sockets::tcp_v4());
    check(sockets::unix());
    let (reader, writer) = pipes::pipe();
    check((writer, reader));
}

#[test]
fn a_socket_s_timeout_is_told_once_it_is_over() {
    for to in NOWHERE {
        for adaptive in ADAPTIVE {
            let _leaks = fds::no_leaks();
            let (_client, server) = arrived(&data::bytes(2, 40_000));
            server.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let (mut taker, mut copier) = (to.open(), copier(adaptive));
            let mut limited = (&server).take(1 << 40);
            let recorder = hook::record();
            let error = copier.copy(&mut limited, &mut taker.sink).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::WouldBlock, 40_000));
            assert_eq!((error.waits_for(), error.syscall()), (Some(Side::Source), Some("recv")));
            assert_eq!(limited.limit(), (1 << 40) - 40_000);
            let waits = recorder.calls();
            let again = Err(Errno::AGAIN.raw_os_error());
            assert_eq!(waits.iter().filter(|call| call.result == again).count(), 1, "{waits:?}");
        }
    }
}

/// The urgent byte is no part of the stream, and holds back no byte behind it.
#[test]
fn urgent_data_is_got_past() {
    const SIDE: usize = 30_000;
    for to in NOWHERE {
        for (adaptive, nonblocking) in [(true, true), (true, false), (false, true), (false, false)]
        {
            let _leaks = fds::no_leaks();
            let data = data::bytes(3, 2 * SIDE);
            let (mut client, server) = sockets::tcp_v4();
            client.write_all(&data[..SIDE]).unwrap();
            assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
            client.write_all(&data[SIDE..]).unwrap();
            drop(client);
            server.set_nonblocking(nonblocking).unwrap();
            let (mut taker, mut copier) = (to.open(), copier(adaptive));
            let (mut moved, mut waits) = (0, 0);
            loop {
                match copier.resume(&mut &server, &mut taker.sink) {
                    Ok(report) => break moved += report.moved(),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                        moved += error.moved();
                        wait_for(&server, PollFlags::IN);
                    }
                }
                waits += 1;
                assert!(waits < 1000, "told to wait for bytes that are there");
            }
            assert_eq!(moved, data.len() as u64, "{to:?} {adaptive} {nonblocking}");
        }
    }
}

// ---- How much, and by how many calls ------------------------------------------------------------

/// A copy of a few bytes asks nothing. Where only the kernel knows that the sink keeps nothing, they are written.
#[test]
fn a_frame_is_one_call() {
    use Syscall::{Discard, Read, Write as Written};
    for len in [1, 100, 4096, 64 * 1024] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(4, len);
        let recorder = hook::record();
        let frame = |source: &mut dyn ReadSource, sink: &mut dyn WriteSink, calls: &[Syscall]| {
            recorder.clear();
            let mut frame = source.take(len as u64);
            assert_eq!(zc_std::copy(&mut frame, sink).unwrap(), len as u64);
            assert_eq!((frame.limit(), names(&recorder)), (0, calls.to_vec()), "{len}");
        };
        let mut null = File::options().write(true).open("/dev/null").unwrap();
        for _ in 0..3 {
            let (_client, mut server) = arrived(&data);
            frame(&mut server, &mut io::sink(), &[Discard]);
            let (_client, server) = arrived(&data);
            frame(&mut Fd::new(server).unwrap(), &mut io::sink(), &[Discard]);
            let (_client, mut server) = arrived(&data);
            frame(&mut server, &mut null, &[Read, Written]);
            let (mut client, mut server) = sockets::unix();
            client.write_all(&data).unwrap();
            frame(&mut server, &mut io::sink(), &[Read]);
            client.write_all(&data).unwrap();
            frame(&mut server, &mut null, &[Read, Written]);
            let (mut reader, mut writer) = pipes::pipe();
            writer.write_all(&data).unwrap();
            frame(&mut reader, &mut io::sink(), &[Read]);
        }

        // The same for a sink that is known by its type.
        let (_client, mut server) = arrived(&data);
        recorder.clear();
        let mut frame = (&mut server).take(len as u64);
        assert_eq!(zc_std::copy(&mut frame, &mut io::sink()).unwrap(), len as u64);
        assert_eq!((frame.limit(), names(&recorder)), (0, vec![Discard]));
    }
}

/// A layer that says of a socket at which offset to read it. Nowhere does it get less of an error than elsewhere.
struct AtOffset<'a>(&'a TcpStream);

impl Read for AtOffset<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::NotSeekable.into())
    }
}

impl Source for AtOffset<'_> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd_at(PollFd::of(self.0), 0)
    }
}

#[test]
fn a_socket_at_an_offset_is_not_drained() {
    for (adaptive, limit) in [(true, 3), (true, u64::MAX), (false, u64::MAX)] {
        let _leaks = fds::no_leaks();
        let (_client, server) = arrived(b"stays");
        let mut source = AtOffset(&server).take(limit);
        let error = copier(adaptive).copy(&mut source, &mut io::sink()).unwrap_err();
        assert_eq!((error.kind(), source.limit()), (ErrorKind::NotSeekable, limit));
        let error = zc_std::copy(&mut source, &mut io::sink()).unwrap_err();
        assert_eq!((error.kind(), source.limit()), (ErrorKind::NotSeekable, limit));
        assert_eq!(rustix::io::ioctl_fionread(&server).unwrap(), 5);
    }
}

/// Not one byte behind the limit is dropped.
#[test]
fn a_limit_is_kept() {
    for to in NOWHERE {
        for adaptive in ADAPTIVE {
            for limit in [1, 4095, 65_536, 65_537, 300_000] {
                let _leaks = fds::no_leaks();
                let data = data::bytes(5, 310_000);
                let (client, mut server) = sockets::tcp_v4();
                let feeder = Feeder::pieces(client, data.clone(), 50_000);
                let mut limited = (&mut server).take(limit);
                let report = copier(adaptive).copy(&mut limited, &mut to.open().sink).unwrap();
                assert_eq!((report.moved(), limited.limit()), (limit, 0));
                let rest = Collector::start(server).finish();
                assert_same(&rest, &data[usize::try_from(limit).unwrap()..]);
                feeder.finish().unwrap();
            }
        }
    }
}

/// What was asked once is not asked again. Once the source has ended, nothing is.
#[test]
fn a_long_copy_is_little_more_than_its_discards() {
    for to in NOWHERE {
        let _leaks = fds::no_leaks();
        let (client, mut server) = sockets::tcp_v4();
        let feeder = Feeder::pieces(client, data::bytes(6, 8 << 20), 1 << 20);
        let mut taker = to.open();
        let recorder = hook::record();
        let report = copier(false).copy(&mut server, &mut taker.sink).unwrap();
        assert_eq!(report.moved_by(Mechanism::Discard), 8 << 20, "{report:?}");
        assert_eq!(report.mechanism(), Some(Mechanism::Discard));
        let calls = recorder.calls();
        assert_eq!(report.calls(), calls.len() as u64);
        let others = calls.iter().filter(|call| call.call.syscall != Syscall::Discard).count();
        // What the sink is, and how it is open; what protocol the source speaks, in two calls; and what that carries.
        assert_eq!(others, if to == To::Null { 5 } else { 3 }, "{calls:?}");
        assert_eq!(calls.last().unwrap().result, Ok(0));
        feeder.finish().unwrap();
    }
}

#[test]
fn a_copier_that_is_told_not_to_discard_moves_the_bytes() {
    for (to, by) in [(To::Null, Mechanism::Splice), (To::Sink, Mechanism::ReadWrite)] {
        let _leaks = fds::no_leaks();
        let (client, mut server) = sockets::tcp_v4();
        let feeder = Feeder::pieces(client, data::bytes(14, 1 << 20), 60_000);
        let mut options = Options::default();
        (options.discard, options.adaptive) = (false, false);
        let report = Copier::with_options(options).copy(&mut server, &mut to.open().sink).unwrap();
        assert_eq!((report.moved(), report.moved_by(by)), (1 << 20, 1 << 20), "{report:?}");
        assert!(!report.tried(Mechanism::Discard));
        feeder.finish().unwrap();
    }
}

/// Bytes in memory need no call, and every layer hears of all bytes.
#[test]
fn layers_are_told_and_what_they_hold_goes_first() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(7, 200_000);
    let (client, server) = sockets::tcp_v4();
    let feeder = Feeder::pieces(client, data, 30_000);
    let mut source = BufReader::with_capacity(5000, server);
    assert!(!source.fill_buf().unwrap().is_empty());
    let (mut taken, mut given) = (0, 0);
    let mut inner = BufWriter::new(io::sink());
    inner.write_all(b"held back").unwrap();
    let mut sink = Progress::new(inner, |n| given += n);
    let mut limited = Progress::new(source.take(150_000), |n| taken += n);
    let mut copier = Copier::with_residue(b"in flight".to_vec());
    let report = copier.copy(&mut limited, &mut sink).unwrap();
    assert_eq!((report.moved(), copier.in_flight()), (150_009, 0));
    drop((limited, sink));
    assert_eq!((taken, given), (150_000, 150_009));
    feeder.finish().unwrap();
}

// ---- What goes wrong -------------------------------------------------------------------------------

/// A socket tells of its error once. The next call would answer an end.
#[test]
fn a_reset_is_an_error_and_final() {
    for to in NOWHERE {
        for adaptive in ADAPTIVE {
            let _leaks = fds::no_leaks();
            let (mut client, server) = sockets::tcp_v4();
            let mut taker = to.open();
            let mut copier = copier(adaptive);
            let recorder = hook::record();
            client.write_all(&data::bytes(8, 50_000)).unwrap();
            let mut limited = (&server).take(1 << 40);
            let mut first = (&mut limited).take(20_000);
            assert_eq!(copier.copy(&mut first, &mut taker.sink).unwrap().moved(), 20_000);
            sockets::reset(client);
            let error = copier.copy(&mut limited, &mut taker.sink).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            assert_eq!(error.side(), Some(Side::Source), "{error}");
            let calls = recorder.calls();
            assert_eq!(calls.last().unwrap().result, Err(Errno::CONNRESET.raw_os_error()));
            assert_eq!(limited.limit(), (1 << 40) - 20_000 - error.moved());
        }
    }
}

/// Under another protocol of the kernel's, such as TLS, the bytes of the connection are not those of the stream, and
/// so are not discarded.
#[test]
fn a_connection_that_carries_a_protocol_is_not_discarded() {
    // The third question is which protocol the connection carries. Without an answer the copy does not know.
    let carrying = [Action::Return(0), Action::Fail(libc::EINVAL), Action::Fail(libc::EPERM)];
    let none = [Action::Proceed, Action::Fail(libc::ENOPROTOOPT)];
    for to in NOWHERE {
        for (answers, discards) in [(&carrying[..], false), (&none[..], true)] {
            for &answer in answers {
                let _leaks = fds::no_leaks();
                let (client, mut server) = sockets::tcp_v4();
                let feeder = Feeder::pieces(client, data::bytes(9, 500_000), 60_000);
                let (fd, mut asked) = (server.as_raw_fd(), 0);
                let _hook = hook::replace(move |call| {
                    if call.syscall != Syscall::GetSockOpt || call.from != Some(fd) {
                        return Action::Proceed;
                    }
                    asked += 1;
                    if asked == 3 { answer } else { Action::Proceed }
                });
                let mut taker = to.open();
                let report = copier(false).copy(&mut server, &mut taker.sink).unwrap();
                assert_eq!(report.moved(), 500_000);
                let discarded = report.moved_by(Mechanism::Discard);
                assert_eq!(discarded, if discards { 500_000 } else { 0 }, "{to:?}: {report:?}");
                assert_eq!(report.tried(Mechanism::Discard), discards);
                feeder.finish().unwrap();
            }
        }
    }
}

/// Another call goes on at the same byte, wherever the refusal comes.
#[test]
fn a_refusal_in_the_middle_loses_nothing() {
    for to in NOWHERE {
        for adaptive in ADAPTIVE {
            for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL, libc::ENOTSOCK] {
                let _leaks = fds::no_leaks();
                let (client, mut server) = sockets::tcp_v4();
                let feeder = Feeder::pieces(client, data::bytes(10, 500_000), 60_000);
                let mut discards = 0;
                let _hook = hook::replace(move |call| {
                    discards += usize::from(call.syscall == Syscall::Discard);
                    match call.syscall {
                        Syscall::Discard if discards > 1 => Action::Fail(errno),
                        Syscall::Discard => Action::Limit(1000),
                        _ => Action::Proceed,
                    }
                });
                let mut limited = (&mut server).take(400_000);
                let report = copier(adaptive).copy(&mut limited, &mut to.open().sink).unwrap();
                assert_eq!((report.moved(), limited.limit()), (400_000, 0), "{to:?} {errno}");
                assert_eq!(report.moved_by(Mechanism::Discard), 1000, "{report:?}");
                assert_eq!(report.refused(Mechanism::Discard), Some(errno), "{report:?}");
                let rest = Collector::start(server).finish();
                assert_eq!(rest.len(), 100_000);
                feeder.finish().unwrap();
            }
        }
    }
}

/// A real sandbox, which allows read(2) alone.
#[test]
fn without_recv_it_is_read() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        for to in NOWHERE {
            for limit in [1000, 400_000] {
                let _leaks = fds::no_leaks();
                let data = data::bytes(11, 500_000);
                let (client, mut server) = sockets::tcp_v4();
                let feeder = Feeder::pieces(client, data.clone(), 60_000);
                let moved = std::thread::scope(|scope| {
                    // The filter stays on this thread.
                    let thread = scope.spawn(|| {
                        raw::deny(&[libc::SYS_recvfrom], errno).unwrap();
                        let mut limited = (&mut server).take(limit);
                        let moved = zc_std::copy(&mut limited, &mut to.open().sink).unwrap();
                        (moved, limited.limit())
                    });
                    thread.join().unwrap()
                });
                assert_eq!(moved, (limit, 0), "{to:?}");
                let rest = Collector::start(server).finish();
                assert_same(&rest, &data[usize::try_from(limit).unwrap()..]);
                feeder.finish().unwrap();
            }
        }
    }
}

/// Another reader takes bytes meanwhile, and no byte is read twice.
#[test]
fn another_reader_of_the_socket_gets_its_own() {
    for to in NOWHERE {
        let _leaks = fds::no_leaks();
        let (client, mut server) = sockets::tcp_v4();
        let feeder = Feeder::pieces(client, data::bytes(12, 1 << 20), 60_000);
        let other = server.try_clone().unwrap();
        let theirs = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = std::rc::Rc::clone(&theirs);
        let hook = hook::replace(move |call| {
            // The first time there is more to come, perhaps not at once.
            let flags = if count.get() == 0 { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            if call.syscall == Syscall::Discard
                && let Ok((_, n)) = recv(&other, &mut [0; 1000][..], flags)
            {
                count.set(count.get() + n as u64);
            }
            Action::Proceed
        });
        let report = copier(false).copy(&mut server, &mut to.open().sink).unwrap();
        drop(hook);
        assert!(theirs.get() > 0);
        assert_eq!(report.moved() + theirs.get(), 1 << 20);
        feeder.finish().unwrap();
    }
}

/// EBADF would be the error of a write that is not made.
#[test]
fn the_null_device_open_for_reading_takes_nothing() {
    for from in [From::Tcp4, From::Tcp6] {
        let _leaks = fds::no_leaks();
        let mut giver = from.open(data::bytes(13, 100_000));
        let mut sink = File::open("/dev/null").unwrap();
        let error = zc_std::copy(&mut giver.source, &mut sink).unwrap_err();
        let error = CopyError::from_io(&error).unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!((error.moved(), error.syscall()), (0, Some("write")));
        let residue = error.residue().to_vec();
        assert_same(&[residue, giver.rest()].concat(), &giver.data);

        // Long enough for a plan.
        let mut giver = from.open(data::bytes(13, 100_000));
        let recorder = hook::record();
        let mut copier = copier(false);
        let error = copier.copy(&mut giver.source, &mut sink).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert!(recorder.calls_to(Syscall::Discard).is_empty());
        assert_same(&[copier.take_residue(), giver.rest()].concat(), &giver.data);
    }
}
