//! Sinks that run out of room: full disks, quotas, RLIMIT_FSIZE, /dev/full.
//!
//! All that was taken from the source is in the file or handed back. The copy goes on once there is room again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use rustix::process::Resource;
use zc_std::{Copier, CopyError, PageSharing};
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::ends::To;
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{contents, position};
use zc_testkit::mounts::{Mount, run};
use zc_testkit::skip::or_skip;
use zc_testkit::streams::Stream;
use zc_testkit::{child, limits, raw};

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EFBIG: i32 = 27;

const UPLOAD: usize = 4 << 20;
/// What the disk has room for.
const ROOM: u64 = 1 << 20;
/// A limit that is never reached: what is left of it tells how much was taken.
const FAR: u64 = 1 << 40;

/// The error of a full sink.
#[derive(Clone, Copy)]
struct Full {
    kind: ErrorKind,
    errno: i32,
}

const DISK: Full = Full { kind: ErrorKind::StorageFull, errno: ENOSPC };
const QUOTA: Full = Full { kind: ErrorKind::QuotaExceeded, errno: EDQUOT };
const LIMIT: Full = Full { kind: ErrorKind::FileTooLarge, errno: EFBIG };

fn assert_full(error: &CopyError, full: Full) {
    assert_eq!((error.kind(), error.raw_os_error()), (full.kind, Some(full.errno)), "{error}");
    let call = error.syscall();
    let calls = ["splice", "copy_file_range", "sendfile", "write"];
    assert!(call.is_some_and(|call| calls.contains(&call)), "{call:?}");
}

/// A copier fills the sink and fails again for as long as it is full. It completes the copy once `make_room` has been
/// called.
fn resumes(path: &Path, kind: Stream, adaptive: bool, full: Full, make_room: impl FnOnce()) {
    let sent = bytes(0, UPLOAD);
    let (ours, theirs) = kind.sockets();
    let feeder = Feeder::until_refused(theirs, sent.clone());
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let mut source = ours.take(FAR);
    let mut copier = Copier::new().adaptive(adaptive);

    let mut moved = 0;
    for _ in 0..3 {
        let error = copier.copy(&mut source, &mut file).unwrap_err();
        assert_full(&error, full);
        assert!(error.residue().is_empty(), "the copier keeps it");
        assert_eq!(copier.report().moved(), error.moved());
        moved += error.moved();
        let taken = FAR - source.limit();
        assert_eq!(moved + copier.in_flight() as u64, taken, "delivered + in flight == taken");
        assert_eq!((position(&file), file.metadata().unwrap().len()), (moved, moved));
        assert!(copier.in_flight() > 0, "it can only fail when it has something to write");
    }
    let in_flight = copier.in_flight();
    make_room();
    let report = copier.copy(&mut source, &mut file).unwrap();
    moved += report.moved();
    assert_eq!((moved, FAR - source.limit()), (UPLOAD as u64, UPLOAD as u64));
    assert_eq!((copier.in_flight(), position(&file)), (0, UPLOAD as u64));
    assert_joined(&sent, &[("the file", &contents(&file))]);
    assert_eq!(feeder.finish().unwrap(), UPLOAD);
    eprintln!("{kind:?}, adaptive {adaptive}: {in_flight} in flight while full, lost 0");
}

/// `copy` hands the residue over. The file, the residue and what is left in the socket are together all that was
/// sent.
fn hands_over(path: &Path, kind: Stream, full: Full) {
    let sent = bytes(0, UPLOAD);
    let (ours, theirs) = kind.sockets();
    let feeder = Feeder::until_refused(theirs, sent.clone());
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let mut source = ours.take(FAR);

    let error = zc_std::copy(&mut source, &mut file).unwrap_err();
    assert_eq!(error.kind(), full.kind);
    let error = CopyError::from_io(&error).expect("a CopyError inside");
    assert_full(error, full);
    let taken = FAR - source.limit();
    assert_eq!(error.moved() + error.residue().len() as u64, taken);
    assert_eq!((position(&file), file.metadata().unwrap().len()), (error.moved(), error.moved()));

    let mut rest = Vec::new();
    source.read_to_end(&mut rest).unwrap();
    assert_joined(
        &sent,
        &[("the file", &contents(&file)), ("the residue", error.residue()), ("the rest", &rest)],
    );
    assert_eq!(feeder.finish().unwrap(), UPLOAD);
    eprintln!(
        "{kind:?}: sent {UPLOAD}, in the file {}, residue {}, still in the socket {}, lost 0",
        error.moved(),
        error.residue().len(),
        rest.len()
    );
}

/// From a file nothing is in flight unless it was read. The source's offset says the same.
fn from_a_file(path: &Path, full: Full, make_room: impl FnOnce()) {
    let sent = bytes(0, UPLOAD);
    let mut source = tempfile::tempfile().unwrap();
    source.write_all(&sent).unwrap();
    std::io::Seek::rewind(&mut source).unwrap();
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let mut limited = (&source).take(FAR);
    let mut copier = Copier::new();

    let error = copier.copy(&mut limited, &mut file).unwrap_err();
    assert_full(&error, full);
    let taken = FAR - limited.limit();
    assert_eq!(error.moved() + copier.in_flight() as u64, taken);
    assert_eq!((position(&source), position(&file)), (taken, error.moved()));
    make_room();
    let report = copier.copy(&mut limited, &mut file).unwrap();
    assert_eq!(error.moved() + report.moved(), UPLOAD as u64);
    assert_eq!(FAR - limited.limit(), UPLOAD as u64);
    assert_joined(&sent, &[("the file", &contents(&file))]);
}

