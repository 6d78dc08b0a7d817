//! What a new file takes over from the one it replaces: owner, group, permissions, access control list and
//! extended attributes. Each is kept as far as the kernel and the file system let it.
//!
//! No user gets access to the new file that the old one did not give. Where something cannot be kept, no
//! user gains by it. If the group is another one, the new group and all others get only what both the
//! old group and all others had.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{
    Gid, Mode, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr,
};
use rustix::io::Errno;

use super::acl::{self, Acl, Tag};

/// As much as an attribute, or the list of their names, may hold (`XATTR_SIZE_MAX`).
const MAX: usize = 64 * 1024;

/// The permissions to make the successor of `old` with, before it is known whose it can be.
///
/// They are no more than it may have in the end: where chmod is refused (CIFS, some of FUSE), they stay.
pub(crate) fn mode_to_start_with(old: &File, meta: &Metadata, directory: &Path) -> u32 {
    const SET_GROUP_ID: u32 = 0o2000;
    let list = get(old, acl::ATTRIBUTE).and_then(Acl::new);
    let bits = Bits::of(meta, list.as_ref()).without(list.as_ref());
    let group = match fs::metadata(directory) {
        Ok(directory) if directory.mode() & SET_GROUP_ID != 0 => directory.gid(),
        _ => rustix::process::getegid().as_raw(),
    };
    if meta.gid() == group { bits } else { bits.of_any_group() }.mode()
}

/// Gives `new`, which is ours, and empty or open to its owner alone, what `old` has.
pub(crate) fn inherit(new: &File, old: &File) -> io::Result<()> {
    let wanted = old.metadata()?;
    own(new, &wanted);
    let group_kept = new.metadata()?.gid() == wanted.gid();

    let mut list = get(old, acl::ATTRIBUTE).and_then(Acl::new);
    let mut bits = Bits::of(&wanted, list.as_ref());
    if !group_kept {
        bits = bits.of_any_group();
        if let Some(list) = &mut list {
            // Members of the new group may be in one that the list lets do less.
            list.set(Tag::Group, bits.group & list.all_named());
            list.set(Tag::Other, bits.other);
        }
    }
    // The directory may have given it a list of its own.
    match fremovexattr(new, acl::ATTRIBUTE) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        // The group's bits of the mode are the mask of a list that stays.
        Err(_) if get(new, acl::ATTRIBUTE).is_some() => bits.group = 0,
        Err(_) => {}
    }
    // All there is if the list is refused. What it permits comes with it.
    bits = bits.without(list.as_ref());
    // Refused by file systems whose files all have one mode, and by some that keep none.
    let _ = fchmod(new, Mode::from_raw_mode(bits.mode()));
    if let Some(list) = &list {
        let _ = fsetxattr(new, acl::ATTRIBUTE, list.as_bytes(), XattrFlags::empty());
    }
    // Those of another file, if it was to be the successor of that.
    for name in names(new).filter(|name| name.starts_with(b"user.")) {
        let _ = fremovexattr(new, &name[..]);
    }
    for name in names(old).filter(|name| is_kept(name)) {
        if let Some(value) = get(old, &name[..]) {
            let _ = fsetxattr(new, &name[..], &value, XattrFlags::empty());
        }
    }
    Ok(())
}

/// Makes `new` the property of the owner and the group of `wanted`, or of one of them.
fn own(new: &File, wanted: &Metadata) {
    let (uid, gid) = (Uid::from_raw(wanted.uid()), Gid::from_raw(wanted.gid()));
    let same =
        new.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (wanted.uid(), wanted.gid()));
    if !same && fchown(new, Some(uid), Some(gid)).is_err() {
        // The group first: giving the file away may end our right to.
        let _ = fchown(new, None, Some(gid));
        let _ = fchown(new, Some(uid), None);
    }
}

/// Permissions, without set-user-id and its like, which vouch for the old content only.
#[derive(Clone, Copy, Debug)]
struct Bits {
    owner: u32,
    group: u32,
    other: u32,
}

impl Bits {
    /// With a list, the group's bits of a file's mode are not the group's but the list's mask.
    fn of(meta: &Metadata, list: Option<&Acl>) -> Bits {
        let mode = meta.mode();
        let group = list.and_then(Acl::group).unwrap_or(mode >> 3 & 0o7);
        Bits { owner: mode >> 6 & 0o7, group, other: mode & 0o7 }
    }

    /// What is safe where `list` is not kept: whom it names is then one of a group or of all others.
    fn without(self, list: Option<&Acl>) -> Bits {
        let named = list.map_or(0o7, Acl::all_named);
        Bits { group: self.group & named, other: self.other & named, ..self }
    }

    /// What is safe for any group of the file.
    fn of_any_group(self) -> Bits {
        let both = self.group & self.other;
        Bits { group: both, other: both, ..self }
    }

    fn mode(self) -> u32 {
        self.owner << 6 | self.group << 3 | self.other
    }
}

/// Whether an attribute says something about the file, and not about its content or its place.
fn is_kept(name: &[u8]) -> bool {
    let vouches = ["security.capability", "security.ima", "security.evm"];
    let lists = ["system.posix_acl_access", "system.posix_acl_default"];
    !vouches.iter().chain(&lists).any(|other| name == other.as_bytes())
        && !name.starts_with(b"trusted.overlay.")
}

/// The names of a file's attributes, which need not be UTF-8.
fn names(file: &File) -> impl Iterator<Item = Vec<u8>> {
    let mut list = vec![0; MAX];
    let len = flistxattr(file, &mut list[..]).unwrap_or(0);
    list.truncate(len);
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
}

fn get(file: &File, name: impl rustix::path::Arg) -> Option<Vec<u8>> {
    let mut value = vec![0; MAX];
    let len = fgetxattr(file, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}
