use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use zc_std::Side;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, PageSharing};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::streams::{Plain, Stream, fill, nonblocking, until_waiting, waiting};
use zc_testkit::wait::is_ready;
use zc_testkit::{fds, files, tool};

/// Every source with every sink, adaptive and not.
fn cells() -> Vec<((Stream, Stream), bool)> {
    pairs(&pairs(&Stream::ALL, &Stream::ALL), &[true, false])
}

/// Fills a socket until poll(2) says that there is no room. That is not yet true: a quarter of a Unix socket's buffer
/// is left, and a third of a TCP socket's. Returns how many bytes went in; `None` if poll saw room until a write
/// failed.
fn fill_in_part(to: &impl std::os::fd::AsFd) -> Option<usize> {
    let mut filled = 0;
    while is_ready(to, PollFlags::OUT) {
        filled += rustix::io::write(to, &[b'.'; 1000]).ok()?;
    }
    Some(filled)
}

/// Without a byte to read a copy waits for the source, whether the sink has room or not.
#[test]
fn with_nothing_to_read_the_source_is_waited_for() {
    apart(|| {
        each(cells(), |&((source, sink), adaptive)| {
            for full in ["not at all", "in part", "to the brim"] {
                let _leaks = fds::no_leaks();
                let ((to, from), (out, _in)) = (source.open(), sink.open());
                let out = nonblocking(out);
                let filled = match full {
                    "in part" => fill_in_part(&out),
                    "to the brim" => Some(fill(&out)),
                    _ => Some(0),
                };
                let Some(filled) = filled else { continue };
                let mut source = Fd::new(nonblocking(from)).unwrap();
                let mut sink = Fd::new(out).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                for _ in 0..2 {
                    let error = copier.copy(&mut source, &mut sink).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{full}: {error}");
                    let side = error.waits_for();
                    assert_eq!(side, Some(Side::Source), "full {full}, by {filled} bytes: {error}");
                    assert_eq!((error.moved(), copier.in_flight()), (0, 0));
                }
                drop(to);
                assert_eq!(copier.copy(&mut source, &mut sink).unwrap().moved(), 0);
            }
        });
    });
}

/// With bytes to read and a full sink a copy waits for the sink.
#[test]
fn with_no_room_the_sink_is_waited_for() {
    apart(|| {
        each(cells(), |&((source, sink), adaptive)| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            let filled = fill(&out);
            let data = data::bytes(1, 50_000);
            rustix::io::write(&to, &data).unwrap();
            until_waiting(&from, data.len());
            let mut source = Fd::new(nonblocking(from)).unwrap();
            let mut sink = Fd::new(nonblocking(out)).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let mut moved = 0;
            for _ in 0..2 {
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                assert_eq!(error.waits_for(), Some(Side::Sink), "{error}");
                moved += error.moved();
            }
            drop(to);
            let collector = Collector::start(Plain(into));
            let how = (Told::ByLevel, Threads::One);
            moved += copy_all(how, &mut copier, &mut source, &mut sink).unwrap();
            drop(sink);
            assert_eq!(moved, data.len() as u64);
            assert_same(&collector.finish()[filled..], &data);
        });
    });
}

/// A socket of which poll(2) says that it has no room still takes bytes. The copy has to deliver them: the peer may
/// wait for the last of them before it reads.
#[test]
fn room_that_poll_does_not_show_is_used() {
    apart(|| {
        let cells = pairs(&pairs(&Stream::ALL, &Stream::SOCKETS), &[true, false]);
        each(cells, |&((source, sink), adaptive)| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            let out = nonblocking(out);
            let Some(filled) = fill_in_part(&out) else { return };
            rustix::io::write(&to, b"the last of it").unwrap();
            until_waiting(&from, 14);
            let mut source = Fd::new(nonblocking(from)).unwrap();
            let mut sink = Fd::new(out).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut sink).unwrap_err();
            assert_eq!(error.waits_for(), Some(Side::Source), "{error}");
            assert_eq!((error.moved(), copier.in_flight()), (14, 0));
            drop((to, sink));
            assert_eq!(&Collector::start(Plain(into)).finish()[filled..], b"the last of it");
        });
    });
}

