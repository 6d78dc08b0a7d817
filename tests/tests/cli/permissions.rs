//! A file that takes another's place gives no user access that the old one did not give, and keeps what may be kept.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::thread;

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::path::Arg;
use zc_testkit::cli::{Nobody, Receiver, binary, is_root, run, scratch, zc};
use zc_testkit::mounts::Mount;
use zc_testkit::raw;
use zc_testkit::skip::{or_skip, skip};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// An access control list with an entry for user 1: tags and permissions as in `linux/posix_acl.h`.
fn acl(owner: u16, user: u16, group: u16, mask: u16, other: u16) -> Vec<u8> {
    const ANYBODY: u32 = u32::MAX;
    let entries =
        [(1_u16, owner, ANYBODY), (2, user, 1), (4, group, ANYBODY), (0x10, mask, ANYBODY)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries.into_iter().chain([(0x20, other, ANYBODY)]) {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

fn set(path: &Path, name: impl Arg, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn get(path: &Path, name: impl Arg) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let len = getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// Every extended attribute of a file.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 4096];
    let len = listxattr(path, &mut list[..]).unwrap();
    let names = list[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| (name.to_vec(), get(path, name).unwrap())).collect()
}

/// Owner, group and mode.
fn access(path: &Path) -> (u32, u32, u32) {
    let meta = fs::metadata(path).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

fn make(path: &Path, uid: u32, gid: u32, mode: u32) {
    let _ = fs::remove_file(path);
    fs::write(path, "old").unwrap();
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// An ext4 of the test's own, with lists and attributes, if this is root.
fn ext4() -> Option<Mount> {
    or_skip(Mount::ext4(24))
}

/// Replaces the file. Asserts that a new one has its place.
fn replace(path: &Path) {
    let inode = fs::metadata(path).unwrap().ino();
    run(zc(["cp", "-"]).arg(path), b"new").expect_success();
    assert_eq!(fs::read(path).unwrap(), b"new");
    assert_ne!(fs::metadata(path).unwrap().ino(), inode, "it was written in place");
}

/// With a list, the group bits of the mode are the list's mask.
#[test]
fn keeps_the_access_control_list() {
    let Some(mount) = ext4() else { return };
    let path = mount.path("file");
    make(&path, 0, 60, 0o640);
    set(&path, ACL, &acl(6, 6, 4, 6, 0));
    let before = (access(&path), attributes(&path));
    assert_eq!(before.0.2, 0o660);
    replace(&path);
    assert_eq!((access(&path), attributes(&path)), before);

    let receiver = Receiver::start("127.0.0.1:0", &path, &[]);
    run(&mut zc(["send", "-", &receiver.address]), b"x").expect_success();
    receiver.finish().expect_success();
    assert_eq!((access(&path), attributes(&path)), before);
}

/// Where the list cannot be kept, the group gets what its entry said, not the mask.
#[test]
fn gives_the_group_no_more_where_the_list_is_refused() {
    let Some(mount) = ext4() else { return };
    let path = mount.path("file");
    make(&path, 0, 60, 0o640);
    set(&path, ACL, &acl(6, 6, 4, 6, 0));
    denied(libc::SYS_fsetxattr, || replace(&path));
    assert_eq!((access(&path), get(&path, ACL)), ((0, 60, 0o640), None));
}

/// Nor does a user whom the list refuses what it grants to all others.
#[test]
fn lets_nobody_in_whom_a_list_kept_out() {
    let Some(mount) = ext4() else { return };
    let path = mount.path("file");
    for calls in [&[libc::SYS_fsetxattr][..], &[libc::SYS_fsetxattr, libc::SYS_fchmod]] {
        make(&path, 0, 0, 0o644);
        set(&path, ACL, &acl(6, 0, 4, 6, 4));
        denied_all(calls, || replace(&path));
        assert_eq!((access(&path), get(&path, ACL)), ((0, 0, 0o600), None));
    }
}

/// The list is kept and the group is not. Among the members of the new one may be those of a group that the list keeps
/// out.
#[test]
fn gives_a_new_group_no_more_than_all_whom_the_list_names() {
    let Some(mount) = ext4() else { return };
    let (nobody, dir) = (Nobody::new(), mount.path("dir"));
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(Nobody::ID), Some(Nobody::ID)).unwrap();
    let path = dir.join("file");
    make(&path, Nobody::ID, 60, 0o644);
    set(&path, ACL, &acl(6, 0, 4, 6, 4));
    run(&mut nobody.zc(&["cp", "-", path.to_str().unwrap()]), b"new").expect_success();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(access(&path), (Nobody::ID, Nobody::ID, 0o664));
    assert_eq!(get(&path, ACL), Some(acl(6, 0, 0, 6, 4)));
}

/// A list that the directory gives to all its new files is not the old file's.
#[test]
fn replaces_a_file_without_the_directory_s_list() {
    let Some(mount) = ext4() else { return };
    let dir = mount.path("dir");
    fs::create_dir(&dir).unwrap();
    let path = dir.join("file");
    make(&path, 0, 60, 0o664);
    set(&dir, DEFAULT_ACL, &acl(7, 7, 7, 7, 7));
    replace(&path);
    assert_eq!((access(&path), get(&path, ACL)), ((0, 60, 0o664), None));
    denied(libc::SYS_fremovexattr, || replace(&path));
    assert_eq!(access(&path), (0, 60, 0o604));
    // A new file gets it, as from cp.
    run(zc(["cp", "-"]).arg(dir.join("new")), b"").expect_success();
    assert!(get(&dir.join("new"), ACL).is_some());
}

#[test]
fn keeps_extended_attributes() {
    let Some(mount) = ext4() else { return };
    let path = mount.path("file");
    make(&path, 1, 60, 0o640);
    set(&path, "user.origin", b"https://example.org");
    set(&path, "user.empty", b"");
    set(&path, &b"user.caf\xe9"[..], b"its name is not UTF-8");
    set(&path, "trusted.note", b"root's");
    let before = (access(&path), attributes(&path));
    replace(&path);
    assert_eq!((access(&path), attributes(&path)), before);

    // A capability vouches for bytes. It goes, as it does at every write.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&path, "security.capability", &capability);
    fs::set_permissions(&path, Permissions::from_mode(0o6755)).unwrap();
    replace(&path);
    assert_eq!(get(&path, "security.capability"), None);
    assert_eq!(access(&path).2, 0o755);
}

/// Runs `body` where a call fails with EPERM, also in the programs that it starts.
fn denied(call: libc::c_long, body: impl FnOnce() + Send) {
    denied_all(&[call], body);
}

fn denied_all(calls: &[libc::c_long], body: impl FnOnce() + Send) {
    // Not with these calls denied.
    binary();
    thread::scope(|scope| {
        scope.spawn(move || {
            raw::deny(calls, libc::EPERM).unwrap();
            body();
        });
    });
}

/// CIFS and FUSE may refuse to change modes. The copy succeeds without.
#[test]
fn copies_where_a_mode_is_refused() {
    if !is_root() {
        return skip("copies_where_a_mode_is_refused: takes root");
    }
    let dir = scratch();
    let path = dir.path().join("file");
    for (gid, old, new) in
        [(0, 0o640, 0o640), (60, 0o640, 0o600), (60, 0o644, 0o644), (60, 0o604, 0o600)]
    {
        make(&path, 0, gid, old);
        denied(libc::SYS_fchmod, || replace(&path));
        assert_eq!(access(&path), (0, gid, new), "{old:o}");
    }
    // In a directory with the setgid bit new files have its group, not the user's.
    chown(dir.path(), None, Some(60)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o2755)).unwrap();
    for (gid, old, new) in [(0, 0o640, 0o600), (60, 0o640, 0o640)] {
        make(&path, 0, gid, old);
        denied(libc::SYS_fchmod, || replace(&path));
        assert_eq!(access(&path), (0, gid, new), "{old:o}");
    }
}

/// Neither modes nor lists can be changed. A list's mask is not taken for the group's permissions.
#[test]
fn gives_the_group_no_more_where_mode_and_list_are_refused() {
    let Some(mount) = ext4() else { return };
    let path = mount.path("file");
    make(&path, 0, 0, 0o640);
    set(&path, ACL, &acl(6, 6, 4, 6, 0));
    denied_all(&[libc::SYS_fchmod, libc::SYS_fsetxattr], || replace(&path));
    assert_eq!((access(&path), get(&path, ACL)), ((0, 0, 0o640), None));
}

/// While `zc recv` waits, and while it writes.
#[test]
fn takes_over_what_the_old_file_has_become() {
    let dir = scratch();
    let path = dir.path().join("file");
    for before in [None, Some(0o644)] {
        let _ = fs::remove_file(&path);
        let make = |mode| {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        if let Some(mode) = before {
            make(mode);
            set(&path, "user.was", b"was");
        }
        let receiver = Receiver::start("127.0.0.1:0", &path, &[]);
        let _ = fs::remove_file(&path);
        make(0o600);
        set(&path, "user.is", b"is");
        run(&mut zc(["send", "-", &receiver.address]), b"new").expect_success();
        receiver.finish().expect_success();
        assert_eq!((fs::read(&path).unwrap(), access(&path).2), (b"new".into(), 0o600));
        assert_eq!((get(&path, "user.was"), get(&path, "user.is")), (None, Some(b"is".into())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

/// Without privileges another user's ownership and group cannot be kept.
#[test]
fn gives_no_more_access_as_an_ordinary_user() {
    if !is_root() {
        return skip(
            "gives_no_more_access_as_an_ordinary_user: takes root, to have files of other users",
        );
    }
    let (nobody, dir) = (Nobody::new(), scratch());
    let ours = dir.path().join("ours");
    fs::create_dir(&ours).unwrap();
    chown(&ours, Some(Nobody::ID), Some(Nobody::ID)).unwrap();
    let path = ours.join("file");
    const ID: u32 = Nobody::ID;
    let cases = [
        // The user's own file.
        ((ID, ID, 0o640), (ID, ID, 0o640)),
        // The group is kept where the owner is not.
        ((1, ID, 0o660), (ID, ID, 0o660)),
        // Neither is kept. The new group gets no more than all users had; all users get no more than the old group,
        // whose members are among them now.
        ((1, 60, 0o646), (ID, ID, 0o644)),
        ((1, 60, 0o602), (ID, ID, 0o600)),
        ((ID, 60, 0o640), (ID, ID, 0o600)),
        ((ID, 60, 0o664), (ID, ID, 0o644)),
    ];
    for ((uid, gid, mode), new) in cases {
        make(&path, uid, gid, mode);
        run(&mut nobody.zc(&["cp", "-", path.to_str().unwrap()]), b"new").expect_success();
        assert_eq!((access(&path), fs::read(&path).unwrap()), (new, b"new".into()), "{mode:o}");
    }
}

/// Where owner and group cannot both be kept, each is tried.
#[test]
fn keeps_the_group_where_the_owner_is_not_kept() {
    if !is_root() {
        return skip("keeps_the_group_where_the_owner_is_not_kept: takes root");
    }
    let dir = scratch();
    let ours = dir.path().join("ours");
    fs::create_dir(&ours).unwrap();
    chown(&ours, Some(Nobody::ID), Some(Nobody::ID)).unwrap();
    let path = ours.join("file");
    // Owner root and group 60, of which the user is a member.
    make(&path, 0, 60, 0o660);
    let nobody = Nobody::new();
    let outcome = run(
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--groups=60"])
            .arg(nobody.program())
            .args(["cp", "-"])
            .arg(&path),
        b"new",
    );
    outcome.expect_success();
    assert_eq!(access(&path), (Nobody::ID, 60, 0o660));
}
