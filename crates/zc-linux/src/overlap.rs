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
/// how large a piece is moved at a time, and the bytes written over are gone. Also if the file is appended
/// to, and both descriptors share one offset.
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
    if bytes == 0 {
        return Ok(0);
    }
    let refused = |why| {
        Err(Fault::new(
            "copy",
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("source and destination are the same file, and {why}"),
            ),
        ))
    };
    if start.abs_diff(target) < bytes {
        return refused(format!("{bytes} bytes from {start} overlap with those from {target}"));
    }
    if appends && share_a_position(from, to, start) {
        return refused("one position: each append would leave it at the end".into());
    }
    Ok(bytes)
}

/// Whether two descriptors of a file, one of which is at offset `start`, share that offset, as
/// duplicates do. The system call that would tell (kcmp) is often forbidden.
fn share_a_position(one: BorrowedFd<'_>, other: BorrowedFd<'_>, start: u64) -> bool {
    let other_is_at = |at| sys::position(other) == Ok(at);
    let Some(elsewhere) = start.checked_add(1) else { return false };
    if !other_is_at(start) || sys::seek(one, elsewhere).is_err() {
        return false;
    }
    let moved = other_is_at(elsewhere);
    sys::insist(|| sys::seek(one, start));
    moved
}
