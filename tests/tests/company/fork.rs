use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl};
use zc_std::Side;
use zc_std::hook::{self, Action};
use zc_std::{Copier, Fd, PageSharing, pool};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::feeder::Feeder;
use zc_testkit::forked::forked;
use zc_testkit::streams::{Plain, Stream, narrow, nonblocking};
use zc_testkit::{fds, files, sockets, tool};

/// A whole copy by splice, from one Unix socket into another.
fn one_copy(len: usize) {
    let ((mut client, stream), (to, mut server)) = (sockets::unix(), sockets::unix());
    let sent = vec![7; len];
    client.write_all(&sent).unwrap();
    drop(client);
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut &to).unwrap();
    assert_eq!(report.moved(), len as u64);
    drop(to);
    let mut got = Vec::new();
    server.read_to_end(&mut got).unwrap();
    assert_same(&got, &sent);
}

/// The child copies while other threads of the parent use the pool of pipes at the moment of the fork.
#[test]
fn a_child_copies_while_other_threads_copy() {
    apart(|| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 0..3 {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        // Most threads only look at the pool: the work of a copy is mostly elsewhere.
                        if thread == 0 {
                            one_copy(100);
                        } else {
                            assert!(pool::idle() <= pool::MAX_IDLE);
                        }
                    }
                });
            }
            let mut outcome = Ok(());
            for _ in 0..100 {
                outcome = outcome.and_then(|()| forked(|| one_copy(60_000)).finish());
            }
            stop.store(true, Ordering::Relaxed);
            outcome.unwrap();
        });
    });
}

/// Parent and child both have the pool's idle pipes, and use their own ones.
#[test]
fn a_child_takes_no_idle_pipe_of_its_parent() {
    apart(|| {
        for _ in 0..20 {
            one_copy(60_000);
            let children = [(); 3].map(|()| forked(|| (0..20).for_each(|_| one_copy(60_000))));
            (0..20).for_each(|_| one_copy(60_000));
            children.into_iter().for_each(|child| child.finish().unwrap());
        }
    });
}

/// Where bytes in flight are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    InAPipe,
    InMemory,
}

/// What is in flight at a fork is the parent's. The child's copy fails with an error that says so and moves nothing,
/// and the parent delivers the bytes.
#[test]
fn bytes_in_flight_stay_the_parent_s() {
    apart(|| {
        let cells = pairs(&pairs(&Stream::ALL, &Stream::ALL), &[Held::InAPipe, Held::InMemory]);
        each(cells, |&((source, sink), held)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(1, 600_000);
            let ((to, from), (out, into)) = (source.open(), sink.open());
            narrow(&out);
            let feeder = Feeder::pieces(Plain(to), data.clone(), 40_000);
            let mut source = Fd::new(nonblocking(from)).unwrap();
            let mut sink = Fd::new(nonblocking(out)).unwrap();
            let mut copier = Copier::new().adaptive(held == Held::InMemory);
            let mut moved = 0;
            for _ in 0..1000 {
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                moved += error.moved();
                if copier.in_flight() > 0 || error.waits_for() == Some(Side::Sink) {
                    break;
                }
                zc_testkit::wait::wait_for(source.get_ref(), rustix::event::PollFlags::IN);
            }
            let in_flight = copier.in_flight();
            if in_flight == 0 {
                // From pipe to pipe no byte need ever be in flight; then the child has nothing to refuse.
                drop((source, sink));
                let _ = feeder.finish();
                return;
            }
            let child = forked(|| {
                for _ in 0..2 {
                    let error = copier.copy(&mut source, &mut sink).unwrap_err();
                    assert_eq!((error.waits_for(), error.moved()), (None, 0), "{error}");
                    let said = error.to_string().to_lowercase();
                    assert!(said.contains("fork"), "it says: {error}");
                }
                // Whatever this returns in the child, the parent still has all of it.
                copier.take_residue();
                // A new copy in the child has nothing to do with the parent's.
                one_copy(60_000);
            });
            let outcome = child.finish();

            let collector = Collector::start(Plain(into));
            let how = (Told::ByLevel, Threads::One);
            moved += copy_all(how, &mut copier, &mut source, &mut sink).unwrap();
            drop((sink, source));
            feeder.finish().unwrap();
            assert_same(&collector.finish(), &data);
            assert_eq!(moved, data.len() as u64, "with {in_flight} in flight");
            outcome.unwrap();
        });
    });
}

