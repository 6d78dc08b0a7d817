//! The plain copy.

use std::io::{self, Read, Write};

use crate::{Sink, Source};

/// Copies all of `reader` into `writer`, and returns how many bytes moved.
///
/// It is `std::io::copy` with the kernel's help where there is any: bytes that a `BufReader` has
/// buffered go first, then the kernel moves the rest past it.
///
/// Blocks as the two ends do. On a descriptor in non-blocking mode, or with a timeout set, it may
/// stop with `WouldBlock`. To resume, make the copy with a [`Copier`](crate::Copier) in the first
/// place: it keeps the bytes in flight. After this function, write the error's
/// [`residue`](crate::CopyError::residue) before you copy again, or hand the residue to
/// [`Copier::with_residue`](crate::Copier::with_residue).
///
/// # Errors
///
/// The first error that another mechanism could not avoid. It carries a
/// [`CopyError`](crate::CopyError): how many bytes were delivered, and those that were taken and
/// were not. It has the same [`kind`](io::Error::kind) as the error inside, but no `raw_os_error()`
/// of its own: code moved from `std::io::copy` that matches an errno asks
/// [`CopyError::raw_os_error`](crate::CopyError::raw_os_error).
///
/// (If the pipe that holds the residue cannot be read, which only a `hook` can cause, the bytes in
/// it are lost with the copy.)
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
///
/// # Stopping a copy
///
/// To stop a copy that waits for a socket, shut the socket down (`TcpStream::shutdown`, from any thread):
/// the copy returns at once. Nothing else wakes it. A source that is shut down has ended (`Ok`); a sink
/// fails with `BrokenPipe`. A copy that keeps moving bytes can be stopped by its source, whose limit may
/// fall to 0 whenever bytes are taken:
///
/// ```
/// use std::io::{self, Read};
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use zc_std::{Source, Upstream};
///
/// /// Ends once `stop` is set.
/// struct Until<'a, S> {
///     inner: S,
///     stop: &'a AtomicBool,
///     stopped: bool,
/// }
///
/// impl<S: Read> Read for Until<'_, S> {
///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         self.stopped |= self.stop.load(Ordering::Relaxed);
///         if self.stopped { Ok(0) } else { self.inner.read(buf) }
///     }
/// }
///
/// impl<S: Source> Source for Until<'_, S> {
///     fn upstream(&mut self) -> Upstream<'_> {
///         Upstream::through(&mut self.inner).limit(if self.stopped { 0 } else { u64::MAX })
///     }
///     fn taken(&mut self, _: u64) {
///         self.stopped |= self.stop.load(Ordering::Relaxed);
///     }
/// }
///
/// let stop = AtomicBool::new(false);
/// let zeros = std::fs::File::open("/dev/zero")?; // never ends by itself
/// let mut source = Until { inner: zeros, stop: &stop, stopped: false };
/// let mut sink = zc_std::Progress::new(std::fs::File::create("/dev/null")?, |_| {
///     stop.store(true, Ordering::Relaxed);
/// });
/// assert!(zc_std::copy(&mut source, &mut sink)? > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Such a copy returns `Ok`, and delivers all that it has taken.
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Read + Source + ?Sized,
    W: Write + Sink + ?Sized,
{
    // A reference to an unsized source or sink is a sized one.
    let (mut reader, mut writer) = (reader, writer);
    Ok(crate::engine::copy(&mut reader, &mut writer)?)
}
