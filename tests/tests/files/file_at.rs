//! A file from an offset of its own on: which calls move its bytes, what an error leaves, who else has the file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use zc_std::Mechanism::{self, CopyFileRange, ReadWrite, Sendfile, Splice};
use zc_std::hook::{self, Action, Record, Syscall};
use zc_std::{Copier, CopyError, FileAt, PageSharing, ReadFrom, Side};
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::mounts::Mount;
use zc_testkit::serial::serial;
use zc_testkit::skip::or_skip;
use zc_testkit::{calls, fds, files, pipes, sockets};

const LEN: usize = 300_000;
/// The file's own offset, and where its `FileAt` begins.
const STANDS: u64 = 17;
const AT: u64 = 70_001;

/// A file whose own offset is `STANDS`, with `data` from `AT` on.
fn holding(data: &[u8]) -> File {
    let mut file = files::holding(&[&data::bytes(1, AT as usize), data].concat());
    file.seek(SeekFrom::Start(STANDS)).unwrap();
    file
}

/// Asserts that no call moved or asked for the file's own offset.
fn assert_untouched(calls: &[Record], file: &File, fd: RawFd) {
    assert_eq!(files::position(file), STANDS);
    let seeks = calls.iter().filter(|record| record.call.syscall == Syscall::Seek);
    assert!(seeks.clone().all(|record| record.call.from != Some(fd)), "{calls:?}");
}

// ---- Mechanisms ---------------------------------------------------------------------------------

#[test]
fn a_file_at_an_offset_is_moved_as_the_file_is() {
    let table: [(To, PageSharing, Mechanism); 9] = [
        (To::File, PageSharing::Sockets, CopyFileRange),
        (To::Tcp4, PageSharing::Sockets, Sendfile),
        (To::Unix, PageSharing::Sockets, Sendfile),
        (To::Null, PageSharing::Sockets, Sendfile),
        (To::Pipe, PageSharing::Sockets, ReadWrite),
        (To::Pipe, PageSharing::Always, Splice),
        (To::Fifo, PageSharing::Always, Splice),
        (To::Tcp4, PageSharing::Never, ReadWrite),
        (To::Plain, PageSharing::Sockets, ReadWrite),
    ];
    for (to, sharing, mechanism) in table {
        for limit in [u64::MAX, LEN as u64 - 1, 70_000, 1000, 1, 0] {
            let _leaks = fds::no_leaks();
            let (data, mut taker) = (data::bytes(2, LEN), to.open());
            let file = holding(&data);
            let recorder = hook::record();
            let mut source = FileAt::new(&file, AT).unwrap().take(limit);
            recorder.clear();
            let mut copier = Copier::new().adaptive(false).page_sharing(sharing);
            let report = copier.copy(&mut source, &mut taker.sink).unwrap();
            let moved = limit.min(LEN as u64);
            assert_eq!((report.moved(), report.moved_by(mechanism)), (moved, moved), "{to:?}");
            assert_eq!((limit - source.limit(), source.get_ref().offset()), (moved, AT + moved));
            assert_untouched(&recorder.calls(), &file, file.as_raw_fd());
            if let Some(got) = taker.finish() {
                assert_same(&got, &data[..moved as usize]);
            }
        }
    }
}

#[test]
fn a_file_at_an_offset_is_filled_as_the_file_is() {
    let table = [
        (From::File, CopyFileRange),
        (From::Tcp4, Splice),
        (From::Unix, Splice),
        (From::Pipe, Splice),
        (From::Fifo, Splice),
        (From::Plain, ReadWrite),
    ];
    for (from, mechanism) in table {
        for (limit, adaptive) in [(u64::MAX, false), (LEN as u64 - 1, false), (1, false), (1, true)]
        {
            let _leaks = fds::no_leaks();
            let mut giver = from.open(data::bytes(3, LEN));
            let mut file = files::holding(&data::bytes(4, AT as usize));
            file.seek(SeekFrom::Start(STANDS)).unwrap();
            let mut sink = FileAt::new(&file, AT).unwrap();
            let recorder = hook::record();
            let mut source = (&mut giver.source).take(limit);
            let mut copier = Copier::new().adaptive(adaptive);
            let report = copier.copy(&mut source, &mut sink).unwrap();
            let moved = limit.min(LEN as u64);
            assert_eq!((report.moved(), limit - source.limit()), (moved, moved), "{from:?}");
            if !adaptive {
                assert_eq!(report.moved_by(mechanism), moved, "{from:?}");
            }
            assert_eq!(sink.offset(), AT + moved);
            assert_untouched(&recorder.calls(), &file, file.as_raw_fd());
            let all = files::contents(&file);
            assert_same(&all[..AT as usize], &data::bytes(4, AT as usize));
            assert_same(&all[AT as usize..], &giver.data[..moved as usize]);
            drop(giver);
        }
    }
}

