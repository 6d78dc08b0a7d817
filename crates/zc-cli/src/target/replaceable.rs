//! Whether a new file can take the place of an old one.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statfs, statx};
use rustix::thread::{CapabilitySet, capabilities};

use super::temporary::directory;
use crate::descriptor::MAX_LINKS;
use crate::end::identity;

// libc's constants have another type on each machine; none of them has more than 32 bits.
const PROC: u32 = libc::PROC_SUPER_MAGIC as u32;

/// Of fs/configfs/mount.c, which neither linux/magic.h nor libc has.
const CONFIGFS: u32 = 0x6265_6570;

/// The name without links of the file that `path` leads to; `None` if that is not a matter of names.
///
/// Such are the links of /proc to what another process has open, which may have lost its name.
pub(crate) fn name_of(path: &Path, file: &Metadata) -> Option<PathBuf> {
    let mut link = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(next) = fs::read_link(&link) else { break };
        let directory = directory(&link);
        if is_on(directory, &[PROC]) {
            return None;
        }
        link = directory.join(next);
    }
    let name = path.canonicalize().ok()?;
    let found = name.symlink_metadata().ok()?;
    (identity(&found) == identity(file)).then_some(name)
}

/// Whether the file of that name can be replaced by another one, as far as can be told before trying.
///
/// What cannot be told is whether the file system can rename at all.
pub(crate) fn is_replaceable(path: &Path, old: &Metadata) -> bool {
    let directory = directory(path);
    !(is_kernels(path) || is_mount_point(path) || is_kept_by(directory, old))
}

/// Whether writing to the file tells the kernel something, as in /proc/sys and /sys: its content is not kept.
fn is_kernels(path: &Path) -> bool {
    const MAGIC: [u32; 11] = [
        PROC,
        libc::SYSFS_MAGIC as u32,
        libc::DEBUGFS_MAGIC as u32,
        libc::TRACEFS_MAGIC as u32,
        CONFIGFS,
        libc::SECURITYFS_MAGIC as u32,
        libc::SELINUX_MAGIC as u32,
        libc::SMACK_MAGIC as u32,
        libc::CGROUP_SUPER_MAGIC as u32,
        libc::CGROUP2_SUPER_MAGIC as u32,
        libc::BPF_FS_MAGIC as u32,
    ];
    is_on(path, &MAGIC)
}

fn is_on(path: &Path, file_systems: &[u32]) -> bool {
    statfs(path).is_ok_and(|statfs| file_systems.contains(&(statfs.f_type as u32)))
}

/// Whether a file is mounted there (`mount --bind`, a container's single file): EBUSY from rename(2).
fn is_mount_point(path: &Path) -> bool {
    has_attribute(path, StatxAttributes::MOUNT_ROOT)
}

/// Whether `directory` does not let the file go: EPERM from rename(2).
fn is_kept_by(directory: &Path, old: &Metadata) -> bool {
    let appended_to = || has_attribute(directory, StatxAttributes::APPEND);
    let sticky = || {
        let us = rustix::process::geteuid().as_raw();
        fs::metadata(directory).is_ok_and(|directory| {
            const STICKY: u32 = 0o1000;
            directory.mode() & STICKY != 0 && us != directory.uid() && us != old.uid()
        }) && !capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER))
    };
    appended_to() || sticky()
}

/// Whether names made in `directory` cannot be removed again.
pub(crate) fn keeps_everything(directory: &Path) -> bool {
    has_attribute(directory, StatxAttributes::APPEND)
}

fn has_attribute(path: &Path, attribute: StatxAttributes) -> bool {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|statx| statx.stx_attributes.contains(attribute))
}
