//! One end of a transfer: a descriptor, its name and its kind.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::fs::{OFlags, SeekFrom, fcntl_getfl, fstat, seek};
use rustix::io::Errno;
use zc_std::{Fd, Kind};

use crate::sys;

/// An open end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) fd: Fd<OwnedFd>,
    pub(crate) about: About,
    /// How many bytes a regular file holds, from where a descriptor that was passed on to us stands.
    pub(crate) len: Option<u64>,
    /// Device and inode of a regular file.
    pub(crate) identity: Option<(u64, u64)>,
    /// How long a read or write waits for a byte before it fails as if there were no waiting.
    pub(crate) timeout: Option<Duration>,
}

/// An end as it appears in reports.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// An address, a path, or `-`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a descriptor is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

/// Device and inode: which file it is.
pub(crate) fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl End {
    pub(crate) fn new(fd: impl Into<OwnedFd>, name: impl Into<String>) -> io::Result<End> {
        let fd = fd.into();
        let stat = fstat(&fd)?;
        let fd = Fd::new(fd)?;
        let kind = fd.kind();
        // Files of /proc hold more than the nothing they claim.
        let len = u64::try_from(stat.st_size).ok().filter(|&len| kind == Kind::File && len > 0);
        let identity = (kind == Kind::File).then_some((stat.st_dev, stat.st_ino));
        Ok(End { fd, about: About { name: name.into(), kind }, len, identity, timeout: None })
    }

    /// A descriptor that the process was started with, past std's buffers, which nothing else here uses.
    ///
    /// EBADF if it is not open, or not for `what`.
    pub(crate) fn inherited(number: RawFd, name: &OsStr, what: Use) -> io::Result<End> {
        let fd = sys::inherited(number)?;
        let other = match what {
            Use::Read => OFlags::WRONLY,
            Use::Write => OFlags::RDONLY,
        };
        if fcntl_getfl(&fd)? & OFlags::RWMODE == other {
            return Err(Errno::BADF.into());
        }
        let end = End::new(fd, name.to_string_lossy())?;
        let at = seek(&end.fd, SeekFrom::Current(0)).unwrap_or(0);
        Ok(End { len: end.len.map(|len| len.saturating_sub(at)), ..end })
    }
}
