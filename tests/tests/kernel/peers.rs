//! Peers that misbehave: they reset, end one direction, stop reading, or keep silent.

use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, Mechanism, Opaque};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{contents, position};
use zc_testkit::sockets;
use zc_testkit::sockets::Socket;
use zc_testkit::sockets::reset;
use zc_testkit::streams::Stream;
use zc_testkit::{child, files, raw};

const EAGAIN: i32 = 11;
const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const FAR: u64 = 1 << 40;

/// The source is reset. What had arrived before is in the file, or was never given to this process. (TCP discards at
/// a reset what the kernel still held.)
#[test]
fn a_reset_in_mid_transfer_loses_nothing_that_was_taken() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 8 << 20);
    for adaptive in [true, false] {
        let (mut client, server) = sockets::tcp_v4();
        let bytes = sent.clone();
        let feeder = std::thread::spawn(move || {
            client.write_all(&bytes).unwrap();
            reset(client);
        });
        let mut file = files::on_disk(b"");
        let mut source = server.take(FAR);
        let mut copier = Copier::new().adaptive(adaptive);
        let error = copier.copy(&mut source, &mut file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(error.raw_os_error(), Some(ECONNRESET));
        assert!(matches!(error.syscall(), Some("read" | "splice")), "{error}");
        // A file takes all that it is given, so nothing stays in flight.
        assert_eq!(copier.in_flight(), 0);
        assert_eq!((error.moved(), position(&file)), (FAR - source.limit(), error.moved()));
        let moved = usize::try_from(error.moved()).unwrap();
        assert_joined(&sent[..moved], &[("the file", &contents(&file))]);
        feeder.join().unwrap();
    }
}

/// The reset comes before anything was read.
#[test]
fn a_reset_at_once_is_the_copy_s_error() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let (client, mut server) = sockets::tcp_v4();
        reset(client);
        let error = Copier::new().adaptive(adaptive).copy(&mut server, &mut files::on_disk(b""));
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::ConnectionReset, 0));
    }
}

/// The sink goes away in mid-transfer, by a reset or by a plain close with bytes unread, which is a reset, too. The
/// peer has a prefix, and what was not delivered is handed back.
#[test]
fn a_sink_that_goes_away_hands_back_what_it_did_not_take() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 16 << 20);
    for adaptive in [true, false] {
        for from in Stream::SOCKETS {
            for to in Stream::SOCKETS {
                let (source, theirs) = from.sockets();
                let feeder = Feeder::until_refused(theirs, sent.clone());
                let (mut sink, mut peer) = to.sockets();
                let reader = std::thread::spawn(move || {
                    let mut first = vec![0; 1 << 20];
                    peer.read_exact(&mut first).unwrap();
                    if let Socket::Tcp(stream) = peer {
                        reset(stream);
                    }
                    first
                });
                let mut source = source.take(FAR);
                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                let errno = error.raw_os_error();
                assert!(errno == Some(EPIPE) || errno == Some(ECONNRESET), "{error}");
                let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(kinds.contains(&error.kind()));
                assert!(matches!(error.syscall(), Some("splice" | "write")), "{error}");
                assert!(error.moved() >= 1 << 20);
                assert_joined(&sent[..1 << 20], &[("the first MiB", &reader.join().unwrap())]);

                let moved = usize::try_from(error.moved()).unwrap();
                assert_eq!(error.moved() + copier.in_flight() as u64, FAR - source.limit());
                let residue = copier.take_residue();
                let mut rest = Vec::new();
                source.read_to_end(&mut rest).unwrap();
                // What the peer's kernel had accepted is gone with the connection.
                let parts: [(&str, &[u8]); 3] =
                    [("taken by the sink", &sent[..moved]), ("residue", &residue), ("rest", &rest)];
                assert_joined(&sent, &parts);
                feeder.finish().unwrap();
            }
        }
    }
}

/// From a file, by sendfile: the file's offset says what was sent or is handed back.
#[test]
fn a_sink_that_goes_away_under_sendfile_leaves_the_offset_right() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 16 << 20);
    for to in Stream::SOCKETS {
        let source = files::on_disk(&sent);
        let (mut sink, mut peer) = to.sockets();
        let reader = std::thread::spawn(move || {
            let mut first = vec![0; 1 << 20];
            peer.read_exact(&mut first).unwrap();
            if let Socket::Tcp(stream) = peer {
                reset(stream);
            }
        });
        let mut limited = (&source).take(FAR);
        let error = zc_std::copy(&mut limited, &mut sink).unwrap_err();
        let error = CopyError::from_io(&error).unwrap();
        assert!(matches!(error.raw_os_error(), Some(EPIPE | ECONNRESET)), "{error}");
        // What was claimed and not sent is handed back.
        assert!(matches!(error.syscall(), Some("sendfile" | "write")), "{error}");
        let (moved, residue) = (usize::try_from(error.moved()).unwrap(), error.residue());
        assert!(sent[moved..].starts_with(residue));
        let taken = (moved + residue.len()) as u64;
        assert_eq!((position(&source), FAR - limited.limit()), (taken, taken));
        reader.join().unwrap();
    }
}

