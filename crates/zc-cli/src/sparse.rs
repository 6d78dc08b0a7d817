//! Holes: where a file has no data, so that a copy need not have any either.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, fstat, ftruncate, seek};
use rustix::io::Errno;

/// Whether a file has fewer blocks than bytes, as one with holes has.
pub(crate) fn has_holes(file: impl AsFd) -> bool {
    const BLOCK: i128 = 512; // of st_blocks, whatever the file system's are
    fstat(file).is_ok_and(|stat| i128::from(stat.st_blocks) * BLOCK < i128::from(stat.st_size))
}

/// The next data of `file` from `at` on; `None` if there is only a hole up to the end.
///
/// Moves the file's offset.
pub(crate) fn next_data(file: impl AsFd, at: u64) -> io::Result<Option<Range<u64>>> {
    let start = match seek(&file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(start..seek(&file, SeekFrom::Hole(start))?))
}

/// Where a file's offset is.
pub(crate) fn offset(file: impl AsFd) -> io::Result<u64> {
    Ok(seek(file, SeekFrom::Current(0))?)
}

/// Sets a file's offset.
pub(crate) fn go_to(file: impl AsFd, at: u64) -> io::Result<()> {
    Ok(seek(file, SeekFrom::Start(at)).map(|_| ())?)
}

pub(crate) fn len(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0))
}

/// Makes the file end at `at`, with a hole up to there.
pub(crate) fn end_at(file: impl AsFd, at: u64) -> io::Result<()> {
    Ok(ftruncate(file, at)?)
}