#[test]
fn a_range_is_copied_within_one_file() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(5, LEN);
    let file = holding(&data);
    let source = FileAt::new(&file, AT).unwrap();
    let far = AT + 2 * LEN as u64;
    assert_eq!(FileAt::new(&file, far).unwrap().read_from(source.take(100_000)).unwrap(), 100_000);
    assert_same(&files::contents(&file)[far as usize..], &data[..100_000]);
    assert_eq!(files::position(&file), STANDS);

    let overlapping =
        FileAt::new(&file, AT + 10).unwrap().read_from(FileAt::new(&file, AT).unwrap());
    assert_eq!(overlapping.unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// `read` and `write` of its own, also through std's wrappers.
#[test]
fn read_and_write_move_its_own_offset() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(6, LEN);
    let file = holding(&data);
    let mut got = Vec::new();
    FileAt::new(&file, AT + 5).unwrap().take(100).read_to_end(&mut got).unwrap();
    assert_same(&got, &data[5..105]);

    let mut buffered = io::BufReader::new(FileAt::new(&file, AT).unwrap());
    let mut head = [0; 10];
    buffered.read_exact(&mut head).unwrap();
    let to = holding(&[]);
    let mut sink = io::BufWriter::new(FileAt::new(&to, AT + LEN as u64).unwrap());
    sink.write_all(b"head").unwrap();
    assert_eq!(zc_std::copy(&mut buffered.take(20), &mut sink).unwrap(), 20);
    sink.write_all(b"tail").unwrap();
    sink.flush().unwrap();
    assert_eq!(sink.get_ref().offset(), AT + LEN as u64 + 28);
    let mut got = [0; 28];
    to.read_exact_at(&mut got, AT + LEN as u64).unwrap();
    assert_same(&got, &[b"head", &data[10..30], b"tail"].concat());
    assert_eq!((files::position(&file), files::position(&to)), (STANDS, STANDS));
}

// ---- What is refused ----------------------------------------------------------------------------

#[test]
fn what_has_no_places_is_no_file_at_an_offset() {
    let _leaks = fds::no_leaks();
    let (reader, writer) = pipes::pipe();
    let (one, other) = sockets::tcp_v4();
    for fd in [reader.as_fd(), writer.as_fd(), one.as_fd(), other.as_fd()] {
        assert_eq!(FileAt::new(fd, 0).unwrap_err().kind(), ErrorKind::NotSeekable);
    }
}

/// Put in append mode while the copy goes on, by another user of the open file: the mechanism's refusal tells.
#[test]
fn a_file_put_in_append_mode_meanwhile_gets_nothing_at_its_end() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 3 << 20);
    let (source, file) = (files::holding(&data), files::holding(&data::bytes(2, 4 << 20)));
    let (same, mut calls) = (file.try_clone().unwrap(), 0);
    let _others = hook::replace(move |call| {
        if call.syscall != Syscall::CopyFileRange {
            return Action::Proceed;
        }
        calls += 1;
        if calls == 2 {
            fcntl_setfl(&same, OFlags::APPEND).unwrap();
        }
        Action::Limit(1 << 20)
    });
    let (mut from, mut to) = (FileAt::new(&source, 0).unwrap(), FileAt::new(&file, 7).unwrap());
    let mut copier = Copier::new();
    let error = copier.copy(&mut from, &mut to).unwrap_err();
    assert_eq!(
        (error.kind(), error.moved(), to.offset()),
        (ErrorKind::InvalidInput, 1 << 20, 7 + (1 << 20))
    );
    assert_eq!(from.offset(), error.moved() + copier.in_flight() as u64);
    assert_eq!(file.metadata().unwrap().len(), 4 << 20);
    let residue = copier.take_residue();
    assert_same(&residue, &data[1 << 20..][..residue.len()]);
}