/// Rust ignores SIGPIPE, so every call into a closed sink fails with `BrokenPipe`.
#[test]
fn a_sink_that_is_closed_already_is_a_broken_pipe() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    for adaptive in [true, false] {
        for from in Stream::SOCKETS {
            let (source, theirs) = from.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let (mut sink, peer) = Stream::Unix.sockets();
            drop(peer);
            let mut source = source.take(FAR);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut sink).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::BrokenPipe, Some(EPIPE)));
            assert_eq!(error.moved(), 0);
            let residue = copier.take_residue();
            assert_eq!(residue.len() as u64, FAR - source.limit());
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_joined(&sent, &[("residue", &residue), ("rest", &rest)]);
            feeder.finish().unwrap();
        }
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let (source, theirs) = Stream::Tcp.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut source = source.take(FAR);
        let mut copier = Copier::new().adaptive(adaptive);
        let error = copier.copy(&mut source, &mut writer).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::BrokenPipe, 0));
        let residue = copier.take_residue();
        assert_eq!(residue.len() as u64, FAR - source.limit());
        let mut rest = Vec::new();
        source.read_to_end(&mut rest).unwrap();
        assert_joined(&sent, &[("residue", &residue), ("rest", &rest)]);
        feeder.finish().unwrap();
    }
}

/// send(2) writes to sockets, and raises no SIGPIPE. So a program that has asked for the default action, which is to
/// die, gets `BrokenPipe`, too.
#[test]
fn a_closed_socket_raises_no_sigpipe() {
    const TEST: &str = "a_closed_socket_raises_no_sigpipe";
    child::run(TEST, "into sockets", || {
        let _leaks = fds::no_leaks();
        raw::default_action(libc::SIGPIPE).unwrap();
        let sent = bytes(0, 5_000);
        for kind in Stream::SOCKETS {
            let closed = || {
                let (sink, peer) = kind.sockets();
                match &sink {
                    Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
                    Socket::Unix(_) => drop(peer),
                }
                sink
            };
            let fails = |error: &CopyError, rest: &[u8]| {
                assert_eq!(
                    (error.kind(), error.raw_os_error()),
                    (ErrorKind::BrokenPipe, Some(EPIPE))
                );
                assert_eq!((error.syscall(), error.moved()), (Some("write"), 0));
                assert_joined(&sent, &[("residue", error.residue()), ("rest", rest)]);
            };
            // From memory: no byte is taken that is not delivered.
            let mut source = &sent[..];
            let error = zc_std::copy(&mut source, &mut closed()).unwrap_err();
            fails(CopyError::from_io(&error).unwrap(), source);
            // Through the fast path of small copies, the ordinary way, and from a source that can only be read.
            for limit in [5_000, FAR] {
                let file = files::on_disk(&sent);
                let error = zc_std::copy(&mut (&file).take(limit), &mut closed()).unwrap_err();
                fails(CopyError::from_io(&error).unwrap(), &[]);
                let mut source = Opaque(&sent[..]).take(limit);
                let error = zc_std::copy(&mut source, &mut closed()).unwrap_err();
                fails(CopyError::from_io(&error).unwrap(), &[]);
            }
        }
    });
    // Proof that the signal is raised: write(2) into a pipe cannot avoid it.
    child::run_until_killed_with(TEST, "into a pipe", &[], libc::SIGPIPE, || {
        raw::default_action(libc::SIGPIPE).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        let _ = zc_std::copy(&mut &b"bytes"[..], &mut writer);
    });
}

/// A half-close: the peer has sent everything, and the other direction still works.
#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for kind in Stream::SOCKETS {
        let (mut ours, theirs) = kind.sockets();
        let (bytes, (done, finished)) = (sent.clone(), mpsc::channel());
        let peer = std::thread::spawn(move || {
            let mut theirs = theirs;
            theirs.write_all(&bytes).unwrap();
            match &theirs {
                Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
                Socket::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            }
            finished.recv().unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).unwrap();
            answer
        });
        let mut file = files::on_disk(b"");
        assert_eq!(zc_std::copy(&mut ours, &mut file).unwrap(), sent.len() as u64);
        assert_joined(&sent, &[("the file", &contents(&file))]);
        done.send(()).unwrap();
        file.rewind().unwrap();
        assert_eq!(zc_std::copy(&mut file, &mut ours).unwrap(), sent.len() as u64);
        drop(ours);
        assert_joined(&sent, &[("the answer", &peer.join().unwrap())]);
    }
}

