use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, Mechanism};
use zc_testkit::apart::apart;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::feeder::Feeder;
use zc_testkit::streams::{Plain, Stream, nonblocking, until_waiting};
use zc_testkit::{fds, files, sockets};

const EINTR: i32 = 4;
/// ENOTSUPP is the kernel's own and not for user space. Some calls answer it all the same.
const ENOTSUPP: i32 = 524;

const CALLS: [&[Syscall]; 3] =
    [&[Syscall::CopyFileRange], &[Syscall::Sendfile], &[Syscall::CopyFileRange, Syscall::Sendfile]];

/// Between regular files no errno of copy_file_range or sendfile is final if the call has moved nothing.
#[test]
fn between_files_no_errno_is_final() {
    apart(|| {
        let data = data::bytes(1, 200_000);
        let errnos = (1..=133).chain([ENOTSUPP]).filter(|&errno| errno != EINTR);
        let cells = pairs(&errnos.collect::<Vec<_>>(), &[true, false]);
        each(cells, |&(errno, adaptive)| {
            for calls in CALLS {
                let _leaks = fds::no_leaks();
                let (from, to) = (files::on_disk(&data), files::on_disk(b""));
                let _hook = hook::replace(move |call| {
                    let fails = calls.contains(&call.syscall)
                        // Where sendfile alone is to fail, copy_file_range fails, too, so that sendfile is reached.
                        || call.syscall == Syscall::CopyFileRange && !adaptive;
                    if fails { Action::Fail(errno) } else { Action::Proceed }
                });
                let report = Copier::new().adaptive(adaptive).copy(&mut &from, &mut &to).unwrap();
                assert_eq!(report.moved(), data.len() as u64);
                assert_eq!((files::position(&from), files::position(&to)), (200_000, 200_000));
                assert_same(&files::contents(&to), &data);
            }
        });
    });
}

/// Errors that a socket keeps until it is asked, and then forgets: of TCP's timers, of ICMP, of a transport layer in
/// the kernel.
const PENDING: [i32; 16] = [
    libc::ETIMEDOUT,
    libc::ECONNRESET,
    libc::ECONNREFUSED,
    libc::ECONNABORTED,
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
    libc::ENETDOWN,
    libc::EHOSTDOWN,
    libc::ENONET,
    libc::EPIPE,
    libc::EPROTO,
    libc::ENOPROTOOPT,
    libc::EMSGSIZE,
    libc::EBADMSG,
    libc::EIO,
    libc::ENOTCONN,
];

/// Each of them at once, and some after this many calls that have moved bytes.
fn when() -> Vec<(i32, u32)> {
    let later = pairs(&[libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::EIO], &[1, 3]);
    PENDING.into_iter().map(|errno| (errno, 0)).chain(later).collect()
}

/// Where a copy from a socket goes, which decides its mechanism.
#[derive(Clone, Copy, Debug)]
enum To {
    File,
    Null,
    Stream(Stream),
}

const SINKS: [To; 6] = [
    To::File,
    To::Null,
    To::Stream(Stream::Tcp),
    To::Stream(Stream::Unix),
    To::Stream(Stream::Pipe),
    To::Stream(Stream::Fifo),
];

impl To {
    fn open(self) -> (OwnedFd, Option<Collector>) {
        match self {
            To::File => (files::on_disk(b"").into(), None),
            To::Null => (File::options().write(true).open("/dev/null").unwrap().into(), None),
            To::Stream(stream) => {
                let (to, from) = stream.open();
                (to, Some(Collector::start(Plain(from))))
            }
        }
    }
}

/// An error that the source tells once is the copy's error. A socket that has told it has ended.
#[test]
fn a_pending_error_of_the_source_is_the_copy_s() {
    apart(|| {
        let modes = pairs(&[true, false], &[true, false]);
        let cells = pairs(&pairs(&Stream::SOCKETS, &SINKS), &modes);
        each(cells, |&((stream, sink), (adaptive, nonblock))| {
            for (errno, after) in when() {
                let _leaks = fds::no_leaks();
                let (to, from) = stream.open();
                let (sink, collector) = sink.open();
                let feeder = Feeder::pieces(Plain(to), vec![1; 100_000], 25_000);
                let fd = from.as_raw_fd();
                let (mut calls, mut told) = (0, 0);
                let guard = hook::replace(move |call| {
                    if call.from != Some(fd) || call.len == 0 {
                        return Action::Proceed;
                    }
                    calls += 1;
                    match calls {
                        _ if calls <= after => Action::Limit(20_000),
                        // A copy that goes on with another call would take this for the end.
                        _ if told == 0 => {
                            told = 1;
                            Action::Fail(errno)
                        }
                        _ => Action::Return(0),
                    }
                });
                let mut source = Fd::new(if nonblock { nonblocking(from) } else { from }).unwrap();
                let mut sink = Fd::new(sink).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                let how = (Told::ByLevel, Threads::One);
                let outcome = copy_all(how, &mut copier, &mut source, &mut sink);
                drop(guard);
                drop((source, sink));
                let got = collector.map(|collector| collector.finish().len() as u64);
                let _ = feeder.finish();
                let said = outcome.as_ref().map_err(ToString::to_string);
                let error = match &outcome {
                    Ok(n) => panic!("errno {errno} after {after} calls: Ok({n})"),
                    Err(error) => error,
                };
                assert_eq!(error.raw_os_error(), Some(errno), "after {after} calls: {said:?}");
                if let Some(got) = got {
                    assert_eq!(error.moved(), got, "delivered, errno {errno} after {after} calls");
                }
            }
        });
    });
}

/// Where a copy into a socket comes from.
#[derive(Clone, Copy, Debug)]
enum From {
    File,
    Stream(Stream),
}