/// Linux appends to such a file, at any offset (pwrite(2), BUGS).
#[test]
fn a_file_in_append_mode_is_refused_before_a_byte_is_taken() {
    let _leaks = fds::no_leaks();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for len in [10, LEN] {
        for adaptive in [true, false] {
            std::fs::write(&path, b"a line\n").unwrap();
            let log = OpenOptions::new().read(true).append(true).open(&path).unwrap();
            let mut source = files::holding(&data::bytes(7, len));
            let mut sink = FileAt::new(&log, 2).unwrap();
            let mut limited = (&mut source).take(len as u64);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut limited, &mut sink).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0));
            assert_eq!((error.side(), error.syscall()), (Some(Side::Sink), Some("pwrite")));
            assert_eq!((limited.limit(), copier.in_flight()), (len as u64, 0));
            // `copy` and `write` refuse, too.
            let error = zc_std::copy(&mut limited, &mut sink).unwrap_err();
            assert_eq!(CopyError::from_io(&error).map(CopyError::moved), Some(0));
            assert_eq!(sink.write(b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(files::position(&source), 0);
            assert_eq!(std::fs::read(&path).unwrap(), b"a line\n");

            let mut got = Vec::new();
            got.read_from(FileAt::new(&log, 2).unwrap()).unwrap();
            assert_eq!(got, b"line\n");
        }
    }
}

// ---- Errors -------------------------------------------------------------------------------------

/// The Nth call that moves bytes fails, for every N. Both offsets say what was taken and delivered, and a resumed
/// copy completes.
#[test]
fn after_an_error_both_offsets_stand_behind_what_was_moved() {
    for errno in [Errno::NOSPC, Errno::IO, Errno::INVAL, Errno::INTR] {
        for (via_socket, adaptive) in [(false, false), (false, true), (true, false), (true, true)] {
            for nth in 0.. {
                let _leaks = fds::no_leaks();
                let data = data::bytes(8, LEN);
                let (from, to) = (holding(&data), holding(&[]));
                let (mut client, server) = sockets::unix();
                let (mut file, mut socket) = (FileAt::new(&from, AT).unwrap(), &server);
                let feeder = via_socket.then(|| {
                    let data = data.clone();
                    thread::spawn(move || client.write_all(&data).unwrap())
                });
                let source: &mut dyn zc_std::ReadSource =
                    if via_socket { &mut socket } else { &mut file };
                let mut source = source.take(LEN as u64);
                let mut sink = FileAt::new(&to, AT).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);

                let mut calls = 0;
                let fault = hook::replace(move |call| {
                    if !calls::MOVERS.contains(&call.syscall) {
                        return Action::Proceed;
                    }
                    calls += 1;
                    match calls - 1 {
                        n if n == nth => Action::Fail(errno.raw_os_error()),
                        _ => Action::Limit(50_000),
                    }
                });
                let recorder = hook::record();
                let outcome = copier.copy(&mut source, &mut sink);
                let was_met = recorder.calls().iter().filter(|r| r.result.is_err()).count() > 0;
                drop((fault, recorder));
                let mut moved = match &outcome {
                    Ok(report) => report.moved(),
                    Err(error) => error.moved(),
                };
                assert_eq!(sink.offset(), AT + moved, "{errno:?} at {nth}");
                let taken = LEN as u64 - source.limit();
                assert_eq!(taken, moved + copier.in_flight() as u64, "{errno:?} at {nth}");
                if outcome.is_err() {
                    moved += copier.copy(&mut source, &mut sink).unwrap().moved();
                }
                assert_eq!((moved, sink.offset()), (LEN as u64, AT + LEN as u64));
                if !via_socket {
                    assert_eq!(file.offset(), AT + LEN as u64);
                }
                assert_same(&files::contents(&to)[AT as usize..], &data);
                assert_eq!((files::position(&from), files::position(&to)), (STANDS, STANDS));
                if let Some(feeder) = feeder {
                    feeder.join().unwrap();
                }
                if !was_met && nth > 0 {
                    break;
                }
            }
        }
    }
}

