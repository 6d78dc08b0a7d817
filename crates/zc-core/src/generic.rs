//! The read/write copy that every chain of mechanisms ends in, and the whole of a copy where there is
//! no engine.
//!
//! It needs nothing but `Read` and `Write`, and a read of 0 is its only proof of the end of input.

use std::io::{self, Read, Write};

use crate::driver::{Buffer, StepError};
use crate::{CopyError, Side};

/// Copies all of `source` into `sink` with `read` and `write` alone.
///
/// It never asks the kernel for more; `zc_std::copy` does. Blocks as the two sides do.
///
/// # Errors
///
/// The first error of either side but `Interrupted`, with the count so far and the residue.
///
/// ```
/// let mut out = Vec::new();
/// let moved = zc_core::generic::copy(&mut &b"all of it"[..], &mut out)?;
/// assert_eq!((moved, &out[..]), (9, &b"all of it"[..]));
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub fn copy<R, W>(source: &mut R, sink: &mut W) -> Result<u64, CopyError>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut buffer = Buffer::default();
    resume(&mut buffer, source, sink)
        .map_err(|(moved, error)| error.into_copy_error(moved).with_residue(buffer.take()))
}

/// [`copy`], with what `buffer` holds delivered first, and kept there after an error, with how much was
/// delivered.
///
/// # Errors
///
/// As for [`copy`].
pub fn resume<R, W>(
    buffer: &mut Buffer,
    source: &mut R,
    sink: &mut W,
) -> Result<u64, (u64, StepError)>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut moved = 0;
    let at = |side, call| move |error: io::Error| StepError::at(side, call, error);
    loop {
        while !buffer.is_empty() {
            let wrote = buffer.drain(|bytes| sink.write(bytes));
            moved += wrote.map_err(at(Side::Sink, "write")).map_err(|error| (moved, error))? as u64;
        }
        let read = buffer.fill(u64::MAX, |room| source.read(room));
        let (n, _) = read.map_err(at(Side::Source, "read")).map_err(|error| (moved, error))?;
        if n == 0 {
            return Ok(moved);
        }
    }
}
