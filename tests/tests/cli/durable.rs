//! What is on the disk when `zc` is done, and what is left after a power cut.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use zc_testkit::cli::{Nobody, Receiver, binary, give_to_nobody, names, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::mounts::Mount;
use zc_testkit::raw;
use zc_testkit::skip::or_skip;

const LEN: usize = 3_000_000;

/// Cuts the power after other programs have had the file system's journal written.
fn power_cut(mount: &Mount) {
    let other = File::create(mount.path("other")).unwrap();
    other.sync_all().unwrap();
    drop(other);
    mount.power_cut().unwrap();
}

/// The old file is there, or all of the new one.
#[test]
fn replaced_files_survive_a_power_cut() {
    let journaling = [Mount::xfs(300), Mount::ext4(64)];
    for mount in journaling.into_iter().filter_map(or_skip) {
        let content = bytes(1, LEN);
        let path = mount.path("file");
        for received in [false, true] {
            fs::write(&path, "what was there").unwrap();
            File::open(&path).unwrap().sync_all().unwrap();
            if received {
                let receiver = Receiver::start("127.0.0.1:0", &path, &[]);
                run(&mut zc(["send", "-", &receiver.address]), &content).expect_success();
                receiver.finish().expect_success();
            } else {
                run(zc(["cp", "-"]).arg(&path), &content).expect_success();
            }
            power_cut(&mount);
            assert!(fs::read(&path).unwrap() == content, "{}", mount.kind());
        }
    }
}

/// With `--sync` a new file survives, and so does its name.
#[test]
fn new_files_survive_a_power_cut() {
    let journaling = [Mount::xfs(300), Mount::ext4(64)];
    for mount in journaling.into_iter().filter_map(or_skip) {
        let content = bytes(2, LEN);
        let (new, placed) = (mount.path("new"), mount.path("in place"));
        run(zc(["cp", "--sync", "-"]).arg(&new), &content).expect_success();
        run(zc(["cp", "--sync", "--in-place", "-"]).arg(&placed), &content).expect_success();
        mount.power_cut().unwrap();
        assert!(fs::read(&new).unwrap() == content, "{}", mount.kind());
        assert!(fs::read(&placed).unwrap() == content, "{}", mount.kind());
    }
}

/// Whether `zc cp - TO OPTIONS` waits for the disk: it does if it fails where a sync fails.
fn waits(to: &Path, options: &[&str]) -> bool {
    binary();
    thread::scope(|scope| {
        let outcome = scope.spawn(move || {
            raw::deny(&[libc::SYS_fsync, libc::SYS_fdatasync], libc::EIO).unwrap();
            run(zc(["cp", "-"]).arg(to).args(options), b"new")
        });
        let outcome = outcome.join().unwrap();
        match outcome.code() {
            Some(0) => outcome.expect_success(),
            _ => outcome.expect_failure(1, &["cannot put ", "(EIO), after 3 bytes"]),
        }
        outcome.code() != Some(0)
    })
}

/// A file that came while the new one was written is replaced like any other.
#[test]
fn waits_for_the_disk_if_a_file_has_come_meanwhile() {
    let (unnamed, named) = (scratch(), or_skip(Mount::fuse(16)));
    // Not with these calls denied.
    binary();
    let directories = [Some(unnamed.path().to_owned()), named.as_ref().map(Mount::root)];
    for dir in directories.into_iter().flatten() {
        let target = dir.join("target");
        let receiver = thread::scope(|scope| {
            let start = scope.spawn(|| {
                raw::deny(&[libc::SYS_fsync, libc::SYS_fdatasync], libc::EIO).unwrap();
                Receiver::start("127.0.0.1:0", &target, &[])
            });
            start.join().unwrap()
        });
        let before = names(&dir);
        fs::write(&target, "what has come").unwrap();
        let sent = run(&mut zc(["send", "-", &receiver.address]), b"new");
        assert_eq!(sent.code(), Some(1), "{sent:?}");
        receiver.finish().expect_failure(1, &["cannot put ", "(EIO), after 3 bytes; "]);
        assert_eq!(fs::read(&target).unwrap(), b"what has come");
        // Where it has a temporary name, it keeps that.
        assert!(names(&dir).len() > before.len().max(1), "{:?}", names(&dir));
    }
}

/// `--sync` is about the name, too, and of files that are not new. A link to the file is in another directory.
#[test]
fn waits_for_the_name_of_every_file() {
    let (nobody, dir, links) = (Nobody::new(), scratch(), scratch());
    let (to, link) = (dir.path().join("to"), links.path().join("link"));
    std::os::unix::fs::symlink(&to, &link).unwrap();
    give_to_nobody(dir.path());
    for options in [&["--sync"][..], &["--sync", "--resume"], &["--sync", "--in-place"]] {
        for before in [None, Some("x")] {
            let _ = fs::remove_file(&to);
            if let Some(before) = before {
                fs::write(&to, before).unwrap();
                give_to_nobody(&to);
            }
            // A directory that cannot be read cannot be synced, and then the whole file system is.
            fs::set_permissions(dir.path(), Permissions::from_mode(0o333)).unwrap();
            let outcome = thread::scope(|scope| {
                let outcome = scope.spawn(|| {
                    raw::deny(&[libc::SYS_syncfs], libc::EIO).unwrap();
                    run(nobody.zc(&["cp", "-"]).arg(&link).args(options), b"xyz")
                });
                outcome.join().unwrap()
            });
            fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
            outcome.expect_failure(1, &["cannot put ", "(EIO)"]);
        }
    }
}

#[test]
fn waits_for_the_disk_as_asked() {
    for (options, old, new) in
        [(&[][..], true, false), (&["--sync"], true, true), (&["--no-sync"], false, false)]
    {
        let dir = scratch();
        fs::write(dir.path().join("old"), "what was there").unwrap();
        assert_eq!(waits(&dir.path().join("old"), options), old, "{options:?}");
        // The old file is intact if the disk failed, and the new one is kept.
        let now = fs::read(dir.path().join("old")).unwrap();
        assert_eq!(now, if old { &b"what was there"[..] } else { b"new" });
        assert_eq!(names(dir.path()).len(), if old { 2 } else { 1 });
        assert_eq!(waits(&dir.path().join("new"), options), new, "{options:?}");
    }
    // A sink that has no disk is no failure.
    run(&mut zc(["cp", "--sync", "-", "/dev/null"]), b"x").expect_success();
    run(&mut zc(["cp", "--sync", "-", "-"]), b"x").expect_success();
}