/// A full disk, with the count, the residue and the offset that its error leaves.
#[test]
fn a_full_disk_leaves_the_offset_behind_the_last_byte() {
    let _alone = serial();
    let Some(disk) = or_skip(Mount::tmpfs(1024)) else { return };
    let data = data::bytes(9, 3 << 20);
    let (mut client, mut server) = sockets::tcp_v4();
    let sent = data.clone();
    let feeder = thread::spawn(move || client.write_all(&sent).map(drop));
    let file = File::create_new(disk.path("file")).unwrap();
    let mut sink = FileAt::new(&file, AT).unwrap();
    let error = zc_std::copy(&mut server, &mut sink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let failed = error.downcast::<CopyError>().unwrap();
    let moved = failed.moved() as usize;
    assert_eq!((sink.offset(), files::position(&file)), (AT + moved as u64, 0));
    let mut all = std::fs::read(disk.path("file")).unwrap().split_off(AT as usize);
    all.truncate(moved);
    all.extend_from_slice(failed.residue());
    server.read_to_end(&mut all).unwrap();
    assert_same(&all, &data);
    feeder.join().unwrap().unwrap();
}

// ---- Company ------------------------------------------------------------------------------------

/// Eight threads download into parts of one open file, while two more read and write it by its own offset.
#[test]
fn threads_share_one_open_file() {
    const PARTS: usize = 8;
    let _leaks = fds::no_leaks();
    let data = data::bytes(10, PARTS * LEN);
    let log = data::bytes(11, 50_000);
    let file = holding(&[]);
    let parts_at = AT + 100_000;
    thread::scope(|scope| {
        for (number, part) in (0..).zip(data.chunks(LEN)) {
            let (mut client, mut server) = sockets::tcp_v4();
            scope.spawn(move || client.write_all(part).unwrap());
            let mut place = FileAt::new(&file, parts_at + number * LEN as u64).unwrap();
            scope.spawn(move || zc_std::copy_exact(&mut server, &mut place, LEN as u64).unwrap());
        }
        // One of the two: it writes by the file's own offset.
        let (mut file, log) = (&file, &log);
        scope.spawn(move || log.chunks(1000).for_each(|line| file.write_all(line).unwrap()));
    });
    let all = files::contents(&file);
    assert_eq!(files::position(&file), STANDS + log.len() as u64);
    assert_same(&all[STANDS as usize..][..log.len()], &log);
    assert_same(&all[parts_at as usize..], &data);

    // Uploads: the same parts go to as many clients at once.
    thread::scope(|scope| {
        for (number, part) in (0..).zip(data.chunks(LEN)) {
            let (mut server, mut client) = sockets::tcp_v4();
            let range = FileAt::new(&file, parts_at + number * LEN as u64).unwrap();
            scope.spawn(move || server.read_from(range.take(LEN as u64)).unwrap());
            scope.spawn(move || {
                let mut got = Vec::new();
                client.read_to_end(&mut got).unwrap();
                assert_same(&got, part);
            });
        }
    });
}

// ---- File systems -------------------------------------------------------------------------------

#[test]
fn real_file_systems_take_and_give_every_byte() {
    let _alone = serial();
    let data = data::bytes(12, (1 << 20) + 4097);
    let n = data.len() as u64;
    for mount in Mount::writable() {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(mount.path("file"))
            .unwrap();
        for adaptive in [true, false] {
            let (mut client, mut server) = sockets::tcp_v4();
            let copier = || Copier::new().adaptive(adaptive);
            thread::scope(|scope| {
                scope.spawn(|| {
                    client.write_all(&data).unwrap();
                    drop(client);
                });
                let report = copier().copy(&mut server, &mut FileAt::new(&file, AT).unwrap());
                assert_eq!(report.unwrap().moved(), n, "into {}", mount.kind());
            });
            // A copy to another place in the same file, and one to a socket.
            let mut source = FileAt::new(&file, AT).unwrap().take(n);
            let mut copied = FileAt::new(&file, AT + n).unwrap();
            let report = copier().copy(&mut source, &mut copied).unwrap();
            assert_eq!((report.moved(), copied.offset()), (n, AT + 2 * n), "{}", mount.kind());
            let (mut server, mut client) = sockets::tcp_v4();
            let got = thread::scope(|scope| {
                let got = scope.spawn(move || {
                    let mut got = Vec::new();
                    client.read_to_end(&mut got).unwrap();
                    got
                });
                let mut source = FileAt::new(&file, AT + n).unwrap().take(n - 1);
                let report = copier().copy(&mut source, &mut server).unwrap();
                assert_eq!((report.moved(), source.limit()), (n - 1, 0), "{}", mount.kind());
                drop(server);
                got.join().unwrap()
            });
            assert_same(&got, &data[..data.len() - 1]);
            assert_eq!(files::position(&file), 0);
        }
    }
}
