//! Passing a reset on.

use std::io;
use std::time::Duration;

use crate::{Error, Registered};

/// How long delivered bytes may take to arrive before the other end is reset, if there is no write timeout.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether `error` is a peer's reset.
pub(crate) fn is_reset(error: &Error) -> bool {
    error.end().is_some()
        && matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
}

/// Whether an end's connection is lost without a reset: its peer is silent, or out of reach. The kernel tells it once, a
/// read or a write, and after that the connection looks like one that has ended.
pub(crate) fn is_lost(error: &Error) -> bool {
    error.end().is_some()
        && error.io_error().raw_os_error().is_some()
        && matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        )
}

/// Waits until the peer has acknowledged all that it was sent. (No event tells of it, so it polls.) Without a
/// TCP connection, or once that is lost, too, there is nothing to wait for.
pub(crate) async fn until_arrived(end: Option<Registered<'_>>) {
    const LONGEST: Duration = Duration::from_millis(50);
    let Some(end) = end.filter(|end| end.is_tcp()) else { return };
    let mut pause = Duration::from_millis(1);
    let fd = end.poll_fd().fd();
    // What a lost connection has not sent stays in its queue.
    let is_well = || matches!(zc_linux::fd::take_error(fd), Ok(None));
    while zc_linux::fd::unsent(fd).is_ok_and(|bytes| bytes > 0) && is_well() {
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST);
    }
}

/// Has a TCP connection reset when its owner drops it.
pub(crate) fn reset_when_dropped(end: Option<Registered<'_>>) {
    if let Some(end) = end.filter(|end| end.is_tcp()) {
        // Only a hook can make it fail; then it ends as if this were not asked for.
        let _ = zc_linux::fd::reset_when_closed(end.poll_fd().fd());
    }
}
