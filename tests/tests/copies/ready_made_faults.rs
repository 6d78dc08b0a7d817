//! The faults that come with `hook`: a disk that is full for every call, a call that fails, calls that fall short;
//! and hooks that reach every thread.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, FileAt, Opaque, ReadSource, WriteSink};
use zc_testkit::data::{self, assert_same};
use zc_testkit::forked::forked;
use zc_testkit::{calls, child, fds, files, sockets};

const LEN: usize = 150_000;
const ROOM: u64 = 70_001;

/// The call of each way into a file.
const WAYS: [Syscall; 4] =
    [Syscall::CopyFileRange, Syscall::Splice, Syscall::Write, Syscall::Sendfile];

/// A source whose bytes reach a file by `way`; `None` for sendfile, which moves to sockets.
fn source(way: Syscall, data: &[u8]) -> Option<Box<dyn ReadSource>> {
    Some(match way {
        Syscall::CopyFileRange => Box::new(files::holding(data)),
        Syscall::Splice => {
            let (mut client, server) = sockets::unix();
            client.write_all(data).unwrap();
            Box::new(server)
        }
        Syscall::Write => Box::new(Opaque(Cursor::new(data.to_vec()))),
        _ => return None,
    })
}

#[test]
fn a_full_disk_is_full_whichever_way_the_bytes_come() {
    for way in WAYS {
        for (room, at_offset) in [(ROOM, false), (ROOM, true), (0, false), (1, false)] {
            let _leaks = fds::no_leaks();
            let data = data::bytes(1, LEN);
            let Some(mut source) = source(way, &data) else { continue };
            let file = files::empty();
            let (mut plain, mut ranged) = (&file, FileAt::new(&file, 0).unwrap());
            let sink: &mut dyn WriteSink = if at_offset { &mut ranged } else { &mut plain };
            let mut copier = Copier::new().adaptive(false);
            let disk = hook::full_disk(&file, room).install();
            let recorder = hook::record();
            let error = copier.copy(&mut source, sink).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::StorageFull, room), "{way:?}");
            assert!(!calls::pairs(&recorder.calls(), way).is_empty(), "{way:?} was tried");
            assert!(disk.hits() > 0);
            assert_same(&files::contents(&file), &data[..room as usize]);

            disk.make_room(LEN as u64);
            let rest = copier.copy(&mut source, sink).unwrap().moved();
            assert_eq!(room + rest, LEN as u64, "{way:?}");
            assert_same(&files::contents(&file), &data);
            drop(source);
        }
    }
}

/// A copy that fits meets no error, also if it just fits.
#[test]
fn a_disk_with_room_is_not_full() {
    let _leaks = fds::no_leaks();
    for (way, room) in [(Syscall::Splice, LEN as u64), (Syscall::Write, u64::MAX)] {
        let data = data::bytes(2, LEN);
        let (mut source, file) = (source(way, &data).unwrap(), files::empty());
        let disk = hook::full_disk(&file, room).install();
        assert_eq!(zc_std::copy(&mut source, &mut &file).unwrap(), LEN as u64);
        assert_eq!(disk.hits(), 0);
        // Another file counts as on another disk.
        assert_eq!(zc_std::copy(&mut &b"elsewhere"[..], &mut files::empty()).unwrap(), 9);
    }
}

/// What fits does not count, for `after` and `times`.
#[test]
fn a_disk_is_full_as_often_as_it_is_to() {
    for (after, times, delivered) in [(0, 1, 8000), (1, 1, 12_000), (0, 0, 20_000)] {
        let _leaks = fds::no_leaks();
        let (data, file) = (data::bytes(6, 20_000), files::empty());
        let mut source = Opaque(Cursor::new(data.clone()));
        let disk = hook::full_disk(&file, 8000).after(after).times(times).install();
        let _short = hook::short(4000).install();
        let mut copier = Copier::new();
        if times > 0 {
            let error = copier.copy(&mut source, &mut &file).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::StorageFull, delivered));
        }
        let rest = copier.copy(&mut source, &mut &file).unwrap().moved();
        assert_eq!((delivered * times + rest, disk.hits()), (20_000, times));
        assert_same(&files::contents(&file), &data);
    }
}

#[test]
fn short_calls_lose_nothing() {
    for way in WAYS {
        let _leaks = fds::no_leaks();
        let data = data::bytes(3, LEN);
        let Some(mut source) = source(way, &data) else { continue };
        let file = files::empty();
        let short = hook::short(7001).install();
        let recorder = hook::record();
        let mut source = BufReader::with_capacity(10_000, &mut source);
        source.read_exact(&mut [0; 5]).unwrap();
        let report = Copier::new().adaptive(false).copy(&mut source, &mut &file).unwrap();
        assert_eq!(report.moved(), LEN as u64 - 5);
        assert!(recorder.calls().iter().all(|record| record.moved() <= 7001));
        assert!(short.hits() > 0, "{way:?}");
        assert_same(&files::contents(&file), &data[5..]);
    }
}

