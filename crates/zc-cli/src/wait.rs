//! Waiting, for descriptors that came to us in non-blocking mode.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

/// Waits until `fd` has something to read, or its end. `false`: `timeout` is over.
pub(crate) fn readable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait(fd, PollFlags::IN, timeout)
}

/// Waits until `fd` takes bytes.
pub(crate) fn writable(fd: impl AsFd) -> io::Result<()> {
    wait(fd, PollFlags::OUT, None).map(|_| ())
}

fn wait(fd: impl AsFd, what: PollFlags, timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map(|t| Timespec::try_from(t).map_err(|_| Errno::INVAL)).transpose()?;
    let ready = retry_on_intr(|| poll(&mut [PollFd::new(&fd, what)], timeout.as_ref()))?;
    Ok(ready > 0)
}
