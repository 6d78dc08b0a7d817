//! The plain copy.

use std::io;

use zc_core::Held;
use zc_linux::Pump;

use crate::short::{self, Outcome};
use crate::{Sink, Source};

/// Copies all of `reader` into `writer`, and returns how many bytes moved.
///
/// It is `std::io::copy` with the kernel's help wherever there is any: the bytes buffered in a
/// `BufReader` go first, then the kernel moves the rest past it.
///
/// Blocks as the two ends do. On a descriptor in non-blocking mode, or with a timeout set, it may
/// stop with `WouldBlock`; a [`Copier`](crate::Copier) can go on from there.
///
/// # Errors
///
/// The first error that no other mechanism could do without. It carries a
/// [`CopyError`](crate::CopyError): how many bytes were delivered, and those that were taken and
/// were not.
///
/// ```
/// use std::io::{BufReader, Write};
/// use std::os::unix::net::UnixStream;
///
/// let (mut client, stream) = UnixStream::pair()?;
/// client.write_all(b"hello")?;
/// drop(client);
///
/// let mut file = tempfile::tempfile()?;
/// let n = zc_std::copy(&mut BufReader::new(&stream), &mut file)?;
/// assert_eq!(n, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Source + ?Sized,
    W: Sink + ?Sized,
{
    // A reference to either is a sized source or sink, whatever it refers to.
    let (mut reader, mut writer) = (reader, writer);
    copy_all(&mut reader, &mut writer)
}

/// [`copy()`], for ends that are known to be sized: one layer less to go down through at each step.
#[inline]
pub(crate) fn copy_all<R: Source, W: Sink>(reader: &mut R, writer: &mut W) -> io::Result<u64> {
    let mut held = Held::default();
    match short::copy(reader, writer, &mut held) {
        Outcome::Done(moved) => Ok(moved),
        Outcome::Begun(moved) => long(reader, writer, held, moved),
        Outcome::Failed(error) => Err(error.with_residue(held.take()).into()),
    }
}

/// Goes on with a copy that has delivered `before` bytes.
fn long(
    reader: &mut dyn Source,
    writer: &mut dyn Sink,
    held: Held,
    before: u64,
) -> io::Result<u64> {
    let mut pump = Pump::holding(held);
    match zc_linux::copy(&mut pump, reader, writer) {
        Ok(moved) => Ok(before + moved),
        Err(error) => {
            let moved = before + error.moved();
            // Nobody will resume this copy, so what is in flight goes to the caller.
            Err(error.with_moved(moved).with_residue(pump.take_residue()).into())
        }
    }
}
