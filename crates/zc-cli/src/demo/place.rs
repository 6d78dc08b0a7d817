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
pub(crate) struct Place {
    pub(crate) file: File,
    pub(crate) directory: String,
    pub(crate) file_system: String,
}

impl Place {
    /// Makes a file of `size` bytes in `directory`.
    pub(crate) fn new(directory: Option<&Path>, size: u64) -> Result<Place, Failure> {
        let directory = directory.map_or_else(on_disk, Path::to_path_buf);
        let what = || format!("cannot make a file of {} in {}", show(size), directory.display());
        let make = || -> io::Result<Result<Place, u64>> {
            let file = tempfile::tempfile_in(&directory)?;
            let room = fstatvfs(&file)?;
            let room = room.f_bavail.saturating_mul(room.f_frsize);
            if room < size {
                return Ok(Err(room));
            }
            // Uploads overwrite: allocating blocks is the file system's work, not the copy's, and
            // it would fall on whoever goes first.
            Pattern::new(0).fill(&file, size)?;
            let file_system = file_system(fstatfs(&file)?.f_type as u32);
            Ok(Ok(Place { file, directory: directory.display().to_string(), file_system }))
        };
        match make() {
            Ok(Ok(place)) => Ok(place),
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

/// What statfs(2) calls its magic numbers.
fn file_system(magic: u32) -> String {
    match magic {
        0xef53 => "ext4".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlayfs".into(),
        0xf2f5_2010 => "f2fs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        other => format!("a file system of type {other:#x}"),
    }
}
