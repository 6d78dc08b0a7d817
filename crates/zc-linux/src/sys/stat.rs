//! What a descriptor is, by [statx(2)](https://man7.org/linux/man-pages/man2/statx.2.html).

// `inline(always)` here: see `fast`.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, FsWord, Statx, StatxAttributes, StatxFlags, major, minor};
use rustix::io::Errno;

use super::{Syscall, ask};

/// Device and inode.
pub(crate) type Identity = ((u32, u32), u64);

/// As much of a descriptor's stat as a copy needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) kind: FileType,
    pub(crate) identity: Identity,
    /// Major and minor number, for a device.
    pub(crate) device: (u32, u32),
    /// Length in bytes, for a file; 0 if it is not known.
    pub(crate) len: u64,
    /// Whether [`shares_no_blocks`] may say yes of its file system. If not, its call is spared.
    pub(crate) may_share_none: bool,
}

/// Asks for kind, inode and size, and for no times.
///
/// fstat(2) does ask for the times. Since Linux 6.13 (multigrain timestamps) the next write must then change
/// them, and logs the inode, which takes longer than to copy a few KiB.
#[inline(always)]
pub(crate) fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    // Kernels before 4.11 lack statx, and so do the filters of old container runtimes.
    statx(fd).or_else(|_| fstat(fd))
}

#[inline(always)]
fn statx(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::SIZE;
    let got =
        ask(Syscall::Statx, Some(fd), || rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted))?;
    let knows_size = got.stx_mask & StatxFlags::SIZE.bits() != 0;
    Ok(Stat {
        kind: FileType::from_raw_mode(got.stx_mode.into()),
        identity: ((got.stx_dev_major, got.stx_dev_minor), got.stx_ino),
        device: (got.stx_rdev_major, got.stx_rdev_minor),
        len: if knows_size { got.stx_size } else { 0 },
        may_share_none: may_share_none(&got),
    })
}

/// Whether this may be a file on ext4 or tmpfs, by the attributes that its file system knows: ext4 encrypts (since
/// Linux 4.11), and tmpfs has no device and does not compress, as btrfs does. Others may look like these two.
#[inline(always)]
fn may_share_none(got: &Statx) -> bool {
    let knows = |attribute| got.stx_attributes_mask.contains(attribute);
    // One that does not tell (ext2 before Linux 5.0) may be anything.
    !knows(StatxAttributes::APPEND)
        || knows(StatxAttributes::ENCRYPTED)
        || got.stx_dev_major == 0 && !knows(StatxAttributes::COMPRESSED)
}

#[cold]
fn fstat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    let got = ask(Syscall::Fstat, Some(fd), || rustix::fs::fstat(fd))?;
    Ok(Stat {
        kind: FileType::from_raw_mode(got.st_mode),
        identity: ((major(got.st_dev), minor(got.st_dev)), got.st_ino),
        device: (major(got.st_rdev), minor(got.st_rdev)),
        len: u64::try_from(got.st_size).unwrap_or(0),
        may_share_none: true,
    })
}

/// Device and inode as they are known, so that no disk or server is waited for (but by fstat, before Linux 4.11).
#[cold]
pub(crate) fn known_identity(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    // AT_STATX_DONT_SYNC, which rustix has not for Android.
    let how = AtFlags::EMPTY_PATH | AtFlags::from_bits_retain(0x4000);
    let got = ask(Syscall::Statx, Some(fd), || rustix::fs::statx(fd, c"", how, StatxFlags::INO));
    match got {
        Ok(got) => Ok(((got.stx_dev_major, got.stx_dev_minor), got.stx_ino)),
        Err(_) => Ok(fstat(fd)?.identity),
    }
}

/// Whether a file has fewer blocks than its length would need, as one with holes has. A file system that
/// compresses, or does not tell, may say so of others.
#[cold]
pub(crate) fn has_fewer_blocks(fd: BorrowedFd<'_>) -> bool {
    /// The unit of stx_blocks on every file system.
    const BLOCK: u64 = 512;
    let wanted = StatxFlags::SIZE | StatxFlags::BLOCKS;
    let got =
        ask(Syscall::Statx, Some(fd), || rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted));
    // Without statx, whether it has any is looked up at each step.
    got.map_or(true, |got| got.stx_blocks.saturating_mul(BLOCK) < got.stx_size)
}

/// Whether a file's file system is known to copy within itself byte by byte. (Btrfs and xfs share blocks, NFS and
/// SMB have their server copy; of others, FUSE among them, it is not known.)
#[cold]
pub(crate) fn shares_no_blocks(fd: BorrowedFd<'_>) -> bool {
    // ext2 and ext3 have ext4's number.
    const THESE: [FsWord; 2] = [libc::EXT4_SUPER_MAGIC as FsWord, libc::TMPFS_MAGIC as FsWord];
    let got = ask(Syscall::Fstatfs, Some(fd), || rustix::fs::fstatfs(fd));
    got.is_ok_and(|got| THESE.contains(&got.f_type))
}
