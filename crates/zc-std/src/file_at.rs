//! A file from an offset on.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use crate::{Downstream, PollFd, Sink, Source, Upstream};

/// A file from an offset of its own on, as a source and as a sink: for range requests, parallel downloads,
/// database files.
///
/// The file's own offset is neither used nor moved, so any number of threads may each have a `FileAt` over one
/// open file, while others read and write it in the usual way. The kernel moves the bytes as it does for the
/// file itself. It is as long as the file; a `take` ends it earlier:
///
/// ```
/// use std::io::{Read, Write};
/// use zc_std::{FileAt, ReadFrom};
///
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"HTTP/1.1 206 Partial Content")?;
///
/// // bytes=9-11
/// let mut out = Vec::new();
/// assert_eq!(out.read_from(FileAt::new(&file, 9)?.take(3))?, 3);
/// assert_eq!(out, b"206");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// As a sink it has no end: limit the source, by [`copy_exact`](crate::copy_exact) or `take`. A
/// download in two parts, by two threads:
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::thread;
/// use zc_std::{FileAt, copy_exact};
///
/// let file = tempfile::tempfile()?;
/// thread::scope(|scope| {
///     for (start, part) in [(0, "all that "), (9, "was there")] {
///         let (mut server, mut connection) = UnixStream::pair()?;
///         server.write_all(part.as_bytes())?;
///         let mut place = FileAt::new(&file, start)?;
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
/// Linux writes to the end of a file in append mode (`O_APPEND`), whatever the offset (pwrite(2), Bugs). So a
/// copy into a `FileAt` over one fails with `InvalidInput` before a byte is taken, and so does a `write`. It can
/// be read from.
#[derive(Debug)]
pub struct FileAt<F> {
    file: F,
    offset: u64,
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
        crate::engine::fd::position(file.as_fd())?;
        let appends = crate::engine::fd::appends(file.as_fd());
        Ok(FileAt { file, offset, appends })
    }

    /// Where its next byte lies, in bytes from the file's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on from another offset.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// The file.
    pub fn get_ref(&self) -> &F {
        &self.file
    }

    /// The file, by value.
    pub fn into_inner(self) -> F {
        self.file
    }

    fn moved(&mut self, n: u64) {
        self.offset = self.offset.saturating_add(n);
    }
}

impl<F: AsFd> Read for FileAt<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = crate::engine::fd::read_at(self.file.as_fd(), buf, self.offset)?;
        self.moved(n as u64);
        Ok(n)
    }
}

impl<F: AsFd> Write for FileAt<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.appends {
            let what = "the file is in append mode, and would be written at its end";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        let n = crate::engine::fd::write_at(self.file.as_fd(), buf, self.offset)?;
        self.moved(n as u64);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> Source for FileAt<F> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd_at(PollFd::stream(self.file.as_fd()), self.offset)
    }
    fn taken(&mut self, n: u64) {
        self.moved(n);
    }
}

impl<F: AsFd> Sink for FileAt<F> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::fd_at(PollFd::stream(self.file.as_fd()), self.offset)
    }
    fn delivered(&mut self, n: u64) {
        self.moved(n);
    }
}
