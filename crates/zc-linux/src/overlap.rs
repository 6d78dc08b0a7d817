//! A file copied into itself.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use zc_core::Fault;

use crate::sys;

/// How many bytes the copy of a file of `len` bytes into itself may move: those that were there
/// when it began, or it would chase its own tail until the disk is full.
///
/// # Errors
///
/// `InvalidInput`, before a byte has moved, if the two ranges overlap: what would come out depends on
/// how large a piece is moved at a time, and the bytes written over are gone.
pub(crate) fn check(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: u64,
    limit: u64,
) -> Result<u64, Fault> {
    let position = |fd| sys::position(fd).map_err(|errno| Fault::new("lseek", errno));
    let start = position(from)?;
    let appends = sys::flags(to).is_ok_and(|flags| flags.contains(OFlags::APPEND));
    let target = if appends { len } else { position(to)? };

    let bytes = len.saturating_sub(start).min(limit);
    if bytes > 0 && start.abs_diff(target) < bytes {
        return Err(Fault::new(
            "copy",
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "source and destination are the same file, and {bytes} bytes from {start} overlap with those from {target}"
                ),
            ),
        ));
    }
    Ok(bytes)
}
