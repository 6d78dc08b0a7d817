//! Holes that stay holes, if asked for. Bytes, offsets, counts and limits are compared with those of the same copy
//! without the option, blocks with those of a copy by cp(1).

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::LazyLock;

use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_setfl};
use zc_core::driver::Next;
use zc_linux::{Options, Transfer};
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, FileAt, Mechanism, Progress};
use zc_testkit::data::{assert_same, bytes};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;
use zc_testkit::sparse::{LAYOUTS, blocks, fill, make};
use zc_testkit::{child, fds, files};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// How many more blocks a copy may have than cp's: parts of extents at their ends.
const SLACK: u64 = 2 * 128;

/// What the sink is before the copy.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Empty,
    /// It holds this many bytes of old data.
    Old(u64),
    Appending,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Where the source and the sink stand.
    from: u64,
    to: u64,
    before: Before,
    limit: u64,
}

const CASES: [Case; 9] = [
    Case { from: 0, to: 0, before: Before::Empty, limit: u64::MAX },
    Case { from: 0, to: 0, before: Before::Old(5 * MIB + 5), limit: u64::MAX },
    Case { from: 0, to: 0, before: Before::Old(17 * MIB), limit: u64::MAX },
    Case { from: 0, to: 0, before: Before::Appending, limit: u64::MAX },
    Case { from: 64 * KIB, to: 3 * MIB, before: Before::Old(4 * MIB), limit: u64::MAX },
    Case { from: 1001, to: 77, before: Before::Old(6 * MIB + 1), limit: u64::MAX },
    Case { from: 0, to: 20 * MIB + 1, before: Before::Old(1), limit: 8 * MIB + 1 },
    Case { from: 0, to: 0, before: Before::Empty, limit: 14 * MIB + 13 },
    Case { from: 3 * MIB + 1, to: 5, before: Before::Old(MIB), limit: 40 * KIB },
];

/// The old data of sinks.
fn old() -> &'static [u8] {
    static OLD: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(9, 17 * MIB as usize));
    &OLD
}

/// All that a user of the copy can see of it.
#[derive(Debug, PartialEq)]
struct Seen {
    moved: u64,
    left: u64,
    told: u64,
    offsets: (u64, u64),
}

/// What drives a copy.
#[derive(Clone, Copy, Debug)]
enum Driven {
    Blocking {
        adaptive: bool,
    },
    /// Steps, each with this budget.
    Steps(u64),
}

/// Makes one copy. Returns what is seen of it, and how many bytes were holes.
fn copy((from, to): (&Path, &Path), case: Case, driven: Driven, keep: bool) -> (Seen, u64) {
    let mut source = File::open(from).unwrap();
    source.seek(SeekFrom::Start(case.from)).unwrap();
    // A new file: xfs may keep blocks for a file that is written again.
    let _ = fs::remove_file(to);
    match case.before {
        Before::Old(len) => fs::write(to, &old()[..len as usize]).unwrap(),
        Before::Empty | Before::Appending => fs::write(to, b"").unwrap(),
    }
    let appends = case.before == Before::Appending;
    let mut sink = File::options().write(true).append(appends).open(to).unwrap();
    sink.seek(SeekFrom::Start(case.to)).unwrap();
    let mut told = 0;
    let mut limited = Progress::new(&source, |n| told += n).take(case.limit);
    let report = match driven {
        Driven::Blocking { adaptive } => {
            let mut copier = Copier::new().adaptive(adaptive).keep_holes(keep);
            copier.copy(&mut limited, &mut sink).unwrap()
        }
        Driven::Steps(budget) => {
            let mut options = Options::default();
            options.keep_holes = keep;
            let mut transfer = Transfer::new(options);
            loop {
                let step = transfer.step(&mut limited, &mut sink, budget);
                assert!(step.taken <= budget, "{step:?}");
                match step.next {
                    Next::Again => {}
                    Next::Ended => break,
                    other => panic!("{other:?}"),
                }
            }
            transfer.report().clone()
        }
    };
    let left = limited.limit();
    let by: u64 = Mechanism::ALL.into_iter().map(|mechanism| report.moved_by(mechanism)).sum();
    assert_eq!(report.moved(), by + report.holes(), "{report:?}");
    let offsets = (files::position(&source), files::position(&sink));
    (Seen { moved: report.moved(), left, told, offsets }, report.holes())
}

