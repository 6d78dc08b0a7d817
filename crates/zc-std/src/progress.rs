//! Reports of progress.

use std::fmt;
use std::io::{self, Read, Write};

use crate::{Downstream, Sink, Source, Upstream};

/// Calls back with the number of bytes as they move; the kernel still moves them.
///
/// The callback receives the number of bytes just moved, never 0. They were moved by one system call
/// (at most 64 MiB between files, 512 KiB from a file to a socket), or by one `read` or `write`. Around
/// a source it reports bytes taken from it, around a sink bytes delivered to it. It runs on the copying
/// thread, between calls. If it panics, the panic unwinds through the copy, and the bytes it was told
/// of have moved.
///
/// A copy can go on after such a panic only at an end whose descriptor it knows. Around one that it can only read
/// from or write to (an [`Opaque`](crate::Opaque), and all ends where there is no engine), the callback runs within
/// that call. The copy does not learn what the call moved: a [`Copier`](crate::Copier) that is used again has lost
/// what was read, or writes once more what was written.
///
/// The two differ while bytes are in flight, and after a copy that has failed. At the source it reports what has
/// been taken, of which some may be the error's [residue](crate::CopyError::residue). Around the sink it is what
/// has been delivered, as [`CopyError::moved`](crate::CopyError::moved) counts it. Nothing is reported twice when
/// the copy is resumed. [`total`](Progress::total) is the sum, of either.
///
/// ```
/// use zc_std::{CopyError, Progress};
///
/// let full = std::fs::File::options().write(true).open("/dev/full")?;
/// let mut source = Progress::new(&b"twelve bytes"[..], |_| {});
/// let mut sink = Progress::new(full, |_| {});
/// let error = zc_std::copy(&mut zc_std::Opaque(&mut source), &mut sink).unwrap_err();
/// let copy = CopyError::from_io(&error).unwrap();
/// assert_eq!((source.total(), sink.total()), (12, 0)); // taken, delivered
/// assert_eq!((copy.residue().len(), copy.moved()), (12, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```
/// use std::io::Read;
/// use zc_std::Progress;
///
/// let (mut calls, mut seen) = (0, 0);
/// let mut source = Progress::new(&b"twelve bytes"[..], |n| {
///     calls += 1;
///     seen += n;
/// });
/// zc_std::copy(&mut source, &mut Vec::new())?;
/// drop(source);
/// assert_eq!((calls, seen), (1, 12));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Progress<T, F> {
    inner: T,
    report: F,
    total: u64,
}

impl<T, F: FnMut(u64)> Progress<T, F> {
    /// Reports what moves through `inner`.
    pub fn new(inner: T, report: F) -> Self {
        Progress { inner, report, total: 0 }
    }

    /// The wrapped source or sink.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The wrapped source or sink, mutably; bytes moved through this reference are not reported.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Unwraps it; the callback is dropped.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// How many bytes have been reported: taken from a source, delivered to a sink.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn moved(&mut self, n: u64) {
        if n > 0 {
            self.total += n;
            (self.report)(n);
        }
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Progress<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<T: Read, F: FnMut(u64)> Read for Progress<T, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.moved(n as u64);
        Ok(n)
    }
}

impl<Io, T: Source<Io>, F: FnMut(u64)> Source<Io> for Progress<T, F> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        Upstream::through(&mut self.inner)
    }
    fn taken(&mut self, n: u64) {
        self.moved(n);
    }
}

impl<T: Write, F: FnMut(u64)> Write for Progress<T, F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.moved(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<Io, T: Sink<Io>, F: FnMut(u64)> Sink<Io> for Progress<T, F> {
    fn downstream(&mut self) -> Downstream<'_, Io> {
        Downstream::through(&mut self.inner)
    }
    fn delivered(&mut self, n: u64) {
        self.moved(n);
    }
}