/// Fills the disk, but for [`ROOM`].
fn ballast(mount: &Mount) -> impl Fn() + use<> {
    let (path, root) = (mount.path("ballast"), mount.root());
    let mut file = File::create(&path).unwrap();
    let block = vec![1; 64 << 10];
    while file.write_all(&block).is_ok() {}
    file.sync_all().unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - ROOM).unwrap();
    file.sync_all().unwrap();
    let sync = move || rustix::fs::syncfs(File::open(&root).unwrap()).unwrap();
    sync();
    move || {
        fs::remove_file(&path).unwrap();
        sync();
    }
}

fn full_disk(mount: Result<Mount, String>) {
    let Some(mount) = or_skip(mount) else { return };
    let upload = mount.path("upload");
    for kind in Stream::SOCKETS {
        let _ = ballast(&mount);
        hands_over(&upload, kind, DISK);
        fs::remove_file(&upload).unwrap();
        for adaptive in [true, false] {
            resumes(&upload, kind, adaptive, DISK, ballast(&mount));
            fs::remove_file(&upload).unwrap();
        }
    }
    from_a_file(&upload, DISK, ballast(&mount));
}

#[test]
fn a_full_tmpfs_loses_nothing() {
    let _leaks = fds::no_leaks();
    full_disk(Mount::tmpfs(8 << 10));
}

#[test]
fn an_upload_larger_than_its_tmpfs_loses_nothing() {
    let _leaks = fds::no_leaks();
    for kind in Stream::SOCKETS {
        let Some(mount) = or_skip(Mount::tmpfs(1 << 10)) else { return };
        hands_over(&mount.path("upload"), kind, DISK);
    }
}