/// Copies every layout in every case, with the option and without it.
fn copies((source, sink): (&Path, &Path), what: &str) {
    let (from, to, plain) = (source.join("from"), sink.join("to"), sink.join("plain"));
    for layout in LAYOUTS {
        make(&from, layout);
        for case in CASES {
            let (want, _) = copy((&from, &plain), case, Driven::Blocking { adaptive: true }, false);
            let driven = [
                Driven::Blocking { adaptive: true },
                Driven::Blocking { adaptive: false },
                Driven::Steps(700 * KIB),
            ];
            for driven in driven {
                let what = format!("{what} {layout:?} {case:?} {driven:?}");
                let (got, holes) = copy((&from, &to), case, driven, true);
                assert_eq!(got, want, "{what}");
                assert!(fs::read(&to).unwrap() == fs::read(&plain).unwrap(), "{what}");
                assert!(case.before != Before::Appending || holes == 0, "{what}: {holes}");
                // Counting blocks takes a sync, so it is done for a few of them.
                let all = (case.from, case.to, case.limit) == (0, 0, u64::MAX);
                if !all || !matches!(driven, Driven::Blocking { adaptive: true }) {
                    continue;
                }
                let (most, now) = (blocks(&plain), blocks(&to));
                assert!(now <= most + SLACK, "{what}: {now} blocks, {most} without");
                if case.before == Before::Empty {
                    let data: u64 = layout.1.iter().map(|(_, len)| len).sum();
                    // The largest blocks have 64 KiB.
                    let tails = layout.1.len() as u64 * 128 * KIB;
                    assert!(holes <= layout.0 - data, "{what}: {holes}");
                    assert!(holes + data + tails >= layout.0, "{what}: {holes}");
                    let most = blocks_by_cp(&from, &sink.join("cp"));
                    assert!(now <= most + SLACK, "{what}: {now} blocks, {most} by cp");
                }
            }
        }
    }
}

fn blocks_by_cp(from: &Path, to: &Path) -> u64 {
    let _ = fs::remove_file(to);
    let how = ["--sparse=auto", "--reflink=never"];
    assert!(Command::new("cp").args(how).args([from, to]).status().unwrap().success());
    blocks(to)
}

#[test]
fn copies_are_as_without_the_option_and_have_as_few_blocks_as_cp_s() {
    let _leaks = fds::no_leaks();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copies((dir.path(), dir.path()), "disk");
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    copies((memory.path(), dir.path()), "memory to disk");
}

#[test]
fn ext4_keeps_holes() {
    let _leaks = fds::no_leaks();
    on(Mount::ext4(150));
}

#[test]
fn tmpfs_keeps_holes() {
    let _leaks = fds::no_leaks();
    on(Mount::tmpfs(150 * KIB));
}

#[test]
fn xfs_keeps_holes() {
    let _leaks = fds::no_leaks();
    on(Mount::xfs(300));
}

#[test]
fn btrfs_keeps_holes() {
    let _leaks = fds::no_leaks();
    on(Mount::btrfs(300));
}

#[test]
fn overlays_keep_holes() {
    let _leaks = fds::no_leaks();
    on(Mount::overlay());
}

fn on(mount: Result<Mount, String>) {
    let Some(mount) = or_skip(mount) else { return };
    copies((&mount.root(), &mount.root()), mount.kind());
}

/// FUSE may know neither holes nor fallocate.
#[test]
fn a_file_system_that_knows_no_holes_gets_every_byte() {
    let _leaks = fds::no_leaks();
    let Some(mount) = or_skip(Mount::fuse(100)) else { return };
    let (from, to, plain) = (mount.path("from"), mount.path("to"), mount.path("plain"));
    make(&from, LAYOUTS[4]);
    for case in CASES {
        let driven = Driven::Blocking { adaptive: true };
        let (want, _) = copy((&from, &plain), case, driven, false);
        assert_eq!(copy((&from, &to), case, driven, true).0, want, "{case:?}");
        assert!(fs::read(&to).unwrap() == fs::read(&plain).unwrap(), "{case:?}");
    }
}

