//! Copies that know how long their source is to be.
//!
//! A peer that dies ends its connection just as one that has finished: `read_from(stream.take(n))` is `Ok`
//! with fewer than n bytes, and also where more than n would come.

use std::io::{self, ErrorKind, Read, Write};

use crate::{CopyError, Side, Sink, Source};

/// Copies exactly `n` bytes of `reader` into `writer`; what comes after them is left unread.
///
/// Blocks as the two sides do. It moves the bytes as [`copy`](crate::copy()) does.
///
/// # Errors
///
/// `UnexpectedEof` if `reader` ends before: all that came is delivered, and
/// [`CopyError::moved`] says how much that was. Else those of [`copy`](crate::copy()).
///
/// ```
/// use std::io::{ErrorKind, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_std::{CopyError, copy_exact};
///
/// let (mut client, mut stream) = UnixStream::pair()?;
/// client.write_all(b"half an upl")?;
/// drop(client); // it died
///
/// let mut file = tempfile::tempfile()?;
/// let error = copy_exact(&mut stream, &mut file, 22).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
/// assert_eq!(CopyError::from_io(&error).map(CopyError::moved), Some(11));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_exact<R, W>(reader: &mut R, writer: &mut W, n: u64) -> io::Result<()>
where
    R: Read + Source + ?Sized,
    W: Write + Sink + ?Sized,
{
    // A reference to an unsized source is a sized one.
    let mut reader = reader;
    let moved = crate::copy(&mut (&mut reader).take(n), writer)?;
    if moved < n {
        let what = format!("the source ended after {moved} of {n} bytes");
        return Err(at_source(ErrorKind::UnexpectedEof, what, moved).into());
    }
    Ok(())
}

/// Copies all of `reader` into `writer`, and returns how many bytes moved: at most `n`.
///
/// Blocks as the two sides do. It moves the bytes as [`copy`](crate::copy()) does.
///
/// # Errors
///
/// `FileTooLarge` if `reader` has more than `n` bytes: the first `n` are delivered. The read that found it
/// out has taken some of the others, which are the error's [residue](CopyError::residue). Else those of
/// [`copy`](crate::copy()).
///
/// ```
/// use std::io::ErrorKind;
/// use zc_std::{CopyError, copy_limited};
///
/// let mut out = Vec::new();
/// assert_eq!(copy_limited(&mut &b"twelve bytes"[..], &mut out, 12)?, 12);
///
/// let error = copy_limited(&mut &b"thirteen byte"[..], &mut Vec::new(), 12).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::FileTooLarge);
/// let copy = CopyError::from_io(&error).unwrap();
/// assert_eq!((copy.moved(), copy.residue()), (12, &b"e"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_limited<R, W>(reader: &mut R, writer: &mut W, n: u64) -> io::Result<u64>
where
    R: Read + Source + ?Sized,
    W: Write + Sink + ?Sized,
{
    let mut reader = reader;
    let moved = crate::copy(&mut (&mut reader).take(n), writer)?;
    if moved < n {
        return Ok(moved);
    }
    // With room for a message, if that is what it gives.
    let mut more = zc_core::driver::Buffer::default();
    match more.fill(u64::MAX, |room| reader.read(room)) {
        Ok((0, _)) => Ok(moved),
        Ok(_) => {
            let what = format!("the source has more than {n} bytes");
            let error = at_source(ErrorKind::FileTooLarge, what, moved);
            Err(error.with_residue(more.take()).into())
        }
        Err(error) => {
            let error = CopyError::new(error).with_moved(moved).with_syscall("read");
            Err(error.with_side(Side::Source).into())
        }
    }
}

fn at_source(kind: ErrorKind, what: String, moved: u64) -> CopyError {
    CopyError::new(io::Error::new(kind, what)).with_moved(moved).with_side(Side::Source)
}
