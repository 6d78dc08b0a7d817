//! Files that change while they are copied, files copied into themselves, files with holes, and
//! offsets at the far end.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Take};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, Mechanism, ReadFrom};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{self, contents, position};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::{or_skip, skip};
use zc_testkit::streams::Stream;

const FAR: u64 = 1 << 40;
const GIB: u64 = 1 << 30;
const EINVAL: i32 = 22;
const EFBIG: i32 = 27;
const EOVERFLOW: i32 = 75;

fn memory_file() -> Option<File> {
    let memory = rustix::fs::memfd_create("zc", rustix::fs::MemfdFlags::CLOEXEC);
    or_skip(memory.map(File::from).map_err(|errno| format!("memfd_create: {errno}")))
}

/// The same file, opened once more, with an offset of its own.
fn again(file: &File, options: &OpenOptions) -> File {
    options.open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

/// Limits each call that takes bytes to `piece`, so that a copy makes many of them. Does `act` before the `nth`.
fn before_call(nth: usize, piece: usize, act: impl Fn() + 'static) -> hook::Guard {
    let calls = Rc::new(Cell::new(0));
    hook::replace(move |call| {
        if call.len == 0 || call.syscall == Syscall::Write {
            return Action::Proceed;
        }
        calls.set(calls.get() + 1);
        if calls.get() == nth {
            act();
        }
        Action::Limit(piece)
    })
}

/// Copies into a socket of this kind, or else into a file. Returns how many bytes moved, and what arrived.
fn copied(source: &mut Take<&File>, to: Option<Stream>, adaptive: bool) -> (u64, Vec<u8>) {
    let mut copier = Copier::new().adaptive(adaptive);
    let Some(kind) = to else {
        let mut to = files::on_disk(b"");
        let moved = copier.copy(source, &mut to).unwrap().moved();
        assert_eq!(position(&to), moved);
        return (moved, contents(&to));
    };
    let (mut to, peer) = kind.sockets();
    let reader = Collector::start(peer);
    let moved = copier.copy(source, &mut to).unwrap().moved();
    drop(to);
    (moved, reader.finish())
}

#[test]
fn a_source_that_is_truncated_ends_its_copy() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for (to_socket, adaptive) in [(false, false), (false, true), (true, false), (true, true)] {
        let source = files::on_disk(&sent);
        let handle = source.try_clone().unwrap();
        // 8 calls of 64 KiB come before it. Then the file is cut to half of what they moved.
        let guard = before_call(9, 64 << 10, move || handle.set_len(256 << 10).unwrap());
        let mut limited = (&source).take(FAR);
        let kind = to_socket.then_some(Stream::Tcp);
        let (moved, arrived) = copied(&mut limited, kind, adaptive);
        drop(guard);
        assert_eq!((FAR - limited.limit(), position(&source)), (moved, moved));
        // A call into a socket moves what it has room for, which may be less.
        assert!(moved == 512 << 10 || to_socket && (256 << 10..512 << 10).contains(&moved));
        // Pages lent to a socket may show the truncation; the count of bytes may not.
        assert_eq!(arrived.len() as u64, moved);
        if !to_socket {
            assert_joined(&sent[..512 << 10], &[("the copy", &arrived)]);
        }
    }
}

/// What is appended before the end has been seen belongs to the copy.
#[test]
fn what_is_appended_before_the_end_is_copied() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for (to_socket, adaptive) in [(false, false), (false, true), (true, false), (true, true)] {
        let source = files::on_disk(&sent[..512 << 10]);
        let tail = sent[512 << 10..].to_vec();
        let handle = source.try_clone().unwrap();
        // 8 calls move all that is there. The 9th would answer 0.
        let guard = before_call(9, 64 << 10, move || {
            handle.write_all_at(&tail, 512 << 10).unwrap();
        });
        let mut limited = (&source).take(FAR);
        let kind = to_socket.then_some(Stream::Unix);
        let (moved, arrived) = copied(&mut limited, kind, adaptive);
        drop(guard);
        assert_eq!((moved, FAR - limited.limit(), position(&source)), (1 << 20, moved, moved));
        assert_joined(&sent, &[("the copy", &arrived)]);
    }
}