/// A hole, data, a hole: each is looked up once, and only the data is moved.
#[test]
fn each_hole_is_looked_up_once() {
    let _leaks = fds::no_leaks();
    use Syscall::{
        CopyFileRange, Fallocate, GetFlags, GetLock, Open, Read, Seek, SeekData, SeekHole, Statx,
    };
    let (from, to) = (files::empty(), files::empty());
    fill(&from, (4 * MIB, &[(MIB, MIB)]));
    let recorder = hook::record();
    let report = Copier::new().keep_holes(true).copy(&mut &from, &mut &to).unwrap();
    let calls: Vec<_> = recorder.calls().iter().map(|record| record.call.syscall).collect();
    assert_same(&files::contents(&to), &files::contents(&from));
    assert_eq!(report.calls(), calls.len() as u64);
    let from_the_first_hole = calls.iter().position(|&call| call == GetLock).unwrap();
    // The hole is looked up, and the sink is not in append mode. A range is claimed, and what of it lies beyond the hole
    // given back. Then the sink's range is claimed; statx tells how long the sink is.
    let hole = [GetLock, Open, Statx, SeekData, GetFlags, Seek, Seek, Seek, Statx];
    let data = [GetLock, Open, Statx, SeekData, SeekHole, CopyFileRange];
    // No data follows, so the file's length is asked for. The sink becomes as long, without a block.
    let last = [GetLock, Open, Statx, SeekData, Statx, Fallocate, Fallocate];
    let want = [&hole[..], &data, &last, &[Read]].concat();
    assert_eq!(calls[from_the_first_hole..], want);
}

/// A file without holes costs one call more. One that ends at the limit costs none to find its end.
#[test]
fn a_file_without_holes_is_not_looked_at() {
    let _leaks = fds::no_leaks();
    let from = files::holding(&bytes(1, MIB as usize));
    for keep in [true, false] {
        let to = files::empty();
        (&from).rewind().unwrap();
        let recorder = hook::record();
        Copier::new().keep_holes(keep).copy(&mut (&from).take(MIB), &mut &to).unwrap();
        assert!(recorder.calls_to(Syscall::Open).is_empty());
        assert_eq!(recorder.calls_to(Syscall::Statx).len(), if keep { 3 } else { 2 });
        assert!(recorder.calls_to(Syscall::Read).is_empty());
    }
}

/// Without the option none of these calls is made.
#[test]
fn no_hole_is_looked_up_by_default() {
    let _leaks = fds::no_leaks();
    let (from, to) = (files::empty(), files::empty());
    fill(&from, (MIB, &[]));
    let recorder = hook::record();
    let report = Copier::new().copy(&mut &from, &mut &to).unwrap();
    assert_eq!((report.moved(), report.holes()), (MIB, 0));
    for syscall in [Syscall::Open, Syscall::SeekData, Syscall::Fallocate, Syscall::GetLock] {
        assert!(recorder.calls_to(syscall).is_empty());
    }
}

/// What the kernel refuses to tell or to do is copied as zeros.
#[test]
fn a_hole_is_zeros_where_a_call_is_refused() {
    let _leaks = fds::no_leaks();
    let from = files::empty();
    fill(&from, LAYOUTS[4]);
    let want = files::contents(&from);
    let refusals = [
        (Syscall::GetLock, vec![libc::EINVAL, libc::ENOLCK, libc::ENOSYS]),
        (Syscall::Open, vec![libc::ENOENT, libc::EACCES, libc::EMFILE, libc::EAGAIN, libc::ELOOP]),
        (Syscall::SeekData, vec![libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS, libc::EIO]),
        (Syscall::SeekHole, vec![libc::EINVAL, libc::EOPNOTSUPP, libc::ENXIO]),
        (Syscall::Fallocate, vec![libc::EOPNOTSUPP, libc::ENOSYS, libc::EPERM, libc::ENOSPC]),
    ];
    for (syscall, errnos) in refusals {
        for errno in errnos {
            for before in [&[][..], old()] {
                let old = before.len();
                for driven in [Driven::Blocking { adaptive: true }, Driven::Steps(MIB)] {
                    let to = files::holding(before);
                    (&to).rewind().unwrap();
                    (&from).rewind().unwrap();
                    let _hook = hook::replace(move |call| match call.syscall {
                        asked if asked == syscall => Action::Fail(errno),
                        _ => Action::Proceed,
                    });
                    let mut options = Options::default();
                    options.keep_holes = true;
                    let mut transfer = Transfer::new(options);
                    let budget = match driven {
                        Driven::Blocking { .. } => u64::MAX,
                        Driven::Steps(budget) => budget,
                    };
                    loop {
                        match transfer.step(&mut &from, &mut &to, budget).next {
                            Next::Again => {}
                            Next::Ended => break,
                            other => panic!("{syscall:?} {errno}: {other:?}"),
                        }
                    }
                    let report = transfer.report();
                    let what = format!("{syscall:?} {errno} {old} {driven:?}: {report:?}");
                    assert_eq!(report.moved(), want.len() as u64, "{what}");
                    let got = files::contents(&to);
                    assert_same(&got[..want.len()], &want);
                    assert_same(&got[want.len()..], &before[want.len().min(old)..]);
                    // Beyond the sink's end no fallocate is needed.
                    let keeps = syscall == Syscall::Fallocate && old == 0;
                    assert!((report.holes() > 8 * MIB) == keeps, "{what}");
                    assert_eq!(files::position(&from), want.len() as u64);
                    assert_eq!(files::position(&to), want.len() as u64);
                }
            }
        }
    }
}

