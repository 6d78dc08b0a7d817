//! Sandboxes that deny the zero-copy calls, each one alone and all together: with EPERM (docker), with ENOSYS
//! (systemd), and with EACCES (others). The copy completes by the next mechanism. EACCES at a socket is the
//! exception: it may be the socket's own error, told only once. Then the copy fails, and loses nothing.

use std::io::{Read, Seek, Write};

use zc_std::{Copier, Mechanism, ReadSource, Report, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{self, contents};
use zc_testkit::streams::Stream;
use zc_testkit::{child, raw};

/// Errors of denied calls that are refusals everywhere.
const WAYS: [(&str, i32); 2] = [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS)];

/// One that is a refusal where no socket takes part.
const EACCES: (&str, i32) = ("EACCES", libc::EACCES);

const LEN: usize = 1 << 20;

/// Copies all but the last byte, and asserts that the limit has been used up.
fn copy(source: &mut dyn ReadSource, sink: &mut dyn WriteSink) -> Report {
    let mut limited = source.take(LEN as u64 - 1);
    let report = Copier::new().adaptive(false).copy(&mut limited, sink).unwrap();
    assert_eq!((report.moved(), limited.limit()), (LEN as u64 - 1, 0));
    report
}

/// Makes every copy of the chain table that a denied call could matter to. Returns the name and the report of each.
fn every_copy() -> Vec<(&'static str, Report)> {
    let sent = bytes(0, LEN);
    let wanted = &sent[..LEN - 1];
    let mut reports = Vec::new();
    for kind in Stream::SOCKETS {
        let (mut ours, theirs) = kind.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut file = files::on_disk(b"");
        reports.push(("socket to file", copy(&mut ours, &mut file)));
        assert_joined(wanted, &[("socket to file", &contents(&file))]);
        let mut last = Vec::new();
        ours.read_to_end(&mut last).unwrap();
        assert_eq!(last, sent[LEN - 1..], "no more was taken than the limit says");
        feeder.finish().unwrap();

        let (mut ours, theirs) = kind.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let (mut to, peer) = kind.sockets();
        let reader = Collector::start(peer);
        reports.push(("socket to socket", copy(&mut ours, &mut to)));
        drop((ours, to));
        assert_joined(wanted, &[("socket to socket", &reader.finish())]);
        feeder.finish().unwrap();

        let mut file = files::on_disk(&sent);
        let (mut to, peer) = kind.sockets();
        let reader = Collector::start(peer);
        reports.push(("file to socket", copy(&mut file, &mut to)));
        drop(to);
        assert_joined(wanted, &[("file to socket", &reader.finish())]);
        assert_eq!(file.stream_position().unwrap(), LEN as u64 - 1);
    }
    reports.extend(every_copy_without_a_socket());
    reports
}

fn every_copy_without_a_socket() -> Vec<(&'static str, Report)> {
    let sent = bytes(0, LEN);
    let wanted = &sent[..LEN - 1];
    let mut reports = Vec::new();
    let (mut file, mut to) = (files::on_disk(&sent), files::on_disk(b""));
    reports.push(("file to file", copy(&mut file, &mut to)));
    assert_joined(wanted, &[("file to file", &contents(&to))]);
    assert_eq!(file.stream_position().unwrap(), LEN as u64 - 1);

    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let bytes = sent.clone();
    let feeder = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut to = files::on_disk(b"");
    reports.push(("pipe to file", copy(&mut reader, &mut to)));
    assert_joined(wanted, &[("pipe to file", &contents(&to))]);
    let mut last = Vec::new();
    reader.read_to_end(&mut last).unwrap();
    assert_eq!(last, sent[LEN - 1..]);
    feeder.join().unwrap();
    reports
}

const SPLICE: &[&str] = &["socket to file", "socket to socket", "pipe to file"];

