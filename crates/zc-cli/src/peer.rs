//! The other end of a connection: whether it is still there, and whether it has got everything.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{
    Timeout, set_socket_keepalive, set_socket_linger, set_socket_timeout, set_tcp_keepcnt,
    set_tcp_keepidle, set_tcp_keepintvl, socket_domain, socket_error,
};
use rustix::net::{AddressFamily, Shutdown, shutdown};

use crate::end::End;
use crate::reply::{Ended, Reply};
use crate::say::say;

/// How long to wait for an acknowledgement, of which no system call tells.
const TICK: Duration = Duration::from_millis(20);

/// When people begin to wonder.
const HINT_AFTER: Duration = Duration::from_secs(3);

/// Has the kernel ask a peer that says nothing whether it is still there: after a minute, six times, every
/// ten seconds.
pub(crate) fn keep_alive(socket: impl AsFd) {
    let probe = || {
        set_socket_keepalive(&socket, true)?;
        set_tcp_keepidle(&socket, Duration::from_secs(60))?;
        set_tcp_keepintvl(&socket, Duration::from_secs(10))?;
        set_tcp_keepcnt(&socket, 6)
    };
    // The peer of a Unix socket cannot vanish without the kernel noticing.
    let _: rustix::io::Result<()> = probe();
}

/// Has reads from a socket, and writes to it, give up after `timeout` without a byte.
pub(crate) fn limit_waits(end: &mut End, timeout: Option<Duration>, to: Timeout) -> io::Result<()> {
    set_socket_timeout(&end.fd, to, timeout)?;
    end.timeout = timeout;
    Ok(())
}

/// Has the connection break off when it is closed, also by the kernel if this process is killed: a peer does not take
/// it for a success.
pub(crate) fn break_off(end: &End) {
    let _ = set_socket_linger(&end.fd, Some(Duration::ZERO));
}

/// Has it end in order after all.
pub(crate) fn end_in_order(end: &End) {
    let _ = set_socket_linger(&end.fd, None);
}

/// How the peer took the end of what we sent.
#[derive(Debug)]
pub(crate) enum Farewell {
    /// It has everything, and has ended its side.
    InOrder(Box<Ended>),
    Failed(io::Error),
    /// It has not acknowledged this many bytes, or has not ended its side, and time is up.
    Late {
        unacknowledged: u64,
        idle: bool,
    },
}

/// Ends our side, and waits until the peer has acknowledged every byte and ended its own.
///
/// Bytes in the socket's buffer count as moved, and a peer that gives up now would do so unnoticed. If it takes
/// its time, `hint` is said once.
pub(crate) fn take_leave(
    socket: &End,
    reply: &Reply,
    linger: Option<Duration>,
    timeout: Option<Duration>,
    mut hint: Option<&str>,
) -> Farewell {
    match shutdown(&socket.fd, Shutdown::Write) {
        // The peer has reset the connection; its reply says so.
        Ok(()) | Err(Errno::NOTCONN) => {}
        Err(error) => return Farewell::Failed(error.into()),
    }
    let left = |time: Option<Duration>, since: Instant| {
        time.map_or(Duration::MAX, |time| time.saturating_sub(since.elapsed()))
    };
    let begun = Instant::now();
    let (mut last, mut last_change) = (None, begun);
    let mut ended = None;
    loop {
        // A socket tells its error once: if the thread that reads the reply was first, it has it.
        match socket_error(&socket.fd) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return Farewell::Failed(error.into()),
        }
        let unacknowledged = unacknowledged(socket);
        match ended.take() {
            Some(in_order) if unacknowledged == 0 => return Farewell::InOrder(Box::new(in_order)),
            other => ended = other,
        }
        let now = Some((unacknowledged, reply.bytes()));
        if last != now {
            (last, last_change) = (now, Instant::now());
        }
        let (linger, idle) = (left(linger, begun), left(timeout, last_change));
        if linger.is_zero() || idle.is_zero() {
            return Farewell::Late { unacknowledged, idle: idle.is_zero() };
        }
        // Until the peer ends, only the timeout needs a look.
        let tick = if timeout.is_some() || ended.is_some() { TICK } else { Duration::MAX };
        let mut tick = tick.min(linger).min(idle);
        if let Some(text) = hint {
            let left = HINT_AFTER.saturating_sub(begun.elapsed());
            if left.is_zero() {
                say(text);
                hint = None;
            } else {
                tick = tick.min(left);
            }
        }
        if ended.is_some() {
            std::thread::sleep(tick);
            continue;
        }
        match reply.wait(tick) {
            Some(Ended { peer: Err(error), .. }) => return Farewell::Failed(error),
            in_order => ended = in_order,
        }
    }
}

/// The bytes that the peer has not acknowledged, without the end, which counts for one.
fn unacknowledged(socket: &End) -> u64 {
    let end = if socket_domain(&socket.fd) == Ok(AddressFamily::UNIX) { 0 } else { 1 };
    zc_linux::fd::unsent(socket.fd.as_fd()).map_or(0, |n| n.saturating_sub(end))
}
