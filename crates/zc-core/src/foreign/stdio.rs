//! The process's own standard streams.
//!
//! `Stdin` reads ahead into a buffer that std hides. So the kernel may not bypass it, which would
//! lose or reorder what it holds. `zc_std::Fd` offers the raw descriptor to programs that know the
//! buffer is empty. `Stdout` holds bytes back too, but a flush brings them out.

use std::io::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock};

use super::fd_sink;
use crate::{AsRawPollFd, Downstream, IsStream, Sink, Source};

impl Source for Stdin {}
impl Source for &Stdin {}
impl Source for StdinLock<'_> {}

impl IsStream for Stdout {}
impl IsStream for StdoutLock<'_> {}
impl IsStream for Stderr {}
impl IsStream for StderrLock<'_> {}

macro_rules! flushed_sink {
    ($($ty:ty;)*) => {$(
        impl Sink for $ty {
            fn downstream(&mut self) -> Downstream<'_> {
                Downstream::fd(self.as_raw_poll_fd()).flush_first()
            }
        }
    )*};
}

flushed_sink! {
    Stdout;
    &Stdout;
    StdoutLock<'_>;
}

fd_sink! {
    Stderr;
    &Stderr;
    StderrLock<'_>;
}