/// Denies `call`. Asserts that the copies in `affected` report it as the refusal of `mechanism`, and move nothing by
/// it.
fn denied(call: libc::c_long, errno: i32, mechanism: Mechanism, affected: &[&str]) {
    let _leaks = fds::no_leaks();
    raw::deny(&[call], errno).unwrap();
    for (name, report) in every_copy() {
        if affected.contains(&name) {
            assert_eq!(report.refused(mechanism), Some(errno), "{name}: {report:?}");
            assert_eq!(report.moved_by(mechanism), 0, "{name}: {report:?}");
        } else {
            assert!(Mechanism::ALL.iter().all(|&m| report.refused(m) != Some(errno)), "{name}");
        }
    }
}

#[test]
fn one_denied_call_is_done_by_the_next_mechanism() {
    for (name, errno) in WAYS {
        let case = |call: &str| format!("{call} {name}");
        let run = |call: &str, body: &dyn Fn()| {
            child::run("one_denied_call_is_done_by_the_next_mechanism", &case(call), body);
        };
        run("splice", &|| denied(libc::SYS_splice, errno, Mechanism::Splice, SPLICE));
        run("copy_file_range", &|| {
            let affected = ["file to file"];
            denied(libc::SYS_copy_file_range, errno, Mechanism::CopyFileRange, &affected);
        });
        run("sendfile", &|| {
            denied(libc::SYS_sendfile, errno, Mechanism::Sendfile, &["file to socket"]);
        });
        // Without a pipe of the engine's own; a copy from a pipe needs none. (std makes its pipe before the filter is
        // installed, so this one is not in `denied`.)
        run("pipe2", &|| {
            let _leaks = fds::no_leaks();
            raw::deny(&[libc::SYS_pipe2], errno).unwrap();
            let sent = bytes(0, LEN);
            for kind in Stream::SOCKETS {
                let (mut ours, theirs) = kind.sockets();
                let feeder = Feeder::until_refused(theirs, sent.clone());
                let mut file = files::on_disk(b"");
                let report = copy(&mut ours, &mut file);
                assert_eq!(report.refused(Mechanism::Splice), Some(errno));
                assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64 - 1);
                assert_joined(&sent[..LEN - 1], &[("socket to file", &contents(&file))]);
                drop(ours);
                feeder.finish().unwrap();
            }
        });
    }
}

#[test]
fn all_denied_calls_are_done_by_read_and_write() {
    for (name, errno) in WAYS {
        child::run("all_denied_calls_are_done_by_read_and_write", name, || {
            let _leaks = fds::no_leaks();
            let calls = [libc::SYS_splice, libc::SYS_copy_file_range, libc::SYS_sendfile];
            raw::deny(&calls, errno).unwrap();
            for (copy, report) in every_copy() {
                let by_hand = report.moved_by(Mechanism::ReadWrite);
                assert_eq!(by_hand, LEN as u64 - 1, "{copy}: {report:?}");
            }
        });
    }
}

#[test]
fn eacces_at_a_socket_fails_and_loses_nothing() {
    let (name, errno) = EACCES;
    child::run("eacces_at_a_socket_fails_and_loses_nothing", name, || {
        let _leaks = fds::no_leaks();
        // The filter stays on this thread. `alone` copies something afterwards.
        let denied = || {
            let calls = [libc::SYS_splice, libc::SYS_copy_file_range, libc::SYS_sendfile];
            raw::deny(&calls, errno).unwrap();
            for (copy, report) in every_copy_without_a_socket() {
                let by_hand = report.moved_by(Mechanism::ReadWrite);
                assert_eq!(by_hand, LEN as u64 - 1, "{copy}: {report:?}");
            }
            // A file that may not be sent: the error names the call, and the file's offset stays.
            let (mut file, (mut to, _peer)) =
                (files::on_disk(&bytes(0, LEN)), Stream::Tcp.sockets());
            let error = Copier::new().copy(&mut file, &mut to).unwrap_err();
            assert_eq!((error.syscall(), error.raw_os_error()), (Some("sendfile"), Some(errno)));
            assert_eq!((error.moved(), file.stream_position().unwrap()), (0, 0));
            // A socket that may not be spliced: what was sent can still be read.
            let (mut ours, mut theirs) = Stream::Tcp.sockets();
            theirs.write_all(b"unread").unwrap();
            drop(theirs);
            let mut copier = Copier::new().adaptive(false);
            let error = copier.copy(&mut ours, &mut files::on_disk(b"")).unwrap_err();
            assert_eq!((error.syscall(), error.raw_os_error()), (Some("splice"), Some(errno)));
            assert_eq!((error.moved(), copier.in_flight()), (0, 0));
            let mut unread = Vec::new();
            ours.read_to_end(&mut unread).unwrap();
            assert_eq!(unread, b"unread");
        };
        std::thread::scope(|scope| scope.spawn(denied).join().unwrap());
    });
}