/// Another thread truncates and extends the source all the time. What is copied depends on the moment, but the count
/// is right, and each byte is the file's or a hole's.
#[test]
fn a_source_that_shrinks_and_grows_is_counted_right() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 4 << 20);
    let source = files::on_disk(&sent);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = again(&source, OpenOptions::new().write(true));
            while !done.load(Ordering::Relaxed) {
                writer.set_len(1 << 20).unwrap();
                writer.set_len(4 << 20).unwrap();
                writer.write_all_at(&sent[2 << 20..3 << 20], 2 << 20).unwrap();
            }
        });
        for _ in 0..30 {
            let (mut reader, mut to) =
                (again(&source, OpenOptions::new().read(true)), files::on_disk(b""));
            let mut limited = (&mut reader).take(FAR);
            let report = Copier::new().copy(&mut limited, &mut to).unwrap();
            let moved = report.moved();
            assert_eq!((FAR - limited.limit(), position(&to)), (moved, moved));
            assert_eq!((position(&reader), to.metadata().unwrap().len()), (moved, moved));
            assert!((1 << 20..=4 << 20).contains(&moved), "{moved}");
            let copied = contents(&to);
            let foreign = copied.iter().zip(&sent).position(|(a, b)| a != b && *a != 0);
            assert_eq!(foreign, None);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_is_not_copied_over_itself() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 300_000);
    // Forwards, backwards, to the same place, and by one byte.
    for (start, target) in [(0, 100_000), (100_000, 0), (0, 0), (5, 5), (0, 1), (0, 299_999)] {
        for adaptive in [true, false] {
            let from = files::on_disk(&sent);
            let mut to = again(&from, OpenOptions::new().read(true).write(true));
            (&from).seek(SeekFrom::Start(start)).unwrap();
            to.seek(SeekFrom::Start(target)).unwrap();
            let mut limited = (&from).take(FAR);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut limited, &mut to).unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0));
            assert!(error.to_string().contains("same file"), "{error}");
            assert_eq!((copier.in_flight(), limited.limit()), (0, FAR));
            assert_eq!((position(&from), position(&to)), (start, target));
            assert_joined(&sent, &[("the file", &contents(&from))]);
        }
    }
}

/// One open file has one offset, so that the writes would chase the reads.
#[test]
fn one_open_file_is_not_copied_into_itself() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    let mut from = files::on_disk(&sent);
    let mut to = from.try_clone().unwrap();
    let error = to.read_from(&mut from).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(CopyError::from_io(&error).unwrap().moved(), 0);
    assert_eq!(position(&from), 0);
    assert_joined(&sent, &[("the file", &contents(&from))]);
    // At the file's end no bytes overlap.
    from.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(to.read_from(&mut from).unwrap(), 0);
    assert_joined(&sent, &[("the file", &contents(&from))]);
}

#[test]
fn a_file_is_copied_to_another_place_in_itself() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 300_000);
    for adaptive in [true, false] {
        // The second third is copied over the first, through a hard link, which is the same file.
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, &sent).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        let mut from = File::open(&one).unwrap();
        let mut to = OpenOptions::new().write(true).open(&two).unwrap();
        from.seek(SeekFrom::Start(100_000)).unwrap();
        let mut limited = (&from).take(100_000);
        let report = Copier::new().adaptive(adaptive).copy(&mut limited, &mut to).unwrap();
        assert_eq!((report.moved(), limited.limit()), (100_000, 0));
        assert_eq!((position(&from), position(&to)), (200_000, 100_000));
        let (a, b) = (&sent[100_000..200_000], &sent[100_000..]);
        assert_joined(&contents(&from), &[("the copy", a), ("the rest", b)]);
    }
}