/// Before Linux 5.18 sendfile and splice allocate the pages of a hole on tmpfs, so that a source can run out of room.
/// A read allocates none.
#[test]
fn a_sparse_file_leaves_a_small_tmpfs() {
    let _leaks = fds::no_leaks();
    let mut failed = Vec::new();
    for adaptive in [true, false] {
        for to in [To::File, To::Tcp4, To::Unix, To::Pipe, To::Null] {
            let Some(mount) = or_skip(Mount::tmpfs(1 << 10)) else { return };
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create_new(true);
            let source = options.open(mount.path("sparse")).unwrap();
            source.set_len(UPLOAD as u64).unwrap();
            let mut taker = to.open();

            // Room for the pages of a pipe.
            let mut copier = Copier::new().adaptive(adaptive).page_sharing(PageSharing::Always);
            let outcome = copier.copy(&mut &source, &mut taker.sink);

            let name = format!("to {to:?}, adaptive {adaptive}");
            let arrived = taker.finish();
            let report = match outcome {
                Ok(report) => report,
                Err(error) => {
                    assert_eq!(position(&source), error.moved(), "{name}");
                    if let Some(arrived) = arrived {
                        assert_eq!(arrived.len() as u64, error.moved(), "{name}");
                    }
                    failed.push(format!("{name}: {error}"));
                    continue;
                }
            };
            assert_eq!((report.moved(), position(&source)), (UPLOAD as u64, UPLOAD as u64));
            if let Some(arrived) = arrived {
                assert_joined(&vec![0; UPLOAD], &[(&name, &arrived)]);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_full_ext4_loses_nothing() {
    let _leaks = fds::no_leaks();
    full_disk(Mount::ext4(16));
}

#[test]
fn a_full_overlay_is_a_full_disk() {
    let _leaks = fds::no_leaks();
    // An overlay of its own on a small tmpfs.
    let Some(disk) = or_skip(Mount::tmpfs(1 << 10)) else { return };
    let dirs = ["lower", "upper", "work", "merged"].map(|name| disk.path(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    let [lower, upper, work, merged] = dirs.map(|dir| dir.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mounted = run("mount", &["-t", "overlay", "-o", &options, "zc", &merged]);
    let Some(()) = or_skip(mounted) else { return };
    let outcome = std::panic::catch_unwind(|| {
        hands_over(&Path::new(&merged).join("upload"), Stream::Tcp, DISK);
    });
    run("umount", &[&merged]).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// A kernel may lack ext4 quotas. A quota group of btrfs answers EDQUOT, too.
#[test]
fn a_disk_quota_that_is_used_up_loses_nothing() {
    let _leaks = fds::no_leaks();
    let Some(mount) = or_skip(Mount::btrfs(256)) else { return };
    let (root, home) = (mount.root().display().to_string(), mount.path("home"));
    let at = home.display().to_string();
    let limit = |limit: &str| run("btrfs", &["qgroup", "limit", limit, &at]);
    let ready = run("btrfs", &["quota", "enable", &root])
        .and_then(|()| run("btrfs", &["subvolume", "create", &at]))
        .and_then(|()| limit("1M"));
    let Some(()) = or_skip(ready) else { return };

    let upload = home.join("upload");
    let clear = || {
        let _ = fs::remove_file(&upload);
        // The group counts freed space once the transaction is committed.
        run("btrfs", &["filesystem", "sync", &root]).unwrap();
        limit("1M").unwrap();
    };
    for kind in Stream::SOCKETS {
        clear();
        hands_over(&upload, kind, QUOTA);
        clear();
        resumes(&upload, kind, true, QUOTA, || limit("none").unwrap());
    }
    clear();
    from_a_file(&upload, QUOTA, || limit("none").unwrap());
}

#[test]
fn dev_full_loses_nothing() {
    let _leaks = fds::no_leaks();
    for kind in Stream::SOCKETS {
        for adaptive in [true, false] {
            let sent = bytes(0, UPLOAD);
            let (ours, theirs) = kind.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let mut source = ours.take(FAR);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut full).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (DISK.kind, Some(ENOSPC)), "{error}");
            assert_eq!((error.syscall(), error.moved()), (Some("write"), 0));
            let residue = copier.take_residue();
            assert_eq!(FAR - source.limit(), residue.len() as u64);
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_joined(&sent, &[("the residue", &residue), ("the rest", &rest)]);
            assert_eq!(feeder.finish().unwrap(), UPLOAD);
        }
    }
}

/// The limit is the process's, so each case runs in a process of its own.
#[test]
fn a_file_size_limit_loses_nothing() {
    const TEST: &str = "a_file_size_limit_loses_nothing";
    let limited = || {
        raw::ignore(libc::SIGXFSZ).unwrap();
        limits::set_soft(Resource::Fsize, Some(ROOM))
    };
    for kind in Stream::SOCKETS {
        for adaptive in [true, false] {
            child::run(TEST, &format!("resume {kind:?} {adaptive}"), || {
                let _leaks = fds::no_leaks();
                let dir = tempfile::tempdir().unwrap();
                let before = limited();
                resumes(&dir.path().join("upload"), kind, adaptive, LIMIT, || {
                    limits::set_soft(Resource::Fsize, before);
                });
            });
        }
        child::run(TEST, &format!("hand over {kind:?}"), || {
            let _leaks = fds::no_leaks();
            let dir = tempfile::tempdir().unwrap();
            let before = limited();
            hands_over(&dir.path().join("upload"), kind, LIMIT);
            limits::set_soft(Resource::Fsize, before);
        });
    }
    child::run(TEST, "from a file", || {
        let _leaks = fds::no_leaks();
        let dir = tempfile::tempdir().unwrap();
        // The source has to be made before the limit is set.
        let source = dir.path().join("source");
        let sent = bytes(0, UPLOAD);
        fs::write(&source, &sent).unwrap();
        let before = limited();
        let (mut source, path) = (File::open(&source).unwrap(), dir.path().join("upload"));
        let mut file = OpenOptions::new();
        let mut file = file.read(true).write(true).create_new(true).open(path).unwrap();
        let mut copier = Copier::new();
        let error = copier.copy(&mut source, &mut file).unwrap_err();
        assert_full(&error, LIMIT);
        assert_eq!((error.moved(), position(&file)), (ROOM, ROOM));
        assert_eq!(position(&source), ROOM + copier.in_flight() as u64);
        limits::set_soft(Resource::Fsize, before);
        let report = copier.copy(&mut source, &mut file).unwrap();
        assert_eq!(ROOM + report.moved(), UPLOAD as u64);
        assert_joined(&sent, &[("the file", &contents(&file))]);
    });
}

/// With the signal's default action the process dies, as by any other write. What it had delivered is in the file.
#[test]
fn a_file_size_limit_kills_by_its_signal() {
    let dir = tempfile::tempdir().unwrap();
    for kind in Stream::SOCKETS {
        let path = dir.path().join(format!("upload-{kind:?}"));
        let variable = "ZC_TEST_UPLOAD";
        // Only the child reads it; its own `dir` is another one.
        let target = std::env::var_os(variable);
        let test = "a_file_size_limit_kills_by_its_signal";
        let killed = child::run_until_killed_with(
            test,
            &format!("{kind:?}"),
            &[(variable, path.as_os_str())],
            libc::SIGXFSZ,
            || {
                // A core dump would land in the source tree.
                limits::set_soft(Resource::Core, Some(0));
                limits::set_soft(Resource::Fsize, Some(ROOM));
                let (mut ours, theirs) = kind.sockets();
                let _feeder = Feeder::until_refused(theirs, bytes(0, UPLOAD));
                let mut file = File::create(target.expect("set by the parent")).unwrap();
                let outcome = zc_std::copy(&mut ours, &mut file);
                panic!("it lived to see {outcome:?}");
            },
        );
        if killed {
            let sent = bytes(0, UPLOAD);
            let written = fs::read(&path).unwrap();
            assert_eq!(written.len() as u64, ROOM);
            assert_joined(&sent[..written.len()], &[("the file", &written)]);
        }
    }
}