/// The sink's peer stops reading, and SO_SNDTIMEO is set. Each expiry is `WouldBlock`, and the copy goes on once the
/// peer reads.
#[test]
fn a_peer_that_stops_reading_is_would_block_each_time() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 24 << 20);
    for (to, from_file) in [(Stream::Tcp, false), (Stream::Unix, false), (Stream::Tcp, true)] {
        let (mut sink, peer) = to.sockets();
        sockopt::set_socket_timeout(&sink, Timeout::Send, Some(Duration::from_millis(20))).unwrap();
        let file = files::on_disk(&sent);
        let mut feeder = None;
        let mut source = if from_file {
            Box::new(&file) as Box<dyn zc_std::ReadSource + '_>
        } else {
            let (ours, theirs) = Stream::Tcp.sockets();
            feeder = Some(Feeder::until_refused(theirs, sent.clone()));
            Box::new(ours)
        }
        .take(FAR);

        let mut copier = Copier::new();
        let (mut moved, mut waits, mut peer, mut reader) = (0, 0, Some(peer), None);
        loop {
            let outcome = copier.copy(&mut source, &mut sink);
            moved += copier.report().moved();
            assert_eq!(moved + copier.in_flight() as u64, FAR - source.limit());
            let Err(error) = outcome else { break };
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::WouldBlock, Some(EAGAIN)));
            let call = error.syscall();
            assert!(matches!(call, Some("splice" | "write" | "sendfile")), "{error}");
            waits += 1;
            if waits == 3 {
                reader = peer.take().map(Collector::start);
            }
        }
        assert!(waits >= 3);
        assert_eq!((moved, FAR - source.limit()), (sent.len() as u64, sent.len() as u64));
        drop(sink);
        assert_joined(&sent, &[("what arrived", &reader.unwrap().finish())]);
        if let Some(feeder) = feeder {
            drop(source);
            assert_eq!(feeder.finish().unwrap(), sent.len());
        }
    }
}

/// SO_RCVTIMEO expires before each piece, and the same copier goes on each time.
#[test]
fn a_source_that_keeps_silent_is_would_block_each_time() {
    let _leaks = fds::no_leaks();
    const PIECES: usize = 12;
    for kind in Stream::SOCKETS {
        for (adaptive, piece) in [(true, 1_000), (true, 40_000), (false, 1_000), (false, 40_000)] {
            let sent = bytes(0, PIECES * piece);
            let (ours, mut theirs) = kind.sockets();
            let timeout = Some(Duration::from_millis(10));
            sockopt::set_socket_timeout(ours.as_fd(), Timeout::Recv, timeout).unwrap();
            let mut source = ours.take(FAR);
            let mut file = files::on_disk(b"");
            let mut copier = Copier::new().adaptive(adaptive);
            let mut moved = 0;
            for (i, part) in sent.chunks(piece).enumerate() {
                // The peer is silent at first. The piece that follows arrives within the next timeouts.
                while moved < (i * piece) as u64 || i == 0 {
                    let error = copier.copy(&mut source, &mut file).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert_eq!(error.raw_os_error(), Some(EAGAIN));
                    assert!(matches!(error.syscall(), Some("read" | "splice")), "{error}");
                    moved += error.moved();
                    assert_eq!((moved, copier.in_flight()), (FAR - source.limit(), 0));
                    assert_eq!(position(&file), moved);
                    if i == 0 {
                        break;
                    }
                }
                theirs.write_all(part).unwrap();
            }
            drop(theirs);
            while let Err(error) = copier.copy(&mut source, &mut file) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            }
            assert_eq!(FAR - source.limit(), sent.len() as u64);
            assert_joined(&sent, &[("the file", &contents(&file))]);
        }
    }
}

/// The reset comes while bytes are in flight. They are delivered first; then the copy fails.
#[test]
fn bytes_in_flight_survive_the_reset_of_their_source() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    let (mut client, server) = sockets::tcp_v4();
    client.write_all(&sent).unwrap();
    let mut file = files::on_disk(b"");
    let mut source = server.take(FAR);
    let mut copier = Copier::new().adaptive(false);
    {
        let full = hook::replace(|call| match call.syscall {
            Syscall::Splice if call.len < 200_000 => Action::Fail(28),
            _ => Action::Proceed,
        });
        let error = copier.copy(&mut source, &mut file).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::StorageFull, 0));
        drop(full);
    }
    let in_flight = copier.in_flight() as u64;
    assert!(in_flight > 0 && in_flight == FAR - source.limit());
    reset(client);
    let error = copier.copy(&mut source, &mut file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(error.moved() >= in_flight);
    assert!(copier.report().moved_by(Mechanism::ReadWrite) >= in_flight, "they had left the pipe");
    assert_eq!((error.moved(), copier.in_flight()), (FAR - source.limit(), 0));
    let moved = usize::try_from(error.moved()).unwrap();
    assert_joined(&sent[..moved], &[("the file", &contents(&file))]);
}
