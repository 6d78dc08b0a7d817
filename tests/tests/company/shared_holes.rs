use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Barrier;
use std::thread;

use rustix::fs::FlockOperation;
use zc_std::Copier;
use zc_std::hook::{self, Action};
use zc_testkit::apart::apart;
use zc_testkit::each_cell::{each, joined};
use zc_testkit::numbered_words::{LEN, Shares, shares, words};
use zc_testkit::{fds, files, raw};

/// The file's words, if it had no holes: a quarter of a MiB and a bit.
const COUNT: u32 = (1 << 15) + 77;

/// A piece of data, and the hole after it, in words: whole pages.
const PIECE: u32 = 4096 / LEN as u32;
const HOLE: u32 = 2 * 4096 / LEN as u32;

/// The words of a file with holes, and how many there are.
fn with_holes() -> (File, Vec<u8>, u32) {
    let mut all = words(COUNT);
    let mut there = 0;
    let file = files::empty();
    file.set_len(all.len() as u64).unwrap();
    for start in (0..COUNT).step_by((PIECE + HOLE) as usize) {
        let data = (start + HOLE).min(COUNT);
        let end = (data + PIECE).min(COUNT);
        let [start, data, end] = [start, data, end].map(|word| word as usize * LEN);
        all[start..data].fill(0);
        file.write_all_at(&all[data..end], data as u64).unwrap();
        there += u32::try_from((end - data) / LEN).unwrap();
    }
    (file, all, there)
}

/// Every byte went to one of the streams, zeros included.
#[track_caller]
fn assert_shared_out(all: &[u8], there: u32, streams: &[Vec<u8>]) {
    let Shares { total, doubled, disorder, .. } = shares(COUNT, streams);
    assert_eq!((total, doubled, disorder), (all.len(), 0, 0));
    // Sorted, the bytes of all streams are those of the file. A word that was cut is there in two halves.
    let count = |bytes: &mut dyn Iterator<Item = &u8>| {
        bytes.fold([0_u64; 256], |mut count, &byte| {
            count[byte as usize] += 1;
            count
        })
    };
    assert!(there > 0 && count(&mut all.iter()) == count(&mut streams.iter().flatten()));
}

/// Two copies and a read(2) loop share the file. Each copy's sink has the holes that the copy got.
#[test]
fn readers_of_one_file_share_its_holes() {
    apart(|| {
        each([true, false], |&adaptive| {
            let _leaks = fds::no_leaks();
            let (file, all, there) = with_holes();
            let start = Barrier::new(3);
            let streams = thread::scope(|scope| {
                let (mut same, start) = (&file, &start);
                let reader = scope.spawn(move || {
                    let (mut got, mut buf) = (Vec::new(), [0; 3000]);
                    start.wait();
                    loop {
                        match same.read(&mut buf).unwrap() {
                            0 => return got,
                            n => got.extend(&buf[..n]),
                        }
                    }
                });
                let copies = [(); 2].map(|()| {
                    scope.spawn(move || {
                        let sink = files::empty();
                        start.wait();
                        let mut copier = Copier::new().adaptive(adaptive).keep_holes(true);
                        let report = copier.copy(&mut { same }, &mut &sink).unwrap();
                        let got = files::contents(&sink);
                        assert_eq!(report.moved(), got.len() as u64);
                        assert_eq!(files::position(&sink), report.moved());
                        got
                    })
                });
                let mut streams = vec![joined(reader)];
                streams.extend(copies.map(joined));
                streams
            });
            assert_shared_out(&all, there, &streams);
            assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
        });
    });
}

/// Another user reads between any two calls of a copy.
#[test]
fn a_read_before_every_call_of_a_sparse_copy_gets_its_bytes() {
    apart(|| {
        each([(true, 24), (false, 24), (true, 5000), (true, 70_000)], |&(adaptive, size)| {
            let _leaks = fds::no_leaks();
            let (file, all, there) = with_holes();
            let read = Rc::new(RefCell::new(Vec::new()));
            let (same, theirs) = (file.try_clone().unwrap(), read.clone());
            let guard = hook::replace(move |_| {
                let mut buf = vec![0; size];
                let n = (&same).read(&mut buf).unwrap();
                theirs.borrow_mut().extend(&buf[..n]);
                Action::Proceed
            });
            let sink = files::empty();
            let mut copier = Copier::new().adaptive(adaptive).keep_holes(true);
            let report = copier.copy(&mut &file, &mut &sink).unwrap();
            drop(guard);
            let got = files::contents(&sink);
            assert_eq!(report.moved(), got.len() as u64);
            assert_shared_out(&all, there, &[got, read.take()]);
            assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
        });
    });
}

