//! A file from an offset on.

use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use zc_core::driver::file_range::{self, FileRange};
use zc_core::driver::write_once;

use crate::{
    Downstream, PollFd, ReadReady, Registered, Settling, Sink, Source, TokioIo, Upstream,
    WriteReady,
};

/// How many bytes a read or a write of its own moves at most.
const AT_A_TIME: usize = 256 * 1024;

/// A file from an offset of its own on, as a source and as a sink: for range requests, downloads in parts, database
/// files (feature `fs`).
///
/// The file's own offset is neither used nor moved. So any number of tasks may each have a `FileAt` over one open
/// file, a file that a server keeps open for example. It is as long as the file, or ends where a
/// [range](FileAt::range) does:
///
/// ```
/// use std::fs::File;
/// use std::io;
/// use std::ops::Range;
/// use std::sync::Arc;
/// use tokio::net::TcpStream;
/// use zc_tokio::FileAt;
///
/// /// Answers a range request.
/// async fn serve(file: &Arc<File>, range: Range<u64>, to: &mut TcpStream) -> io::Result<u64> {
///     let mut part = FileAt::range(Arc::clone(file), range)?;
///     zc_tokio::copy(&mut part, to).await
/// }
///
/// /// Writes a part of a download where it belongs.
/// async fn fill(file: &Arc<File>, range: Range<u64>, from: &mut TcpStream) -> io::Result<u64> {
///     use tokio::io::AsyncReadExt;
///     let len = range.end - range.start;
///     let mut place = FileAt::range(Arc::clone(file), range)?;
///     zc_tokio::copy(&mut from.take(len), &mut place).await
/// }
/// ```
///
/// It is made of a std file; tokio's has one: `file.into_std().await`. As a sink it lets no byte past the end of its
/// range, and a copy fails with `WriteZero` if its source has more, as into `zc_std::FileAt`: the first byte too many
/// is in the copier's residue. With `take` around the source, as above, no byte too many is taken.
///
/// After an error the [offset](FileAt::offset) stands behind what was delivered, or taken.
///
/// Its own `poll_read` and `poll_write` make their calls on the runtime's blocking pool, as those of tokio's `File`
/// do. A write is over before the bytes are in the file; `flush` waits for that, and a copy flushes.
///
/// A file in append mode can be read from. A write or a copy into it fails with `InvalidInput`, before a byte is
/// taken: Linux would write at its end (pwrite(2), Bugs). The mode is asked when the `FileAt` is made; a write of its
/// own does not notice that it has been set since.
#[derive(Debug)]
pub struct FileAt {
    file: Arc<File>,
    range: FileRange,
    appends: bool,
    busy: Busy,
}

/// A call of its own that a thread of the blocking pool makes.
#[derive(Debug)]
enum Busy {
    No,
    /// Of what lies at an offset.
    Reading(u64, JoinHandle<(Vec<u8>, io::Result<usize>)>),
    /// How many bytes are in the file, and why no more.
    Writing(Write, JoinHandle<(usize, io::Result<()>)>),
}

#[derive(Clone, Copy, Debug)]
struct Write {
    offset: u64,
    len: usize,
}

impl FileAt {
    /// `file` from `offset` on, in bytes. Asks whether the descriptor has places to read and write at, and in which
    /// mode it is; blocks on nothing.
    ///
    /// # Errors
    ///
    /// `NotSeekable` for a pipe, a socket or a terminal.
    pub fn new(file: impl Into<Arc<File>>, offset: u64) -> io::Result<Self> {
        FileAt::with(file.into(), FileRange::from(offset))
    }

    /// The bytes `range` of `file`, of which it is a source that ends there, and a sink that takes no more.
    ///
    /// # Errors
    ///
    /// As for [`new`](FileAt::new); and `InvalidInput` for a range that ends before it begins.
    pub fn range(file: impl Into<Arc<File>>, range: impl RangeBounds<u64>) -> io::Result<Self> {
        FileAt::with(file.into(), FileRange::new(range)?)
    }