/// A file appended to itself is doubled; the copy does not chase its own tail.
#[test]
fn a_file_appended_to_itself_is_doubled() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 300_000);
    for by_append_mode in [true, false] {
        for adaptive in [true, false] {
            for limit in [FAR, 300_000, 1_000_000] {
                let from = files::on_disk(&sent);
                let mut to = if by_append_mode {
                    again(&from, OpenOptions::new().append(true))
                } else {
                    let mut to = again(&from, OpenOptions::new().write(true));
                    to.seek(SeekFrom::End(0)).unwrap();
                    to
                };
                let mut limited = (&from).take(limit);
                let mut copier = Copier::new().adaptive(adaptive);
                let report = copier.copy(&mut limited, &mut to).unwrap();
                assert_eq!((report.moved(), limit - limited.limit()), (300_000, 300_000));
                assert_eq!((position(&from), position(&to)), (300_000, 600_000));
                assert_joined(&contents(&from), &[("itself", &sent), ("once more", &sent)]);
            }
        }
    }
}

#[test]
fn holes_arrive_as_zeros() {
    let _leaks = fds::no_leaks();
    let (head, tail) = (bytes(0, 10_000), bytes(0, 20_000));
    let source = files::on_disk(&head);
    let len = 64 << 20;
    source.set_len(len).unwrap();
    source.write_all_at(&tail, 40 << 20).unwrap();
    let mut want = head.clone();
    want.resize(40 << 20, 0);
    want.extend_from_slice(&tail);
    want.resize(usize::try_from(len).unwrap(), 0);

    let mut to = files::on_disk(b"");
    let mut limited = (&source).take(FAR);
    let report = Copier::new().copy(&mut limited, &mut to).unwrap();
    assert_eq!((report.moved(), FAR - limited.limit(), position(&source)), (len, len, len));
    assert_joined(&want, &[("the copy", &contents(&to))]);

    (&source).rewind().unwrap();
    let (mut socket, peer) = Stream::Unix.sockets();
    let reader = Collector::start(peer);
    let report = Copier::new().copy(&mut &source, &mut socket).unwrap();
    drop(socket);
    assert_eq!(report.moved(), len);
    assert_joined(&want, &[("what arrived", &reader.finish())]);
}

/// Copies across 4 GiB, where 32 bits end, in the source and in the sink, by each mechanism.
#[test]
fn copies_cross_four_gibibytes() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 2 << 20);
    let line = 4 * GIB - (1 << 20);
    let Some(source) = memory_file() else { return };
    source.write_all_at(&sent, line).unwrap();
    let mut kinds = vec![tempfile::tempfile().unwrap()];
    kinds.extend(memory_file());
    for mut to in kinds {
        (&source).seek(SeekFrom::Start(line)).unwrap();
        to.seek(SeekFrom::Start(line)).unwrap();
        let mut limited = (&source).take(FAR);
        let report = Copier::new().copy(&mut limited, &mut to).unwrap();
        let end = 4 * GIB + (1 << 20);
        assert_eq!((report.moved(), FAR - limited.limit()), (2 << 20, 2 << 20));
        assert_eq!((position(&source), position(&to)), (end, end));
        let mut copied = vec![0; 2 << 20];
        to.read_exact_at(&mut copied, line).unwrap();
        assert_joined(&sent, &[("the copy", &copied)]);
        assert!(to.metadata().unwrap().blocks() < 16384, "the file before it is a hole still");
    }
    for kind in Stream::SOCKETS {
        let (mut socket, peer) = kind.sockets();
        let reader = Collector::start(peer);
        (&source).seek(SeekFrom::Start(line)).unwrap();
        let report = Copier::new().copy(&mut &source, &mut socket).unwrap();
        drop(socket);
        assert_eq!((report.moved(), report.mechanism()), (2 << 20, Some(Mechanism::Sendfile)));
        assert_joined(&sent, &[("what arrived", &reader.finish())]);

        let (mut socket, theirs) = kind.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut to = files::on_disk(b"");
        to.seek(SeekFrom::Start(line)).unwrap();
        let report = Copier::new().adaptive(false).copy(&mut socket, &mut to).unwrap();
        assert_eq!((report.moved(), report.mechanism()), (2 << 20, Some(Mechanism::Splice)));
        let mut copied = vec![0; 2 << 20];
        to.read_exact_at(&mut copied, line).unwrap();
        assert_joined(&sent, &[("the file", &copied)]);
        feeder.finish().unwrap();
    }
}