/// Two copies and a write(2) loop fill one file, which has old data in it. No hole hides or cuts off what others have
/// written, and no old byte is left.
#[test]
fn writers_of_one_file_keep_their_bytes() {
    apart(|| {
        each([0, 1 << 18], |&old| {
            let _leaks = fds::no_leaks();
            let (file, all, there) = with_holes();
            let again = files::empty();
            Copier::new().keep_holes(true).copy(&mut &file, &mut &again).unwrap();
            (&again).rewind().unwrap();
            (&file).rewind().unwrap();
            let sink = files::holding(&vec![0xff; old]);
            (&sink).rewind().unwrap();
            let line = [b'x'; 999];
            let lines = 200;
            let start = Barrier::new(3);
            thread::scope(|scope| {
                let (mut same, start) = (&sink, &start);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..lines {
                        same.write_all(&line).unwrap();
                    }
                });
                for source in [&file, &again] {
                    scope.spawn(move || {
                        start.wait();
                        let mut copier = Copier::new().keep_holes(true);
                        let report = copier.copy(&mut { source }, &mut { same }).unwrap();
                        assert!(report.holes() > 0, "{report:?}");
                    });
                }
            });
            let got = files::contents(&sink);
            assert_eq!(got.len(), 2 * all.len() + lines * line.len());
            assert_eq!(files::position(&sink), got.len() as u64);
            // Words and lines were written side by side, and all of them are whole.
            let (mut xs, mut at, mut seen) = (0, 0, 0_u64);
            while at < got.len() {
                match got[at] {
                    b'x' if got[at..].starts_with(&line) => (xs, at) = (xs + 1, at + line.len()),
                    0 => at += 1,
                    _ => (seen, at) = (seen + 1, at + LEN),
                }
            }
            assert_eq!((xs, seen), (lines, 2 * u64::from(there)));
        });
    });
}

/// Another user writes between any two calls of a copy.
#[test]
fn a_write_before_every_call_of_a_sparse_copy_stays() {
    apart(|| {
        each([0, 3 << 18], |&old| {
            let _leaks = fds::no_leaks();
            let (file, all, there) = with_holes();
            let sink = files::holding(&vec![0xff; old]);
            (&sink).rewind().unwrap();
            let (mut same, count) = (sink.try_clone().unwrap(), Rc::new(RefCell::new(0)));
            let counted = count.clone();
            let guard = hook::replace(move |_| {
                same.write_all(b"xxxxxxxx").unwrap();
                *counted.borrow_mut() += 1;
                Action::Proceed
            });
            let report = Copier::new().keep_holes(true).copy(&mut &file, &mut &sink).unwrap();
            drop(guard);
            let mut got = vec![0; usize::try_from(files::position(&sink)).unwrap()];
            sink.read_exact_at(&mut got, 0).unwrap();
            assert_eq!((report.moved(), report.holes() > 0), (all.len() as u64, true));
            assert_eq!(got.len(), all.len() + count.take() * LEN);
            let without: Vec<u8> =
                got.chunks(LEN).filter(|word| word != b"xxxxxxxx").flatten().copied().collect();
            zc_testkit::data::assert_same(&without, &all);
            assert!(there > 0);
        });
    });
}

/// To close a file drops the locks that the process has on it, also those taken through other descriptors.
#[test]
fn locks_stay() {
    apart(|| {
        let _leaks = fds::no_leaks();
        let (file, all, _) = with_holes();
        let other = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        let other = std::mem::ManuallyDrop::new(other.unwrap());
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).unwrap();
        let locked = || raw::is_locked(&other).unwrap();
        assert!(locked());
        let sink = files::empty();
        let report = Copier::new().keep_holes(true).copy(&mut &file, &mut &sink).unwrap();
        assert_eq!((report.moved(), report.holes()), (all.len() as u64, 0));
        assert!(locked(), "the lock is gone");

        // Without a lock, the holes are kept.
        rustix::fs::fcntl_lock(&file, FlockOperation::Unlock).unwrap();
        assert!(!locked());
        // (Of another file: before Linux 5.12 sending a hole of a file on tmpfs fills it with pages, which then count
        // as data.)
        let (file, ..) = with_holes();
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).unwrap();
        rustix::fs::fcntl_lock(&file, FlockOperation::Unlock).unwrap();
        let sink = files::empty();
        let report = Copier::new().keep_holes(true).copy(&mut &file, &mut &sink).unwrap();
        assert!(report.holes() > 1 << 16);
        drop(std::mem::ManuallyDrop::into_inner(other));
    });
}