    fn with(file: Arc<File>, range: FileRange) -> io::Result<Self> {
        zc_linux::fd::position(file.as_fd())?;
        let appends = zc_linux::fd::appends(file.as_fd());
        Ok(FileAt { file, range, appends, busy: Busy::No })
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
    pub fn get_ref(&self) -> &Arc<File> {
        &self.file
    }

    /// The file, by value. A write that was not flushed may still be in progress.
    pub fn into_inner(self) -> Arc<File> {
        self.file
    }

    fn check_mode(&self) -> io::Result<()> {
        if self.appends { Err(file_range::append_mode()) } else { Ok(()) }
    }

    /// Waits for a write that is in progress. One that fails brings the offset back to behind what was written,
    /// unless it has been set since.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Busy::Writing(write, task) = &mut self.busy else { return Poll::Ready(Ok(())) };
        let (Write { offset, len }, ended) = (*write, ready!(Pin::new(task).poll(cx)));
        self.busy = Busy::No;
        // A runtime that shuts down makes no more calls.
        let (written, outcome) = ended.unwrap_or_else(|error| (0, Err(io::Error::other(error))));
        if written < len && self.range.offset() == offset.saturating_add(len as u64) {
            self.range.set_offset(offset + written as u64);
        }
        Poll::Ready(outcome)
    }

    /// Waits for a write that is in progress. What has been read ahead is read again.
    fn settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(self.poll_written(cx))?;
        self.busy = Busy::No;
        Poll::Ready(Ok(true))
    }
}

/// All of `bytes`, from `offset` on.
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        let at = offset + written as u64;
        match write_once(&bytes[written..], |rest| zc_linux::fd::write_at(file.as_fd(), rest, at)) {
            Ok(n) => written += n,
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

impl AsyncRead for FileAt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        loop {
            let offset = self.range.offset();
            let most = self.range.within(buf.remaining());
            if most == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Busy::Reading(at, task) = &mut self.busy {
                let (at, ended) = (*at, ready!(Pin::new(task).poll(cx)));
                self.busy = Busy::No;
                let (bytes, outcome) = ended.map_err(io::Error::other)?;
                // The future that asked for another offset has been dropped.
                if at == offset {
                    let n = outcome?.min(most);
                    buf.put_slice(&bytes[..n]);
                    self.range.moved(n as u64);
                    return Poll::Ready(Ok(()));
                }
            }
            let (file, len) = (Arc::clone(&self.file), most.min(AT_A_TIME));
            let task = spawn_blocking(move || {
                let mut bytes = vec![0; len];
                let outcome = zc_linux::fd::read_at(file.as_fd(), &mut bytes, offset);
                (bytes, outcome)
            });
            self.busy = Busy::Reading(offset, task);
        }
    }
}

impl AsyncWrite for FileAt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_mode()?;
        ready!(self.poll_written(cx))?;
        let len = self.range.within(buf.len()).min(AT_A_TIME);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let (file, bytes) = (Arc::clone(&self.file), buf[..len].to_vec());
        let offset = self.range.offset();
        let task = spawn_blocking(move || write_all_at(&file, &bytes, offset));
        self.busy = Busy::Writing(Write { offset, len }, task);
        self.range.moved(len as u64);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Source<TokioIo> for FileAt {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        let (offset, left) = (self.range.offset(), self.range.left());
        Upstream::fd_at(PollFd::stream(self.file.as_fd()), offset).limit(left)
    }
    fn taken(&mut self, n: u64) {
        self.range.moved(n);
    }
}

impl Sink<TokioIo> for FileAt {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        let (offset, left) = (self.range.offset(), self.range.left());
        Downstream::fd_at(PollFd::stream(self.file.as_fd()), offset).limit(left)
    }
    fn delivered(&mut self, n: u64) {
        self.range.moved(n);
    }
}

impl ReadReady for FileAt {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::file(&self.file).matching(fd)
    }
    fn settle_source(&mut self, cx: &mut Context<'_>, _: &mut Settling) -> Poll<io::Result<bool>> {
        self.settle(cx)
    }
}

impl WriteReady for FileAt {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::file(&self.file).matching(fd)
    }
    fn settle_sink(&mut self, cx: &mut Context<'_>, _: &mut Settling) -> Poll<io::Result<bool>> {
        self.check_mode()?;
        self.settle(cx)
    }
}