/// A copier with nothing in flight works in the child as in the parent.
#[test]
fn with_nothing_in_flight_a_child_goes_on() {
    apart(|| {
        each([true, false], |&adaptive| {
            let _leaks = fds::no_leaks();
            let (mut client, stream) = sockets::unix();
            let file = files::on_disk(b"");
            let mut copier = Copier::new().adaptive(adaptive);
            stream.set_nonblocking(true).unwrap();
            let data = data::bytes(2, 60_000);
            client.write_all(&data).unwrap();
            let error = copier.copy(&mut &stream, &mut &file).unwrap_err();
            assert_eq!((error.waits_for(), error.moved()), (Some(Side::Source), 60_000));
            client.write_all(&data).unwrap();
            let child = forked(|| {
                let error = copier.copy(&mut &stream, &mut &file).unwrap_err();
                assert_eq!((error.waits_for(), error.moved()), (Some(Side::Source), 60_000));
            });
            child.finish().unwrap();
            drop(client);
            assert_eq!(copier.copy(&mut &stream, &mut &file).unwrap().moved(), 0);
            assert_same(&files::contents(&file), &[&data[..], &data].concat());
        });
    });
}

/// All processes with the open file share the descriptor's mode. None of them may find it changed, even for a moment.
#[test]
fn the_mode_of_an_inherited_descriptor_stays() {
    apart(|| {
        let modes = pairs(&[true, false], &[true, false]);
        let cells = pairs(&pairs(&Stream::ALL, &Stream::ALL), &modes);
        each(cells, |&((source, sink), (from_waits, to_waits))| {
            for (adaptive, sharing) in
                pairs(&[true, false], &[PageSharing::Always, PageSharing::Never])
            {
                let _leaks = fds::no_leaks();
                let ((to, from), (out, into)) = (source.open(), sink.open());
                narrow(&out);
                let feeder = Feeder::pieces(Plain(to), vec![3; 300_000], 40_000);
                let collector = Collector::start(Plain(into));
                let mut source =
                    Fd::new(if from_waits { from } else { nonblocking(from) }).unwrap();
                let mut sink = Fd::new(if to_waits { out } else { nonblocking(out) }).unwrap();
                let ends = [source.get_ref(), sink.get_ref()].map(|end| end.try_clone().unwrap());
                let modes = [!from_waits, !to_waits];
                let look = move || {
                    for (end, nonblocking) in ends.iter().zip(modes) {
                        let flags = fcntl_getfl(end).unwrap();
                        assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking, "O_NONBLOCK");
                    }
                };
                let guard = hook::replace(move |_| {
                    look();
                    Action::Proceed
                });
                let mut copier = Copier::new().adaptive(adaptive).page_sharing(sharing);
                let how = (Told::ByLevel, Threads::One);
                let moved = copy_all(how, &mut copier, &mut source, &mut sink).unwrap();
                drop(guard);
                drop(sink);
                assert_eq!((moved, collector.finish().len()), (300_000, 300_000));
                feeder.finish().unwrap();
            }
        });
    });
}

/// Nor does the tool change the mode of its standard streams, which are its parent's.
#[test]
fn the_mode_of_a_tool_s_standard_streams_stays() {
    apart_with_the_tool(|| {
        let modes = pairs(&[true, false], &[true, false]);
        each(pairs(&[Stream::Unix, Stream::Pipe], &modes), |&(stream, (from_waits, to_waits))| {
            let ((to, from), (out, into)) = (stream.open(), stream.open());
            narrow(&out);
            let from: OwnedFd = if from_waits { from } else { nonblocking(from) };
            let out: OwnedFd = if to_waits { out } else { nonblocking(out) };
            let copy = tool::copies(from.try_clone().unwrap(), out.try_clone().unwrap());
            let stop = &AtomicBool::new(false);
            thread::scope(|scope| {
                let (ends, modes) = ([from.as_fd(), out.as_fd()], [!from_waits, !to_waits]);
                let look = scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        for (end, nonblocking) in ends.iter().zip(modes) {
                            let flags = fcntl_getfl(end).unwrap();
                            assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking, "O_NONBLOCK");
                        }
                    }
                });
                let feeder = scope.spawn(|| {
                    let mut to = Plain(to);
                    for _ in 0..20 {
                        to.write_all(&[5; 20_000]).unwrap();
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                let mut got = Vec::new();
                Read::take(Plain(&into), 400_000).read_to_end(&mut got).unwrap();
                joined(feeder);
                copy.finish();
                stop.store(true, Ordering::Relaxed);
                joined(look);
                assert_eq!(got.len(), 400_000);
            });
        });
    });
}