/// More than 4 GiB in one copy are counted right. The sink is the null device, which is quick.
#[test]
fn one_copy_moves_more_than_four_gibibytes() {
    let _leaks = fds::no_leaks();
    // On a disk: before Linux 5.18 sendfile fills the holes of a file on tmpfs, and so memory.
    let source = files::on_disk(b"");
    let len = 4 * GIB + 12_345;
    source.set_len(len).unwrap();
    let mut null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let (limit, mut seen) = (len + 7, 0);
    let mut limited = zc_std::Progress::new((&source).take(limit), |n| seen += n);
    let report = Copier::new().copy(&mut limited, &mut null).unwrap();
    assert_eq!((report.moved(), limited.get_ref().limit(), position(&source)), (len, 7, len));
    assert_eq!(report.mechanism(), Some(Mechanism::Sendfile));
    assert_eq!(seen, len);
}

/// Near the largest offset calls answer EINVAL, EFBIG or EOVERFLOW, depending on the file system. Each of these
/// errors has the count, and the bytes in flight are handed back.
#[test]
fn a_sink_near_the_largest_offset_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 200_000);
    let top = i64::MAX as u64;
    let mut files = vec![("temporary directory", tempfile::tempfile().unwrap())];
    files.extend(memory_file().map(|file| ("memory", file)));
    for (name, file) in files {
        let Some(highest) = highest_position(&file, top - 100_000) else {
            skip(&format!("{name}: no position is too high to be taken"));
            continue;
        };
        for kind in Stream::SOCKETS {
            for adaptive in [true, false] {
                (&file).seek(SeekFrom::Start(highest)).unwrap();
                let (ours, theirs) = kind.sockets();
                let feeder = Feeder::until_refused(theirs, sent.clone());
                let mut source = ours.take(FAR);
                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut source, &mut &file).unwrap_err();
                let errno = error.raw_os_error();
                assert!(matches!(errno, Some(EINVAL | EFBIG | EOVERFLOW)), "{name}: {error}");
                assert!(matches!(error.syscall(), Some("splice" | "write")));
                assert_eq!(error.moved() + copier.in_flight() as u64, FAR - source.limit());
                let mut residue = copier.take_residue();
                source.read_to_end(&mut residue).unwrap();
                let moved = usize::try_from(error.moved()).unwrap();
                assert_eq!(position(&file), highest + error.moved());
                let mut written = vec![0; moved];
                file.read_exact_at(&mut written, highest).unwrap();
                assert_joined(&sent, &[("written", &written), ("handed back", &residue)]);
                feeder.finish().unwrap();
                file.set_len(0).unwrap();
            }
        }
        let from = files::on_disk(&sent);
        let mut limited = (&from).take(FAR);
        (&file).seek(SeekFrom::Start(highest)).unwrap();
        let mut copier = Copier::new();
        let error = copier.copy(&mut limited, &mut &file).unwrap_err();
        let errno = error.raw_os_error();
        assert!(matches!(errno, Some(EINVAL | EFBIG | EOVERFLOW)), "{name}: {error}");
        let taken = FAR - limited.limit();
        assert_eq!(error.moved() + copier.in_flight() as u64, taken);
        assert_eq!((position(&from), position(&file)), (taken, highest + error.moved()));
    }
}