/// recv reads from sockets and send writes to them. A sandbox may deny these and allow read and write.
#[test]
fn denied_calls_for_sockets_are_done_by_read_and_write() {
    let denied = |calls: &[libc::c_long], errno| {
        let _leaks = fds::no_leaks();
        for kind in Stream::SOCKETS {
            let sent = bytes(0, 5000);
            let (mut ours, theirs) = kind.sockets();
            let (mut to, peer) = kind.sockets();
            let (feeder, reader) =
                (Feeder::until_refused(theirs, sent.clone()), Collector::start(peer));
            let report = std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    raw::deny(calls, errno).unwrap();
                    let mut limited = (&mut ours).take(5000);
                    let report = Copier::new().copy(&mut limited, &mut to).unwrap();
                    (report, limited.limit())
                });
                thread.join().unwrap()
            });
            assert_eq!((report.0.moved(), report.1), (5000, 0));
            drop((ours, to));
            assert_joined(&sent, &[("socket to socket", &reader.finish())]);
            feeder.finish().unwrap();
        }
    };
    for (name, errno) in WAYS {
        let case = |call: &str| format!("{call} {name}");
        let run = |call: &str, calls: &[libc::c_long]| {
            child::run("denied_calls_for_sockets_are_done_by_read_and_write", &case(call), || {
                denied(calls, errno);
            });
        };
        run("recv", &[libc::SYS_recvfrom]);
        run("send", &[libc::SYS_sendto]);
        run("both", &[libc::SYS_recvfrom, libc::SYS_sendto]);
    }
}

/// Also calls that only ask (statx, fstat, fcntl, poll) may be denied.
#[test]
fn denied_calls_that_ask_change_no_byte() {
    for (name, errno) in WAYS.into_iter().chain([EACCES]) {
        child::run("denied_calls_that_ask_change_no_byte", name, || {
            let _leaks = fds::no_leaks();
            let sent = bytes(0, LEN);
            let (mut ours, theirs) = Stream::Tcp.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let (mut file, mut copied) = (files::on_disk(b""), files::on_disk(b""));
            let denied = std::thread::scope(|scope| {
                // The filter stays on this thread. `alone` lists descriptors afterwards.
                let thread = scope.spawn(|| {
                    let calls = [libc::SYS_statx, libc::SYS_fstat, libc::SYS_fcntl, libc::SYS_poll];
                    raw::deny(&calls, errno).unwrap();
                    let report = copy(&mut ours, &mut file);
                    file.rewind().unwrap();
                    let copied = Copier::new().copy(&mut file, &mut copied).unwrap();
                    (report, copied)
                });
                thread.join().unwrap()
            });
            assert_eq!(denied.0.moved_by(Mechanism::ReadWrite), LEN as u64 - 1, "{denied:?}");
            assert_eq!(denied.1.moved(), LEN as u64 - 1);
            assert_joined(&sent[..LEN - 1], &[("socket to file", &contents(&file))]);
            assert_joined(&sent[..LEN - 1], &[("file to file", &contents(&copied))]);
            drop(ours);
            feeder.finish().unwrap();
        });
    }
}