const SOURCES: [From; 5] = [
    From::File,
    From::Stream(Stream::Tcp),
    From::Stream(Stream::Unix),
    From::Stream(Stream::Pipe),
    From::Stream(Stream::Fifo),
];

impl From {
    fn open(self, data: &[u8]) -> (OwnedFd, Option<Feeder>) {
        match self {
            From::File => (files::on_disk(data).into(), None),
            From::Stream(stream) => {
                let (to, from) = stream.open();
                (from, Some(Feeder::pieces(Plain(to), data.to_vec(), 25_000)))
            }
        }
    }
}

/// An error that the sink tells once is the copy's error; the copy does not go on as if there had been none.
#[test]
fn a_pending_error_of_the_sink_is_the_copy_s() {
    apart(|| {
        let modes = pairs(&[true, false], &[true, false]);
        let cells = pairs(&pairs(&SOURCES, &Stream::SOCKETS), &modes);
        each(cells, |&((source, stream), (adaptive, nonblock))| {
            for (errno, after) in when() {
                let _leaks = fds::no_leaks();
                let data = data::bytes(1, 100_000);
                let (source, feeder) = source.open(&data);
                let (to, from) = stream.open();
                let collector = Collector::start(Plain(from));
                let fd = to.as_raw_fd();
                let (mut calls, mut told) = (0, false);
                let guard = hook::replace(move |call| {
                    if call.to != Some(fd) || call.len == 0 || told {
                        return Action::Proceed;
                    }
                    calls += 1;
                    told = calls > after;
                    if told { Action::Fail(errno) } else { Action::Limit(20_000) }
                });
                let mut source = Fd::new(source).unwrap();
                let mut sink = Fd::new(if nonblock { nonblocking(to) } else { to }).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                let how = (Told::ByLevel, Threads::One);
                let outcome = copy_all(how, &mut copier, &mut source, &mut sink);
                drop(guard);
                let in_flight = copier.take_residue();
                drop((source, sink));
                let got = collector.finish();
                let _ = feeder.map(Feeder::finish);
                let error = match outcome {
                    Ok(n) => panic!("errno {errno} after {after} calls: Ok({n})"),
                    Err(error) => error,
                };
                assert_eq!(error.raw_os_error(), Some(errno), "after {after} calls: {error}");
                assert_eq!(error.moved(), got.len() as u64, "delivered");
                let whole = [&got[..], &in_flight].concat();
                assert_same(&whole, &data[..whole.len()]);
            }
        });
    });
}

/// Peers that reset the connection: at once, and with bytes still to be read.
#[test]
fn a_real_reset_of_the_source_is_the_copy_s_error() {
    apart(|| {
        let modes = pairs(&[true, false], &[true, false]);
        each(pairs(&SINKS, &modes), |&(sink, (adaptive, nonblock))| {
            for sent in [0, 100, 50_000] {
                let _leaks = fds::no_leaks();
                let (mut client, server) = sockets::tcp_v4();
                client.write_all(&vec![1; sent]).unwrap();
                until_waiting(&server, sent);
                sockets::reset(client);
                let (sink, collector) = sink.open();
                let mut source = Fd::new(OwnedFd::from(server)).unwrap();
                let mut sink = Fd::new(sink).unwrap();
                if nonblock {
                    nonblocking(source.get_ref());
                }
                let mut copier = Copier::new().adaptive(adaptive);
                let how = (Told::ByLevel, Threads::One);
                let error = copy_all(how, &mut copier, &mut source, &mut sink).unwrap_err();
                drop(sink);
                collector.map(Collector::finish);
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent} sent: {error}");
            }
        });
    });
}

#[test]
fn a_real_reset_of_the_sink_is_the_copy_s_error() {
    apart(|| {
        let modes = pairs(&[true, false], &[true, false]);
        each(pairs(&SOURCES, &modes), |&(source, (adaptive, nonblock))| {
            let _leaks = fds::no_leaks();
            let (source, feeder) = source.open(&[1; 100_000]);
            let (to, from) = sockets::tcp_v4();
            sockets::reset(from);
            let mut source = Fd::new(source).unwrap();
            let mut sink = Fd::new(OwnedFd::from(to)).unwrap();
            if nonblock {
                nonblocking(sink.get_ref());
            }
            let mut copier = Copier::new().adaptive(adaptive);
            let how = (Told::ByLevel, Threads::One);
            let error = copy_all(how, &mut copier, &mut source, &mut sink).unwrap_err();
            let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "{error}");
            assert_eq!(error.moved(), 0);
            drop(source);
            let _ = feeder.map(Feeder::finish);
        });
    });
}

/// What a call refuses, of sockets too, is done by another one, and the report says so.
#[test]
fn what_a_call_cannot_do_is_done_by_another() {
    apart(|| {
        let refusals = [libc::EINVAL, libc::ENOSYS, libc::EPERM];
        each(pairs(&SOURCES, &refusals), |&(source, errno)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(3, 100_000);
            let (source, feeder) = source.open(&data);
            let (to, from) = Stream::Unix.open();
            let collector = Collector::start(Plain(from));
            let guard = hook::replace(move |call| match call.syscall {
                Syscall::Splice | Syscall::Sendfile => Action::Fail(errno),
                _ => Action::Proceed,
            });
            let mut copier = Copier::new().adaptive(false);
            let (mut source, mut sink) = (Fd::new(source).unwrap(), Fd::new(to).unwrap());
            let report = copier.copy(&mut source, &mut sink).unwrap();
            drop(guard);
            drop(sink);
            assert_eq!(report.moved_by(Mechanism::ReadWrite), data.len() as u64);
            assert_same(&collector.finish(), &data);
            let _ = feeder.map(Feeder::finish);
        });
    });
}
