//! Files.
//!
//! tokio's `File` reads ahead and writes behind, on threads of the blocking pool. Before a copy bypasses it,
//! `settle_source` and `settle_sink` have it finish that, and seek back over what it has read ahead.

use std::io::{self, SeekFrom};
use std::os::fd::{AsFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::fs::File;
use tokio::io::{AsyncSeek, AsyncWrite};
use zc_core::PollFd;

use crate::{
    Downstream, ReadReady, Registered, Settling, Sink, Source, TokioIo, Upstream, WriteReady,
};

impl Source<TokioIo> for File {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::fd(PollFd::stream((*self).as_fd()))
    }
}

impl Sink<TokioIo> for File {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::fd(PollFd::stream((*self).as_fd()))
    }
}

impl ReadReady for File {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::file(self).matching(fd)
    }
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        settle(self, cx, settling)
    }
}

impl WriteReady for File {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::file(self).matching(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        settle(self, cx, settling)
    }
}

fn settle(
    file: &mut File,
    cx: &mut Context<'_>,
    Settling(is_seeking): &mut Settling,
) -> Poll<io::Result<bool>> {
    if !*is_seeking {
        ready!(Pin::new(&mut *file).poll_flush(cx))?;
        Pin::new(&mut *file).start_seek(SeekFrom::Current(0))?;
        *is_seeking = true;
    }
    let sought = ready!(Pin::new(file).poll_complete(cx));
    *is_seeking = false;
    // What cannot seek, a FIFO or a tty, is left to its own `poll_read` and `poll_write`.
    Poll::Ready(Ok(sought.is_ok()))
}
