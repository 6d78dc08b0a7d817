//! A copy shares the file's extents on file systems that can.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use zc_std::{Copier, Mechanism};
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::files::{contents, position};
use zc_testkit::mounts::Mount;
use zc_testkit::raw;
use zc_testkit::skip::or_skip;

const LEN: usize = 48 << 20;

/// Free space in bytes, after a sync.
fn free(mount: &Mount) -> u64 {
    let root = File::open(mount.root()).unwrap();
    rustix::fs::syncfs(&root).unwrap();
    let stat = rustix::fs::fstatvfs(&root).unwrap();
    stat.f_bfree * stat.f_frsize
}

fn shares(mount: fn(u64) -> Result<Mount, String>) {
    for adaptive in [false, true] {
        let Some(mount) = or_skip(mount(320)) else { return };
        shares_on(&mount, adaptive);
    }
}

fn shares_on(mount: &Mount, adaptive: bool) {
    let sent = bytes(0, LEN);
    std::fs::write(mount.path("source"), &sent).unwrap();
    let source = File::open(mount.path("source")).unwrap();
    source.sync_all().unwrap();
    let before = free(mount);

    let mut copy =
        File::options().read(true).write(true).create_new(true).open(mount.path("copy")).unwrap();
    let mut limited = (&source).take(1 << 40);
    let mut copier = Copier::new().adaptive(adaptive);
    let report = copier.copy(&mut limited, &mut copy).unwrap();
    assert_eq!((report.moved(), (1 << 40) - limited.limit()), (LEN as u64, LEN as u64));
    assert_eq!(report.moved_by(Mechanism::CopyFileRange), LEN as u64, "{report:?}");
    assert_eq!((position(&source), position(&copy)), (LEN as u64, LEN as u64));
    let used = before.saturating_sub(free(mount));
    let (extents, shared) = raw::extents(&copy).unwrap();
    assert!(shared > 0 && shared == extents, "{shared} of {extents} are shared");
    // Metadata takes some.
    assert!(used < 1 << 20, "the copy took {used} bytes");
    assert_joined(&sent, &[("the copy", &contents(&copy))]);
    eprintln!(
        "{}, adaptive {adaptive}: {LEN} bytes copied, {} of them by copy_file_range, {shared} of \
         {extents} extents shared, {used} bytes of space used",
        mount.kind(),
        report.moved_by(Mechanism::CopyFileRange)
    );

    // The files share extents, and a write to one does not change the other.
    source.read_exact_at(&mut [0], 0).unwrap();
    let mut writer = File::options().write(true).open(mount.path("source")).unwrap();
    writer.write_all(&[0xaa; 4096]).unwrap();
    assert_joined(&sent, &[("the copy, after a write to the source", &contents(&copy))]);
}

#[test]
fn xfs_shares_extents() {
    let _leaks = fds::no_leaks();
    shares(Mount::xfs);
}

#[test]
fn btrfs_shares_extents() {
    let _leaks = fds::no_leaks();
    shares(Mount::btrfs);
}

/// A file system that cannot share copies the bytes. FIEMAP shows that `shares` can tell the difference.
#[test]
fn ext4_shares_nothing() {
    let _leaks = fds::no_leaks();
    let Some(mount) = or_skip(Mount::ext4(32)) else { return };
    let sent = bytes(0, 4 << 20);
    std::fs::write(mount.path("source"), &sent).unwrap();
    let mut source = File::open(mount.path("source")).unwrap();
    let mut copy =
        File::options().read(true).write(true).create_new(true).open(mount.path("copy")).unwrap();
    Copier::new().copy(&mut source, &mut copy).unwrap();
    let (extents, shared) = raw::extents(&copy).unwrap();
    assert!(extents > 0 && shared == 0, "{shared} of {extents} extents are shared");
    assert_joined(&sent, &[("the copy", &contents(&copy))]);
}

/// Copies a file of more than 4 GiB, nearly all of it a hole, in one copy.
fn huge(mount: Result<Mount, String>) {
    let Some(mount) = or_skip(mount) else { return };
    let len = (5 << 30) + 4321;
    let marks = bytes(0, 1 << 20);
    let mut source =
        File::options().read(true).write(true).create_new(true).open(mount.path("source")).unwrap();
    source.set_len(len).unwrap();
    let places = [0, (4 << 30) - 500_000, len - marks.len() as u64];
    for at in places {
        source.write_all_at(&marks, at).unwrap();
    }
    source.sync_all().unwrap();
    source.seek(SeekFrom::Start(0)).unwrap();
    let mut copy =
        File::options().read(true).write(true).create_new(true).open(mount.path("copy")).unwrap();
    let mut limited = (&source).take(u64::MAX);
    let report = Copier::new().copy(&mut limited, &mut copy).unwrap();
    assert_eq!((report.moved(), u64::MAX - limited.limit()), (len, len));
    assert_eq!((position(&source), position(&copy)), (len, len));
    assert_eq!(copy.metadata().unwrap().len(), len);
    for at in places {
        let mut copied = vec![0; marks.len()];
        copy.read_exact_at(&mut copied, at).unwrap();
        assert_joined(&marks, &[("the copy", &copied)]);
    }
    let mut hole = [1; 4096];
    copy.read_exact_at(&mut hole, 3 << 30).unwrap();
    assert_eq!(hole, [0; 4096]);
}

#[test]
fn xfs_copies_more_than_four_gibibytes() {
    let _leaks = fds::no_leaks();
    huge(Mount::xfs(320));
}

#[test]
fn btrfs_copies_more_than_four_gibibytes() {
    let _leaks = fds::no_leaks();
    huge(Mount::btrfs(320));
}
