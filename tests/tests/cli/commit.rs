//! A complete copy is put in place whatever the directory and the file system refuse, as by cp. If that is
//! impossible, its bytes are kept.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use zc_testkit::cli::{
    Nobody, Outcome, Receiver, binary, give_to_nobody, have, in_mount_namespace, is_root, names,
    run, scratch, zc,
};
use zc_testkit::data::bytes;
use zc_testkit::mounts::{self, Mount};
use zc_testkit::raw;
use zc_testkit::skip::{or_skip, skip};

const LEN: usize = 1_000_001;

const RENAMES: [libc::c_long; 3] = [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];

/// Runs `body` where `calls` fail with `errno`, also in the programs that it starts.
fn denied<T: Send>(calls: &[libc::c_long], errno: i32, body: impl FnOnce() -> T + Send) -> T {
    // Not with these calls denied.
    binary();
    thread::scope(|scope| {
        let denied = scope.spawn(move || {
            raw::deny(calls, errno).unwrap();
            body()
        });
        denied.join().unwrap()
    })
}

/// Copies with `zc cp` over an old file and to a new name. Asserts that the bytes are there, and nothing else.
#[track_caller]
fn copies_into(dir: &Path) {
    let from = scratch();
    let from = from.path().join("from");
    let before = names(dir);
    for (seed, name) in ["old", "new"].into_iter().enumerate() {
        let (to, content) = (dir.join(name), bytes(seed as u64, LEN));
        fs::write(&from, &content).unwrap();
        if name == "old" {
            fs::write(&to, "what was there").unwrap();
        }
        run(zc(["cp"]).args([&from, &to]), b"").expect_success();
        assert!(fs::read(&to).unwrap() == content, "{name}");
    }
    let mut after = before;
    after.extend(["old".into(), "new".into()]);
    assert_eq!(names(dir), after);
}

/// The same with `zc recv`.
#[track_caller]
fn receives_into(dir: &Path) {
    for (seed, name) in ["old", "new"].into_iter().enumerate() {
        let (to, content) = (dir.join(name), bytes(10 + seed as u64, LEN));
        let _ = fs::remove_file(dir.join("new"));
        if name == "old" {
            fs::write(&to, "what was there").unwrap();
        }
        let receiver = Receiver::start("127.0.0.1:0", &to, &[]);
        run(&mut zc(["send", "-", &receiver.address]), &content).expect_success();
        receiver.finish().expect_success();
        assert!(fs::read(&to).unwrap() == content, "{name}");
    }
    assert!(names(dir).iter().all(|name| !name.ends_with(".tmp")), "{:?}", names(dir));
}

#[test]
fn writes_the_old_file_where_renames_are_refused() {
    for errno in [libc::ENOSYS, libc::EXDEV, libc::EPERM, libc::EBUSY] {
        denied(&RENAMES, errno, || {
            let dir = scratch();
            copies_into(dir.path());
            receives_into(dir.path());
        });
    }
}

#[test]
fn writes_the_old_file_where_links_are_refused_too() {
    let calls = [&RENAMES[..], &[libc::SYS_linkat, libc::SYS_link]].concat();
    denied(&calls, libc::EPERM, || {
        let dir = scratch();
        copies_into(dir.path());
        receives_into(dir.path());
    });
}

/// Files have a temporary name there, and `zc` knows from the start that they cannot get another.
#[test]
fn writes_the_old_file_where_every_file_has_a_name() {
    let Some(mount) = or_skip(Mount::fuse(40)) else { return };
    copies_into(&mount.root());
    for errno in [libc::ENOSYS, libc::EXDEV] {
        denied(&RENAMES, errno, || {
            let dir = mount.path(&format!("dir{errno}"));
            fs::create_dir(&dir).unwrap();
            copies_into(&dir);
            receives_into(&dir);
            // A failure leaves no file behind.
            fs::remove_file(dir.join("new")).unwrap();
            let before = names(&dir);
            run(zc(["cp", "-", "--expect", "2"]).arg(dir.join("new")), b"x")
                .expect_failure(3, &[", after 1 byte"]);
            assert_eq!(names(&dir), before);
        });
    }
}

/// A file is mounted on the target, as in a container.
#[test]
fn writes_a_file_that_is_mounted_on() {
    for zc in [r#"cp "$1/from" "$1/target""#, r#"cp - "$1/target" <"$1/from""#] {
        let dir = scratch();
        let content = bytes(1, LEN);
        fs::write(dir.path().join("from"), &content).unwrap();
        fs::write(dir.path().join("behind"), "what was there").unwrap();
        fs::write(dir.path().join("target"), "below").unwrap();
        let script = format!(r#"mount --bind "$1/behind" "$1/target" && "$0" {zc}"#);
        let Some(mut command) =
            in_mount_namespace("writes_a_file_that_is_mounted_on", &script, dir.path())
        else {
            return;
        };
        run(&mut command, b"").expect_success();
        assert!(fs::read(dir.path().join("behind")).unwrap() == content);
        assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"below");
    }
}