/// Each call of a copy fails in turn, once or from then on, with many errors. What is counted has arrived, and the
/// copy completes once no call fails any more.
#[test]
fn every_call_fails_in_turn() {
    let _leaks = fds::no_leaks();
    let errnos = [libc::EIO, libc::ENOSPC, libc::EBADF, libc::EINVAL, libc::EAGAIN];
    let from = files::empty();
    fill(&from, (600 * KIB, &[(0, KIB), (200 * KIB, 60 * KIB), (400 * KIB, 5)]));
    let (want, old) = (files::contents(&from), bytes(3, 300 * KIB as usize + 7));
    for (errno, for_good) in errnos.iter().flat_map(|&errno| [(errno, false), (errno, true)]) {
        for nth in 0.. {
            let what = format!("call {nth}, {errno}, for good: {for_good}");
            let to = files::holding(&old);
            (&to).rewind().unwrap();
            (&from).rewind().unwrap();
            let count = Rc::new(Cell::new(0));
            let counted = Rc::clone(&count);
            let guard = hook::replace(move |call| {
                let now = counted.replace(counted.get() + 1);
                // lseek gives a claim back, so it has to work in the end.
                let goes_on = for_good && call.syscall != Syscall::Seek;
                let fails = if goes_on { now >= nth } else { now == nth };
                if fails { Action::Fail(errno) } else { Action::Proceed }
            });
            let mut copier = Copier::new().keep_holes(true);
            let mut limited = (&from).take(u64::MAX);
            let outcome = copier.copy(&mut limited, &mut &to);
            drop(guard);
            let all = nth >= count.get();
            let mut moved = copier.report().moved();
            let taken = u64::MAX - limited.limit();
            assert_eq!(taken, moved + copier.in_flight() as u64, "{what}");
            assert_eq!(files::position(&from), taken, "{what}");
            assert_eq!(files::position(&to), moved, "{what}");
            assert_same(&files::contents(&to)[..moved as usize], &want[..moved as usize]);
            match outcome {
                Ok(_) => {}
                Err(error) => {
                    assert!(!all, "{error}");
                    moved += copier.copy(&mut limited, &mut &to).unwrap().moved();
                }
            }
            assert_eq!(moved, want.len() as u64, "{what}");
            assert_same(&files::contents(&to), &want);
            if all {
                break;
            }
        }
    }
}