/// The peer reads nothing before a whole message has come. The event loop of `Copier`'s documentation brings it, in
/// pieces with pauses.
#[test]
fn a_peer_that_wants_it_all_gets_it_all() {
    apart(|| {
        each(cells(), |&((source, sink), adaptive)| {
            if !sink.is_socket() {
                return;
            }
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            // Unix: half of what a socket takes by default, and twice what poll shows. TCP: what fits into the window
            // of a connection that was never read from (Linux 5.10 takes 76,992 bytes in pieces of 4000).
            let data = data::bytes(2, if sink == Stream::Tcp { 60_004 } else { 80_004 });
            // The stream ends once the peer has seen all of it.
            let end = to.try_clone().unwrap();
            thread::scope(|scope| {
                let (data, into) = (&data, &into);
                let peer = scope.spawn(move || {
                    until_waiting(into, data.len());
                    let mut got = vec![0; data.len() + 1];
                    let n = rustix::io::read(into, &mut got).unwrap();
                    got.truncate(n);
                    drop(end);
                    got
                });
                let feeder = scope.spawn(move || {
                    for piece in data.chunks(4000) {
                        rustix::io::write(&to, piece).unwrap();
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                let mut source = Fd::new(nonblocking(from)).unwrap();
                let mut sink = Fd::new(nonblocking(out)).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                let how = (Told::ByLevel, Threads::One);
                let moved = copy_all(how, &mut copier, &mut source, &mut sink).unwrap();
                joined(feeder);
                assert_eq!(moved, data.len() as u64);
                assert_same(&joined(peer), data);
            });
        });
    });
}

/// The tool, with inherited ends in non-blocking mode.
#[test]
fn a_peer_of_the_tool_that_wants_it_all_gets_it_all() {
    apart_with_the_tool(|| {
        each(pairs(&Stream::ALL, &Stream::SOCKETS), |&(source, sink)| {
            let _leaks = fds::no_leaks();
            let ((to, from), (out, into)) = (source.open(), sink.open());
            let data = data::bytes(3, 80_004);
            let copy = tool::copies(nonblocking(from), nonblocking(out));
            for piece in data.chunks(4000) {
                rustix::io::write(&to, piece).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            let mut looks = 0;
            while waiting(&into) < data.len() {
                looks += 1;
                assert!(looks < 3000, "{} bytes of {}", waiting(&into), data.len());
                thread::sleep(Duration::from_millis(1));
            }
            let collector = Collector::start(Plain(into));
            drop(to);
            copy.finish();
            assert_same(&collector.finish(), &data);
        });
    });
}

/// In blocking mode a timeout is the error of the side that it is set on.
#[test]
fn a_timeout_is_the_side_s_that_has_it() {
    apart(|| {
        let soon = Some(Duration::from_millis(20));
        each(pairs(&Stream::SOCKETS, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            for sink in Stream::ALL {
                let ((_to, from), (out, _in)) = (stream.open(), sink.open());
                set_socket_timeout(&from, Timeout::Recv, soon).unwrap();
                if sink.is_socket() {
                    let out = nonblocking(&out);
                    fill_in_part(out);
                    rustix::io::ioctl_fionbio(out, false).unwrap();
                }
                let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(out).unwrap());
                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                assert_eq!(error.waits_for(), Some(Side::Source), "into {sink:?}: {error}");
            }
            for source in Stream::ALL {
                let ((to, from), (out, _in)) = (source.open(), stream.open());
                fill(&out);
                set_socket_timeout(&out, Timeout::Send, soon).unwrap();
                rustix::io::write(&to, b"more").unwrap();
                until_waiting(&from, 4);
                let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(out).unwrap());
                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                assert_eq!(error.waits_for(), Some(Side::Sink), "from {source:?}: {error}");
            }
        });
    });
}

/// A regular file is never "not ready". EAGAIN of a call from one, while the sink takes bytes, means that the call
/// will not do (some file systems in user space).
#[test]
fn a_file_that_says_not_now_is_read() {
    apart(|| {
        let data = data::bytes(4, 1 << 20);
        let sinks = Stream::ALL.map(Some).into_iter().chain([None]);
        let cells: Vec<_> = sinks.flat_map(|sink| [(sink, true), (sink, false)]).collect();
        each(cells, |&(sink, adaptive)| {
            for nonblock in [true, false] {
                let _leaks = fds::no_leaks();
                let file = files::on_disk(&data);
                let from = file.as_raw_fd();
                let guard = hook::replace(move |call| match call.syscall {
                    Syscall::Sendfile | Syscall::CopyFileRange => Action::Fail(11),
                    Syscall::Splice if call.from == Some(from) => Action::Fail(11),
                    _ => Action::Proceed,
                });
                let mut copier = Copier::new().adaptive(adaptive).page_sharing(PageSharing::Always);
                let how = (Told::ByLevel, Threads::One);
                let (moved, got) = match sink {
                    Some(stream) => {
                        let (to, from) = stream.open();
                        let collector = Collector::start(Plain(from));
                        let mut to = Fd::new(if nonblock { nonblocking(to) } else { to }).unwrap();
                        let moved = copy_all(how, &mut copier, &mut &file, &mut to);
                        drop(to);
                        (moved, collector.finish())
                    }
                    None => {
                        let to = files::on_disk(b"");
                        let moved = copy_all(how, &mut copier, &mut &file, &mut &to);
                        (moved, files::contents(&to))
                    }
                };
                drop(guard);
                assert_eq!(moved.unwrap(), data.len() as u64);
                assert_same(&got, &data);
            }
        });
    });
}

/// The same for a file as a sink: EAGAIN of a call into it does not blame the source.
#[test]
fn a_sink_file_that_says_not_now_is_written() {
    apart(|| {
        let data = data::bytes(5, 1 << 20);
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            for nonblock in [true, false] {
                let _leaks = fds::no_leaks();
                let file = files::on_disk(b"");
                let to = file.as_raw_fd();
                let guard = hook::replace(move |call| match call.syscall {
                    Syscall::Splice if call.to == Some(to) => Action::Fail(11),
                    _ => Action::Proceed,
                });
                let (out, from) = stream.open();
                let feeder = zc_testkit::feeder::Feeder::pieces(Plain(out), data.clone(), 40_000);
                let mut source = Fd::new(if nonblock { nonblocking(from) } else { from }).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                let how = (Told::ByLevel, Threads::One);
                let moved = copy_all(how, &mut copier, &mut source, &mut &file);
                drop((guard, source));
                feeder.finish().ok();
                assert_eq!(moved.unwrap(), data.len() as u64);
                assert_same(&files::contents(&file), &data);
            }
        });
    });
}