#[test]
fn receives_onto_what_is_mounted_on() {
    let dir = scratch();
    let content = bytes(2, LEN);
    fs::write(dir.path().join("behind"), "what was there").unwrap();
    fs::write(dir.path().join("target"), "below").unwrap();
    let script =
        r#"mount --bind "$1/behind" "$1/target" && exec "$0" recv 127.0.0.1:0 "$1/target""#;
    let test = "receives_onto_what_is_mounted_on";
    let Some(mut command) = in_mount_namespace(test, script, dir.path()) else { return };
    let receiver = Receiver::of(&mut command);
    // Until there is a connection, nothing is lost.
    assert_eq!(fs::read(dir.path().join("behind")).unwrap(), b"what was there");
    run(&mut zc(["send", "-", &receiver.address]), &content).expect_success();
    receiver.finish().expect_success();
    assert!(fs::read(dir.path().join("behind")).unwrap() == content);
    assert_eq!(names(dir.path()).len(), 2);
}

/// In a directory such as /tmp another user's file may be written, but neither removed nor renamed over.
#[test]
fn writes_anothers_file_in_a_sticky_directory() {
    if !is_root() {
        return skip(
            "writes_anothers_file_in_a_sticky_directory: takes root, to have files of two users",
        );
    }
    let (nobody, dir) = (Nobody::new(), scratch());
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    let (target, content) = (shared.join("target"), bytes(3, LEN));
    fs::write(&target, "what was there").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
    let inode = fs::metadata(&target).unwrap().ino();

    run(&mut nobody.zc(&["cp", "-", target.to_str().unwrap()]), &content).expect_success();
    assert!(fs::read(&target).unwrap() == content);
    // Root may rename over it, and does.
    assert_eq!(fs::metadata(&target).unwrap().ino(), inode);
    run(zc(["cp", "-"]).arg(&target), b"root's").expect_success();
    assert_ne!(fs::metadata(&target).unwrap().ino(), inode);
    assert_eq!(names(&shared).len(), 1);
}

/// The file may be written, and the directory may not.
#[test]
fn writes_the_old_file_in_another_user_s_directory() {
    let (nobody, dir) = (Nobody::new(), scratch());
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let (target, content) = (locked.join("target"), bytes(4, LEN));
    fs::write(&target, "what was there").unwrap();
    give_to_nobody(&target);
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    let outcome = run(&mut nobody.zc(&["cp", "-", target.to_str().unwrap()]), &content);
    fs::set_permissions(&locked, Permissions::from_mode(0o755)).unwrap();
    outcome.expect_success();
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(names(&locked).len(), 1);
}

/// Names can be made in such a directory, but neither changed nor removed.
#[test]
fn writes_the_old_file_in_an_append_only_directory() {
    let Some(mount) = or_skip(Mount::ext4(24)) else { return };
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("old"), "").unwrap();
    let path = dir.to_str().unwrap();
    mounts::run("chattr", &["+a", path]).unwrap();
    copies_into(&dir);
    let receiver = Receiver::start("127.0.0.1:0", dir.join("old"), &[]);
    run(&mut zc(["send", "-", &receiver.address]), b"received").expect_success();
    receiver.finish().expect_success();
    assert_eq!(fs::read(dir.join("old")).unwrap(), b"received");
    assert_eq!(names(&dir).len(), 2);
}

/// The path after "kept as".
fn kept(outcome: &Outcome) -> &Path {
    assert_eq!(outcome.code(), Some(1), "{outcome:?}");
    let (_, path) = outcome.line().rsplit_once("; they are kept as ").expect("a name");
    Path::new(path)
}

/// The target became a directory during the upload.
#[test]
fn keeps_an_upload_that_cannot_have_its_name() {
    let dir = scratch();
    let (target, content) = (dir.path().join("target"), bytes(5, LEN));
    let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
    let mut client = TcpStream::connect(&receiver.address).unwrap();
    client.write_all(&content).unwrap();
    fs::create_dir(&target).unwrap();
    drop(client);
    let outcome = receiver.finish();
    outcome.expect_failure(1, &["cannot put ", "(EISDIR)", &format!(", after {LEN} bytes; ")]);
    assert!(fs::read(kept(&outcome)).unwrap() == content);
    assert_eq!(names(dir.path()).len(), 2);
}

/// The whole directory went, and the file is kept elsewhere.
#[test]
fn keeps_an_upload_whose_directory_is_gone() {
    let dir = scratch();
    let gone = dir.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let content = bytes(11, LEN);
    let receiver = Receiver::start("127.0.0.1:0", gone.join("target"), &[]);
    let mut client = TcpStream::connect(&receiver.address).unwrap();
    client.write_all(&content).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    drop(client);
    let outcome = receiver.finish();
    let kept = kept(&outcome);
    assert!(fs::read(kept).unwrap() == content);
    fs::remove_file(kept).unwrap();
}

