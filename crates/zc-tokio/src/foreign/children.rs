//! A child's standard streams. They hide how they are waited for, so their own `poll_` methods do that.

use std::os::fd::{AsFd, RawFd};

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use zc_core::PollFd;

use crate::{Downstream, ReadReady, Registered, Sink, Source, TokioIo, Upstream, WriteReady};

macro_rules! source {
    ($($ty:ty)*) => {$(
        impl Source<TokioIo> for $ty {
            fn upstream(&mut self) -> Upstream<'_, TokioIo> {
                Upstream::fd(PollFd::stream((*self).as_fd()))
            }
        }
        impl ReadReady for $ty {
            fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
                Registered::hidden(PollFd::stream(self.as_fd())).matching(fd)
            }
        }
    )*};
}

source! { ChildStdout ChildStderr }

impl Sink<TokioIo> for ChildStdin {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::fd(PollFd::stream((*self).as_fd()))
    }
}

impl WriteReady for ChildStdin {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::hidden(PollFd::stream(self.as_fd())).matching(fd)
    }
}