/// The disk fills up in a hole of the source. The copy fails as one of zeros would, and completes once there is room.
#[test]
fn a_disk_that_fills_up_in_a_hole_loses_nothing() {
    let _leaks = fds::no_leaks();
    let Some(disk) = or_skip(Mount::tmpfs(1024)) else { return };
    let from = files::empty();
    fill(&from, (8 * MIB, &[(0, 8 * KIB), (4 * MIB, 8 * KIB)]));
    let want = files::contents(&from);
    let full = disk.path("full");
    let mut hog = File::create(&full).unwrap();
    let to = File::options().read(true).write(true).create_new(true).open(disk.path("to")).unwrap();
    // Leaves one page.
    while hog.write_all(&[1; 4096]).is_ok() {}
    hog.set_len(hog.metadata().unwrap().len() / 4096 * 4096 - 4096).unwrap();
    let mut copier = Copier::new().keep_holes(true);
    let error = copier.copy(&mut &from, &mut &to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(files::position(&to), error.moved());
    assert_eq!(files::position(&from), error.moved() + copier.in_flight() as u64);
    let moved = error.moved() as usize;
    assert_same(&files::contents(&to)[..moved], &want[..moved]);
    fs::remove_file(full).unwrap();
    drop(hog);
    copier.copy(&mut &from, &mut &to).unwrap();
    assert_same(&files::contents(&to), &want);
    assert!(to.metadata().unwrap().blocks() * 512 < MIB);
}

/// A source that becomes shorter has no holes beyond its end.
/// No hole is passed over to where no file reaches, and from there round to the sink's beginning.
#[test]
fn a_hole_does_not_fit_beyond_the_largest_offset() {
    let largest = i64::MAX as u64;
    for offset in [largest - MIB, largest, largest + 1, u64::MAX - MIB, u64::MAX - 1] {
        let _leaks = fds::no_leaks();
        let source = files::empty();
        source.write_all_at(b"behind the hole", 2 * MIB).unwrap();
        let sink = files::holding(b"not to be written over");
        let (mut from, mut to) = (&source, FileAt::new(&sink, offset).unwrap());
        let mut copier = Copier::new().keep_holes(true);
        let error = copier.copy(&mut from, &mut to).unwrap_err();
        let kinds = [ErrorKind::InvalidInput, ErrorKind::FileTooLarge];
        assert!(kinds.contains(&error.kind()), "{offset}: {error}");
        let taken = from.stream_position().unwrap();
        assert_eq!(taken, error.moved() + copier.in_flight() as u64, "{offset}");
        assert_eq!(to.offset(), offset + error.moved());
        let mut beginning = [0; 22];
        sink.read_exact_at(&mut beginning, 0).unwrap();
        assert_same(&beginning, b"not to be written over");
    }
}

#[test]
fn a_source_that_is_cut_short_has_no_holes_beyond_its_end() {
    let _leaks = fds::no_leaks();
    for at in [Syscall::Open, Syscall::SeekData, Syscall::Fallocate] {
        let (from, to) = (files::empty(), files::empty());
        fill(&from, (8 * MIB, &[(0, 8 * KIB)]));
        let same = from.try_clone().unwrap();
        let _hook = hook::replace(move |call| {
            if call.syscall == at {
                same.set_len(100).unwrap();
            }
            Action::Proceed
        });
        let report = Copier::new().keep_holes(true).copy(&mut &from, &mut &to).unwrap();
        let len = to.metadata().unwrap().len();
        assert_eq!((files::position(&from), report.moved(), files::position(&to)), (len, len, len));
        // The hole may have been looked up before the file was cut, and is then in the copy.
        assert!(len == 100 || len > 8 * KIB && at == Syscall::Fallocate, "{at:?}: {len}");
        assert_same(&files::contents(&to)[..100], &bytes(1, 100));
    }
}

/// What is written into a hole before the copy gets there is copied, also between two steps in one hole.
#[test]
fn what_is_written_into_a_hole_is_copied() {
    let _leaks = fds::no_leaks();
    let (from, to) = (files::empty(), files::empty());
    fill(&from, (8 * MIB, &[]));
    let mut options = Options::default();
    options.keep_holes = true;
    let mut transfer = Transfer::new(options);
    let first = transfer.step(&mut &from, &mut &to, MIB);
    assert_eq!((first.taken, first.delivered), (MIB, MIB));
    fill(&from, (8 * MIB, &[(MIB, 4096), (5 * MIB, 4096)]));
    while !matches!(transfer.step(&mut &from, &mut &to, MIB).next, Next::Ended) {}
    assert_same(&files::contents(&to), &files::contents(&from));
    assert_eq!(transfer.report().moved(), 8 * MIB);
}

/// Between the call that finds data and the one that finds where it ends, all of it may become a hole. The copy reads
/// and writes, since the file is small and goes to another device.
#[test]
fn data_that_becomes_a_hole_as_it_is_found_is_not_the_end() {
    let _leaks = fds::no_leaks();
    let layout = (60 * KIB, &[(0, 4 * KIB), (8 * KIB, KIB)][..]);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("sparse");
    make(&path, layout);
    let source = File::open(&path).unwrap();
    let on_disk = files::on_disk(b"");
    let same = File::options().write(true).open(&path).unwrap();
    let made = Rc::new(Cell::new(0));
    let count = made.clone();
    let _others = hook::replace(move |call| {
        if call.syscall == Syscall::SeekHole && count.replace(count.get() + 1) == 0 {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&same, hole, 0, 4 * KIB).unwrap();
        }
        Action::Proceed
    });
    let report = Copier::new().keep_holes(true).copy(&mut &source, &mut &on_disk).unwrap();
    assert!(made.get() > 0);
    assert_eq!((report.moved(), files::position(&source)), (60 * KIB, 60 * KIB));
    assert_same(&files::contents(&on_disk), &fs::read(&path).unwrap());
}