/// There is room for the new file beside the old one, and not for a third.
#[test]
fn keeps_a_file_that_cannot_be_copied_into_place() {
    let Some(mount) = or_skip(Mount::tmpfs(1600)) else { return };
    denied(&RENAMES, libc::EPERM, || {
        let target = mount.path("target");
        fs::write(&target, "what was there").unwrap();
        let content = bytes(6, LEN);
        let outcome = run(zc(["cp", "-"]).arg(&target), &content);
        let kept = kept(&outcome);
        assert!(fs::read(kept).unwrap() == content);
        fs::remove_file(kept).unwrap();

        run(zc(["cp", "-"]).arg(&target), b"fits").expect_success();
        assert!(fs::read(&target).unwrap() == b"fits");
        assert_eq!(names(&mount.root()).len(), 1);
    });
}

/// The same for a new file that cannot be linked: no half of it has the name.
#[test]
fn leaves_no_half_where_a_new_file_cannot_be_copied_into_place() {
    let Some(mount) = or_skip(Mount::tmpfs(1600)) else { return };
    let calls = [&RENAMES[..], &[libc::SYS_linkat, libc::SYS_link]].concat();
    denied(&calls, libc::EPERM, || {
        let content = bytes(12, LEN);
        let outcome = run(zc(["cp", "-"]).arg(mount.path("target")), &content);
        let kept = kept(&outcome);
        assert!(fs::read(kept).unwrap() == content);
        fs::remove_file(kept).unwrap();
        assert!(names(&mount.root()).is_empty());
    });
}

#[test]
fn says_in_json_what_is_kept() {
    let dir = scratch();
    let target = dir.path().join("target");
    let receiver = Receiver::start("127.0.0.1:0", &target, &["--json"]);
    let client = TcpStream::connect(&receiver.address).unwrap();
    fs::create_dir(&target).unwrap();
    drop(client);
    let outcome = receiver.finish();
    let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(fs::read(object["kept"].as_str().unwrap()).unwrap(), b"");
}

/// `--in-place` writes the existing file, as cp does, and so all its names.
#[test]
fn writes_the_old_file_in_place_if_told_to() {
    let dir = scratch();
    let (one, two, from) =
        (dir.path().join("one"), dir.path().join("two"), dir.path().join("from"));
    let content = bytes(7, LEN);
    fs::write(&from, &content).unwrap();
    fs::write(&one, bytes(8, 2 * LEN)).unwrap();
    fs::hard_link(&one, &two).unwrap();
    run(zc(["cp", "--in-place"]).args([&from, &one]), b"").expect_success();
    assert!(fs::read(&two).unwrap() == content);
    run(zc(["cp", "-"]).arg(&one), b"a new file").expect_success();
    assert!(fs::read(&two).unwrap() == content);
    run(zc(["cp", "--in-place"]).args([&from, &dir.path().join("new")]), b"").expect_success();
    assert!(fs::read(dir.path().join("new")).unwrap() == content);
    run(zc(["cp", "--in-place"]).args([&two, &two]), b"").expect_failure(1, &["the same file"]);
    assert!(fs::read(&two).unwrap() == content);
    assert_eq!(names(dir.path()).len(), 4);
}

/// A target that cp can write, zc can write, with the same bytes and status.
#[test]
fn does_what_cp_does() {
    if !have("cp", "does_what_cp_does") {
        return;
    }
    let content = bytes(9, LEN);
    let outcomes = [OsStr::new("cp"), zc_testkit::cli::binary().as_os_str()].map(|program| {
        let dir = scratch();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("from"), &content).unwrap();
        fs::write(path("old"), "old").unwrap();
        fs::create_dir(path("dir")).unwrap();
        std::os::unix::fs::symlink("old", path("link")).unwrap();
        std::os::unix::fs::symlink("nothing", path("dangling")).unwrap();
        let targets =
            ["old", "new", "dir", "dir/", "link", "none/new", "new/", "from", "/dev/null"];
        let mut statuses = Vec::new();
        for target in targets {
            let mut command = Command::new(program);
            if program != "cp" {
                command.arg("cp");
            }
            let outcome = run(command.current_dir(dir.path()).args(["from", target]), b"");
            statuses.push((target, outcome.code()));
        }
        let files =
            ["old", "new", "dir/from", "link", "from"].map(|name| fs::read(path(name)).unwrap());
        (statuses, files, names(dir.path()))
    });
    assert_eq!(outcomes[0].0, outcomes[1].0);
    assert!(outcomes[0].1 == outcomes[1].1);
    assert_eq!(outcomes[0].2, outcomes[1].2);
}
