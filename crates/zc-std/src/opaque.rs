//! Types that have not opted in.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};

use crate::{Sink, Source};

/// Lets any `Read` or `Write` take part in a copy: always correct, never offloaded.
///
/// ```
/// use std::io::Read;
/// use zc_std::Opaque;
///
/// struct Zeros;
/// impl Read for Zeros {
///     fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
///         buf.fill(0);
///         Ok(buf.len())
///     }
/// }
///
/// let mut out = Vec::new();
/// zc_std::copy(&mut Opaque(Zeros).take(100_000), &mut out)?;
/// assert_eq!(out, [0; 100_000]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Opaque<T>(pub T);

impl<T: Read> Source for Opaque<T> {}
impl<T: Write> Sink for Opaque<T> {}

impl<T: Read> Read for Opaque<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl<T: BufRead> BufRead for Opaque<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }
    fn consume(&mut self, n: usize) {
        self.0.consume(n);
    }
}

impl<T: Write> Write for Opaque<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
