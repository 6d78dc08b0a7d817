//! The file that is uploaded into, and where it lies.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, fstatvfs};

use super::pattern::Pattern;
use crate::error::Failure;
use crate::size::show;

/// A file without a name, which is gone with the process.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) file: File,
    pub(crate) directory: String,
    pub(crate) file_system: String,
}

impl Destination {
    /// Makes a file of `size` bytes in `directory`.
    pub(crate) fn new(directory: Option<&Path>, size: u64) -> Result<Destination, Failure> {
        let directory = directory.map_or_else(on_disk, Path::to_path_buf);
        let what = || format!("cannot make a file of {} in {}", show(size), directory.display());
        let make = || -> io::Result<Result<Destination, u64>> {
            let file = tempfile::tempfile_in(&directory)?;
            let room = fstatvfs(&file)?;
            let room = room.f_bavail.saturating_mul(room.f_frsize);
            if room < size {
                return Ok(Err(room));
            }
            // Uploads overwrite: allocating blocks is the file system's work, not the copy's, and
            // it would fall on the first method.
            Pattern::new(0).fill(&file, size)?;
            let file_system = file_system(fstatfs(&file)?.f_type as u32);
            Ok(Ok(Destination { file, directory: directory.display().to_string(), file_system }))
        };
        match make() {
            Ok(Ok(destination)) => Ok(destination),
            Ok(Err(room)) => Err(Failure::new(what(), format!("only {} are free", show(room)))),
            Err(error) => Err(Failure::io(what(), &error)),
        }
    }
}

/// A directory for temporary files that is likely on a disk, where /tmp often is not.
fn on_disk() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ if tempfile::tempfile_in("/var/tmp").is_ok() => "/var/tmp".into(),
        _ => std::env::temp_dir(),
    }
}

/// The name of the file system that has `magic` in statfs(2).
fn file_system(magic: u32) -> String {
    /// No part of Linux, and so not of linux/magic.h.
    const ZFS: u32 = 0x2fc1_2fc1;
    const NAMES: [(u32, &str); 7] = [
        (libc::EXT4_SUPER_MAGIC as u32, "ext4"),
        (libc::XFS_SUPER_MAGIC as u32, "xfs"),
        (libc::BTRFS_SUPER_MAGIC as u32, "btrfs"),
        (libc::TMPFS_MAGIC as u32, "tmpfs"),
        (libc::OVERLAYFS_SUPER_MAGIC as u32, "overlayfs"),
        (libc::F2FS_SUPER_MAGIC as u32, "f2fs"),
        (ZFS, "zfs"),
    ];
    let known = NAMES.into_iter().find(|(number, _)| *number == magic);
    known.map_or_else(|| format!("a file system of type {magic:#x}"), |(_, name)| name.into())
}
