//! A file copied into itself.

use std::io;

use zc_core::driver::StepError;
use zc_core::{End, Side};

use crate::sys;

/// How many bytes the copy of a file of `len` bytes into itself may move: those that were there
/// when it began. Otherwise it would chase its own tail until the disk is full.
///
/// # Errors
///
/// `InvalidInput`, before a byte has moved, if the two ranges overlap. The result would depend on how
/// large a piece is moved at a time, and the bytes written over would be lost. Also if the file is
/// appended to and both descriptors share one offset: each append would leave it at the end.
pub(crate) fn check(from: End<'_>, to: End<'_>, len: u64, limit: u64) -> Result<u64, StepError> {
    let (source, sink) = (from.fd.fd(), to.fd.fd());
    let start = position(from, Side::Source)?;
    let appends = sys::appends(sink);
    let target = if appends { len } else { position(to, Side::Sink)? };

    let bytes = len.saturating_sub(start).min(limit);
    if bytes == 0 {
        return Ok(0);
    }
    if start.abs_diff(target) < bytes {
        return Err(refused(&format!(
            "{bytes} bytes from {start} overlap with those from {target}"
        )));
    }
    let shares = || from.offset.is_none() && sys::is_one_open_file(source, sink) != Ok(false);
    if appends && start < len && shares() {
        return Err(refused("one offset: each append would leave it at the end"));
    }
    Ok(bytes)
}

/// Fails if a source that is read, or has read ahead, contains the sink's file.
pub(crate) fn read_ahead() -> StepError {
    refused("part of it is read ahead, or only the source itself knows how much is to come")
}

fn position(end: End<'_>, side: Side) -> Result<u64, StepError> {
    let position = end.offset.map_or_else(|| sys::position(end.fd.fd()), Ok);
    position.map_err(|errno| StepError::at(side, "lseek", errno))
}

fn refused(why: &str) -> StepError {
    let what = format!("source and destination are the same file, and {why}");
    StepError::new("copy", io::Error::new(io::ErrorKind::InvalidInput, what))
}
