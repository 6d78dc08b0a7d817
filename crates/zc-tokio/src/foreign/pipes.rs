//! Pipes. They do not end for good: a FIFO comes back to life with its next writer.

use std::os::fd::{AsFd, RawFd};

use tokio::net::unix::pipe::{Receiver, Sender};
use zc_core::PollFd;

use crate::{Downstream, ReadReady, Registered, Sink, Source, TokioIo, Upstream, WriteReady};

impl Source<TokioIo> for Receiver {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::fd(PollFd::stream((*self).as_fd()))
    }
}

impl ReadReady for Receiver {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::receiver(self).matching(fd)
    }
}

impl Sink<TokioIo> for Sender {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::fd(PollFd::stream((*self).as_fd()))
    }
}

impl WriteReady for Sender {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::sender(self).matching(fd)
    }
}