/// The highest offset, up to `wanted`, at which the file system lets the file stand, less some room.
fn highest_position(file: &File, wanted: u64) -> Option<u64> {
    let mut file = file;
    let mut at = wanted;
    while file.seek(SeekFrom::Start(at)).is_err() {
        at = at / 2 + 1;
        if at < GIB {
            return None;
        }
    }
    // Goes back up towards the limit, as near as 100,000 bytes.
    let mut step = at;
    while step >= 50_000 {
        if at + step <= wanted && file.seek(SeekFrom::Start(at + step)).is_ok() {
            at += step;
        }
        step /= 2;
    }
    Some(at)
}

#[test]
fn a_source_near_the_largest_offset_is_counted_right() {
    let _leaks = fds::no_leaks();
    // A file on tmpfs may be as long as offsets go.
    let Some(file) = memory_file() else { return };
    let top = i64::MAX as u64;
    if let Err(error) = file.set_len(top) {
        return skip(&format!("a file of {top} bytes: {error}"));
    }
    for (limit, adaptive) in [(3, true), (3, false), (FAR, true), (FAR, false)] {
        (&file).seek(SeekFrom::Start(top - 3)).unwrap();
        let mut to = files::on_disk(b"");
        let mut limited = (&file).take(limit);
        let mut copier = Copier::new().adaptive(adaptive);
        let outcome = copier.copy(&mut limited, &mut to);
        let moved = copier.report().moved();
        match outcome {
            Ok(_) => assert_eq!(moved, 3),
            // The kernel refuses a read past the largest offset.
            Err(error) => {
                assert_eq!(limit, FAR, "{error}");
                assert!(matches!(error.raw_os_error(), Some(EINVAL | EFBIG | EOVERFLOW)));
            }
        }
        assert_eq!((limit - limited.limit(), copier.in_flight()), (moved, 0));
        assert_eq!((position(&file), position(&to)), (top - 3 + moved, moved));
        assert_eq!(contents(&to), vec![0; usize::try_from(moved).unwrap()]);
    }
}

/// A limit beyond the largest offset is no limit.
#[test]
fn a_limit_beyond_all_offsets_is_no_limit() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    for limit in [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 + 1, 1 << 32] {
        let (from, mut to) = (files::on_disk(&sent), files::on_disk(b""));
        let mut limited = (&from).take(limit);
        let report = Copier::new().copy(&mut limited, &mut to).unwrap();
        assert_eq!((report.moved(), limit - limited.limit()), (100_000, 100_000));
        assert_joined(&sent, &[("the copy", &contents(&to))]);

        let (ours, theirs) = Stream::Tcp.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut limited = ours.take(limit);
        let mut to = files::on_disk(b"");
        let report = Copier::new().adaptive(false).copy(&mut limited, &mut to).unwrap();
        assert_eq!((report.moved(), limit - limited.limit()), (100_000, 100_000));
        assert_joined(&sent, &[("the file", &contents(&to))]);
        feeder.finish().unwrap();
    }
}

/// An overlay makes up device and inode numbers, and they still tell that two files are one.
#[test]
fn an_overlay_s_file_is_not_copied_over_itself() {
    let _leaks = fds::no_leaks();
    let Some(mount) = or_skip(Mount::overlay()) else { return };
    let sent = bytes(0, 300_000);
    std::fs::write(mount.path("file"), &sent).unwrap();
    let from = File::open(mount.path("file")).unwrap();
    let mut to = OpenOptions::new().write(true).open(mount.path("file")).unwrap();
    let error = Copier::new().copy(&mut &from, &mut to).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0));
    assert_joined(&sent, &[("the file", &contents(&from))]);
    // An lseek that fails leaves nothing behind either.
    let guard = hook::replace(|call| match call.syscall {
        Syscall::Seek => Action::Fail(29),
        _ => Action::Proceed,
    });
    let error = Copier::new().copy(&mut &from, &mut to).unwrap_err();
    drop(guard);
    assert_eq!((error.syscall(), error.moved(), position(&from)), (Some("lseek"), 0, 0));
    assert_joined(&sent, &[("the file", &contents(&from))]);
}