#[test]
fn a_call_fails_where_and_when_it_is_to() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(4, LEN);
    let (mut one, mut other) = (files::holding(&data), files::holding(&data));
    let fault = hook::failing(Syscall::CopyFileRange, 38).at(&one).install(); // ENOSYS
    for (file, refused) in [(&mut one, Some(38)), (&mut other, None)] {
        let mut out = files::empty();
        let report = Copier::new().copy(file, &mut out).unwrap();
        assert_eq!(report.refused(zc_std::Mechanism::CopyFileRange), refused);
        assert_same(&files::contents(&out), &data);
    }
    assert_eq!(fault.hits(), 1);
    drop(fault);

    // The third read, and no other: EIO.
    let fault = hook::failing(Syscall::Read, 5).after(2).times(1).install();
    let _short = hook::short(1000).install();
    let mut source = files::holding(&data).take(10_000);
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut files::empty()).unwrap_err();
    assert_eq!((error.raw_os_error(), error.moved(), fault.hits()), (Some(5), 2000, 1));
    assert_eq!(copier.copy(&mut source, &mut files::empty()).unwrap().moved(), 8000);
    assert_eq!(fault.hits(), 1);
}

// ---- Every thread -------------------------------------------------------------------------------

#[test]
fn every_thread_takes_more_than_a_feature_and_a_call() {
    let _leaks = fds::no_leaks();
    let error = hook::every_thread().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains(hook::VARIABLE), "{error}");
}

#[test]
fn every_thread_of_a_process_started_for_it_is_reached() {
    let variables = [(hook::VARIABLE, OsStr::new("1"))];
    let test = "every_thread_of_a_process_started_for_it_is_reached";
    child::run_with(test, "reached", &variables, || {
        const THREADS: u64 = 8;
        let everywhere = hook::every_thread().unwrap();
        let file = files::empty();
        let disk = hook::full_disk(&file, ROOM).install_everywhere(&everywhere);
        let seen = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&seen);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let observer = everywhere.observe(move |record| {
            if record.call.to == Some(fd) {
                count.fetch_add(record.moved() as u64, Ordering::Relaxed);
            }
        });
        // A hook's own copies bypass all hooks. Otherwise this would not end.
        let copies = everywhere.replace(|_| {
            zc_std::copy(&mut &b"x"[..], &mut File::create("/dev/null").unwrap()).unwrap();
            Action::Proceed
        });
        let all_at_once = Barrier::new(THREADS as usize);
        let moved: u64 = thread::scope(|scope| {
            let copying = || {
                all_at_once.wait();
                let mut source = &data::bytes(5, LEN)[..];
                let error = Copier::new().copy(&mut source, &mut &file).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                error.moved()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(copying)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((moved, seen.load(Ordering::Relaxed)), (ROOM, ROOM));
        assert_eq!(files::contents(&file).len() as u64, ROOM);
        assert!(disk.hits() >= THREADS);

        drop((disk, observer, copies));
        let late = thread::spawn(move || zc_std::copy(&mut &b"room again"[..], &mut &file));
        assert_eq!(late.join().unwrap().unwrap(), 10);
    });
}

/// Another thread is in a hook when the process forks.
#[test]
fn a_forked_child_has_no_hooks_of_every_thread() {
    let variables = [(hook::VARIABLE, OsStr::new("1"))];
    let test = "a_forked_child_has_no_hooks_of_every_thread";
    child::run_with(test, "forked", &variables, || {
        let everywhere = hook::every_thread().unwrap();
        let (entered, has_entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let guard = everywhere.observe(move |_| {
            entered.send(()).unwrap();
            let _ = may_leave.recv();
        });
        let copy = || zc_std::copy(&mut &b"a copy"[..], &mut File::create("/dev/null").unwrap());
        thread::scope(|scope| {
            scope.spawn(move || copy().unwrap());
            has_entered.recv().unwrap();
            let mut inherited = Some(guard);
            let child = forked(|| {
                assert_eq!(copy().unwrap(), 6);
                assert_eq!(hook::every_thread().unwrap_err().kind(), ErrorKind::PermissionDenied);
                drop(everywhere.replace(|_| Action::Fail(5)));
                drop(inherited.take());
                assert_eq!(copy().unwrap(), 6);
            });
            let ended = child.finish();
            drop(leave);
            ended.unwrap();
        });
    });
}
