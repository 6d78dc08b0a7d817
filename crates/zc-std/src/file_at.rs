//! A file from an offset on.

use std::io::{self, Read, Write};
use std::ops::RangeBounds;
use std::os::fd::AsFd;

use zc_core::driver::file_range::{self, FileRange};

use crate::{Downstream, PollFd, Sink, Source, Upstream};

/// A file from an offset of its own on, as a source and as a sink: for range requests, parallel downloads,
/// database files.
///
/// The file's own offset is neither used nor moved. So any number of threads may each have a `FileAt` over one
/// open file, while others read and write it in the usual way. The kernel moves the bytes as it does for the
/// file itself. It is as long as the file, or ends where a [range](FileAt::range) does:
///
/// ```
/// use std::io::Write;
/// use zc_std::{FileAt, ReadFrom};
///
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"HTTP/1.1 206 Partial Content")?;
///
/// // bytes=9-11
/// let mut out = Vec::new();
/// assert_eq!(out.read_from(FileAt::range(&file, 9..12)?)?, 3);
/// assert_eq!(out, b"206");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// As a sink it lets no byte past the end of its range. A copy takes no more from its source than fits. If the source
/// has more, the copy fails with `WriteZero`, as [`write_all`](Write::write_all) into a slice does. The first byte
/// too many is in the error's [residue](crate::CopyError::residue), and the rest still in the source. (To know, it
/// has to read on once. [`copy_exact`](crate::copy_exact) and `take` do not, and leave a connection to its next
/// user.) A download in two parts, by two threads:
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::thread;
/// use zc_std::{FileAt, copy_exact};
///
/// let file = tempfile::tempfile()?;
/// thread::scope(|scope| {
///     for (range, part) in [(0..9, "all that "), (9..18, "was there")] {
///         let (mut server, mut connection) = UnixStream::pair()?;
///         server.write_all(part.as_bytes())?;
///         let mut place = FileAt::range(&file, range)?;
///         scope.spawn(move || copy_exact(&mut connection, &mut place, part.len() as u64));
///     }
///     Ok::<(), std::io::Error>(())
/// })?;
/// let mut all = String::new();
/// FileAt::new(&file, 0)?.read_to_string(&mut all)?;
/// assert_eq!(all, "all that was there");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// After an error the [offset](FileAt::offset) stands behind what was delivered, or taken, as a file's own
/// offset would.
///
/// # Files in append mode
///
/// Linux writes to the end of a file in append mode (`O_APPEND`), and ignores the offset (pwrite(2), Bugs). So a
/// copy into a `FileAt` over one fails with `InvalidInput` before a byte is taken, and so does a `write`. It can
/// be read from.
#[derive(Debug)]
pub struct FileAt<F> {
    file: F,
    range: FileRange,
    appends: bool,
}

impl<F: AsFd> FileAt<F> {
    /// `file` from `offset` on, in bytes. Asks whether the descriptor has places to read and write at, and in
    /// which mode it is; blocks on nothing.
    ///
    /// # Errors
    ///
    /// `NotSeekable` for a pipe, a socket or a terminal.
    pub fn new(file: F, offset: u64) -> io::Result<Self> {
        FileAt::with(file, FileRange::from(offset))
    }

    /// The bytes `range` of `file`, of which it is a source that ends there, and a sink that takes no more.
    ///
    /// # Errors
    ///
    /// As for [`new`](FileAt::new); and `InvalidInput` for a range that ends before it begins.
    ///
    /// ```
    /// use std::io::{ErrorKind, Read};
    /// use zc_std::{CopyError, FileAt, copy};
    ///
    /// let file = tempfile::tempfile()?;
    /// let mut second = FileAt::range(&file, 5..10)?;
    ///
    /// let mut source = &b"bytes, and more"[..];
    /// let error = copy(&mut source, &mut second).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WriteZero);
    /// assert_eq!(second.offset(), 10);
    /// // Nothing is lost.
    /// let failed = error.downcast::<CopyError>().expect("a copy failed");
    /// assert_eq!((failed.moved(), [failed.residue(), source].concat()), (5, b", and more".to_vec()));
    ///
    /// let mut all = String::new();
    /// FileAt::range(&file, ..)?.read_to_string(&mut all)?;
    /// assert_eq!(all, "\0\0\0\0\0bytes");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn range(file: F, range: impl RangeBounds<u64>) -> io::Result<Self> {
        FileAt::with(file, FileRange::new(range)?)
    }

    fn with(file: F, range: FileRange) -> io::Result<Self> {
        crate::engine::fd::position(file.as_fd())?;
        let appends = crate::engine::fd::appends(file.as_fd());
        Ok(FileAt { file, range, appends })
    }

    /// Where its next byte lies, in bytes from the file's beginning.
    pub fn offset(&self) -> u64 {
        self.range.offset()
    }

    /// Where its range ends, in bytes from the file's beginning; `None` if it does not.
    pub fn end(&self) -> Option<u64> {
        self.range.end()
    }

    /// Goes on from another offset. Its range still ends where it did.
    pub fn set_offset(&mut self, offset: u64) {
        self.range.set_offset(offset);
    }

    /// The file.
    pub fn get_ref(&self) -> &F {
        &self.file
    }

    /// The file, by value.
    pub fn into_inner(self) -> F {
        self.file
    }
}

impl<F: AsFd> Read for FileAt<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.range.within(buf.len());
        let n =
            crate::engine::fd::read_at(self.file.as_fd(), &mut buf[..most], self.range.offset())?;
        self.range.moved(n as u64);
        Ok(n)
    }
}

impl<F: AsFd> Write for FileAt<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.appends {
            return Err(file_range::append_mode());
        }
        let most = self.range.within(buf.len());
        let n = crate::engine::fd::write_at(self.file.as_fd(), &buf[..most], self.range.offset())?;
        self.range.moved(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> Source for FileAt<F> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd_at(PollFd::stream(self.file.as_fd()), self.range.offset())
            .limit(self.range.left())
    }
    fn taken(&mut self, n: u64) {
        self.range.moved(n);
    }
}

impl<F: AsFd> Sink for FileAt<F> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::fd_at(PollFd::stream(self.file.as_fd()), self.range.offset())
            .limit(self.range.left())
    }
    fn delivered(&mut self, n: u64) {
        self.range.moved(n);
    }
}
