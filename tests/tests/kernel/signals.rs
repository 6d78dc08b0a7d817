//! Copies under a storm of signals whose handler does not restart calls.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Duration;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Report, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::files::contents;
use zc_testkit::raw::Storm;
use zc_testkit::streams::Stream;

const EINTR: i32 = 4;

/// What is sent, piece by piece with pauses, so that the copy waits and is interrupted.
const PIECES: usize = 40;
const PIECE: usize = 50_000;

/// Makes a copy under a storm, from a peer that sends slowly. Asserts that calls were interrupted, and that the copy
/// shows nothing of it.
fn storm(kind: Stream, adaptive: bool, sink: &mut dyn WriteSink) -> (Report, Vec<u8>) {
    let sent = bytes(0, PIECES * PIECE);
    let (ours, mut theirs) = kind.sockets();
    let bytes = sent.clone();
    let feeder = std::thread::spawn(move || {
        for piece in bytes.chunks(PIECE) {
            theirs.write_all(piece).unwrap();
            // Waits until the copying thread has had some more signals: it waits for this peer by then.
            let before = Storm::strikes();
            while Storm::strikes() < before + 5 {
                std::thread::yield_now();
            }
        }
    });
    let mut source = ours.take(sent.len() as u64 + 1);
    let record = hook::record();
    let storm = Storm::every(Duration::from_micros(200)).unwrap();
    let report = Copier::new().adaptive(adaptive).copy(&mut source, sink).unwrap();
    drop(storm);
    feeder.join().unwrap();
    let interrupted = record.calls().iter().filter(|call| call.result == Err(EINTR)).count();
    assert!(interrupted > 0, "not one call was interrupted");
    assert_eq!((report.moved(), source.limit()), (sent.len() as u64, 1));
    assert_eq!(report.calls() as usize, record.calls().len(), "interrupted calls count too");
    (report, sent)
}

#[test]
fn socket_to_file_loses_nothing_under_a_storm() {
    let _leaks = fds::no_leaks();
    for kind in Stream::SOCKETS {
        for adaptive in [true, false] {
            let mut file = tempfile::tempfile().unwrap();
            let (_, sent) = storm(kind, adaptive, &mut file);
            assert_joined(&sent, &[("the file", &contents(&file))]);
        }
    }
}

#[test]
fn socket_to_socket_loses_nothing_under_a_storm() {
    let _leaks = fds::no_leaks();
    for kind in Stream::SOCKETS {
        for adaptive in [true, false] {
            let (mut to, peer) = kind.sockets();
            let reader = Collector::start(peer);
            let (_, sent) = storm(kind, adaptive, &mut to);
            drop(to);
            assert_joined(&sent, &[("what arrived", &reader.finish())]);
        }
    }
}

/// The sink is full most of the time, so that calls on its side are interrupted, too, some of them after having moved
/// a part.
#[test]
fn file_to_slow_socket_loses_nothing_under_a_storm() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 4 << 20);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&sent).unwrap();
    for kind in Stream::SOCKETS {
        file.rewind().unwrap();
        let (mut to, mut peer) = kind.sockets();
        let reader = std::thread::spawn(move || {
            let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
            loop {
                let before = Storm::strikes();
                while all.len() < 3 << 20 && Storm::strikes() < before + 3 {
                    std::thread::yield_now();
                }
                match peer.read(&mut piece).unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&piece[..n]),
                }
            }
        });
        let record = hook::record();
        let storm = Storm::every(Duration::from_micros(200)).unwrap();
        let report = Copier::new().copy(&mut file, &mut to).unwrap();
        drop(to);
        // The reader reads at the pace of the signals.
        assert_joined(&sent, &[("what arrived", &reader.join().unwrap())]);
        drop(storm);
        assert_eq!(report.moved(), sent.len() as u64);
        let sendfiles = record.calls_to(Syscall::Sendfile);
        let cut_short = |call: &&hook::Record| call.result == Err(EINTR) || call.moved() < 4 << 20;
        assert!(sendfiles.iter().filter(cut_short).count() > 1, "{sendfiles:?}");
    }
}

#[test]
fn file_to_file_and_pipe_lose_nothing_under_a_storm() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 24 << 20);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&sent).unwrap();
    file.rewind().unwrap();
    let before = Storm::strikes();
    let _storm = Storm::every(Duration::from_micros(100)).unwrap();
    let mut copy: File = tempfile::tempfile().unwrap();
    let report = Copier::new().copy(&mut file, &mut copy).unwrap();
    assert_eq!(report.moved(), sent.len() as u64);

    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let bytes = sent.clone();
    let feeder = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut through = tempfile::tempfile().unwrap();
    let report = Copier::new().copy(&mut reader, &mut through).unwrap();
    assert_eq!(report.moved(), sent.len() as u64);
    assert!(Storm::strikes() > before);
    feeder.join().unwrap();
    assert_joined(&sent, &[("the copy", &contents(&copy))]);
    assert_joined(&sent, &[("what went through a pipe", &contents(&through))]);
}