/// Another user of the open file puts it in append mode while the copy goes on: each byte and hole goes to its end,
/// which is where the copy was. (Where copy_file_range does not tell, a moment is left in which it may be too late.)
#[test]
fn a_sink_put_in_append_mode_meanwhile_gets_every_hole() {
    use Syscall::{CopyFileRange, SeekData, SeekHole};
    let told =
        [SeekData, SeekHole].into_iter().flat_map(|when| (1..4).map(move |n| (when, n, true)));
    for (when, calls, by_kernel) in told.chain([(SeekData, 1, false)]) {
        let _leaks = fds::no_leaks();
        let (source, sink) = (files::empty(), files::empty());
        fill(&source, (4 * MIB, &[(0, 64 * KIB), (MIB, 64 * KIB), (3 * MIB, 64 * KIB)]));
        let (same, made) = (sink.try_clone().unwrap(), Cell::new(0));
        let _others = hook::replace(move |call| {
            if call.syscall == when && made.replace(made.get() + 1) == calls {
                fcntl_setfl(&same, OFlags::APPEND).unwrap();
            }
            match call.syscall {
                CopyFileRange if !by_kernel => Action::Fail(libc::ENOSYS),
                _ => Action::Proceed,
            }
        });
        let report = Copier::new().keep_holes(true).copy(&mut &source, &mut &sink).unwrap();
        assert_eq!(report.moved(), 4 * MIB, "{when:?} {calls}");
        assert_same(&files::contents(&sink), &files::contents(&source));
    }
}

/// A copy of a file into itself, beyond its end or within, is as without the option.
#[test]
fn a_file_is_copied_into_itself_as_without_the_option() {
    let _leaks = fds::no_leaks();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    make(&path, (4 * MIB, &[(MIB, 8 * KIB)]));
    let content = fs::read(&path).unwrap();
    let from = File::open(&path).unwrap();
    let mut to = File::options().write(true).open(&path).unwrap();
    to.seek(SeekFrom::Start(4 * MIB)).unwrap();
    let report = Copier::new().keep_holes(true).copy(&mut &from, &mut &to).unwrap();
    assert_eq!((report.moved(), report.holes()), (4 * MIB, 0));
    assert_same(&fs::read(&path).unwrap(), &[&content[..], &content].concat());

    to.seek(SeekFrom::Start(2 * MIB)).unwrap();
    (&from).rewind().unwrap();
    let error = Copier::new().keep_holes(true).copy(&mut &from, &mut &to).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0));
}

/// A file that this process may read only through this descriptor cannot be opened again.
#[test]
fn a_file_that_may_not_be_opened_is_copied() {
    child::run("a_file_that_may_not_be_opened_is_copied", "nobody", || {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("from");
        make(&path, (4 * MIB, &[(MIB, 8 * KIB)]));
        let from = File::open(&path).unwrap();
        let to = files::empty();
        if !rustix::process::geteuid().is_root() {
            zc_testkit::skip::skip("to give up privileges one needs some");
            return;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(65534)).unwrap();
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
        let report = Copier::new().keep_holes(true).copy(&mut &from, &mut &to).unwrap();
        assert_eq!((report.moved(), report.holes()), (4 * MIB, 0));
        assert_same(&files::contents(&to), &files::contents(&from));
    });
}
