//! A TCP or a Unix connection, accepted or made.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use zc_tokio::{Error, Relay};

use crate::endpoint::{Endpoint, Listener, OwnPath};

/// How long to wait for descriptors, or a place in a queue, before asking again.
pub(crate) const AGAIN: Duration = Duration::from_millis(100);

/// Whether the process or the system has no descriptors left, or the queue of a Unix listener is full. Of neither does
/// an event tell when it is over.
fn passes(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN))
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `target`, in at most `within` unless that is 0.
    pub(crate) async fn connect(target: &Endpoint, within: Duration) -> io::Result<Stream> {
        let connecting = async {
            loop {
                match Stream::try_connect(target).await {
                    // Another connection may end, or be accepted.
                    Err(error) if passes(&error) => tokio::time::sleep(AGAIN).await,
                    outcome => return outcome,
                }
            }
        };
        if within.is_zero() {
            return connecting.await;
        }
        tokio::time::timeout(within, connecting).await?
    }

    async fn try_connect(target: &Endpoint) -> io::Result<Stream> {
        let stream = match target {
            Endpoint::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
            Endpoint::Port(port) => TcpStream::connect(("localhost", *port)).await?,
            Endpoint::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
        };
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// Relays between the two until both have ended.
    pub(crate) async fn relay(
        &mut self,
        to: &mut Stream,
        relay: &mut Relay,
    ) -> Result<(u64, u64), Error> {
        match (self, to) {
            (Stream::Tcp(a), Stream::Tcp(b)) => relay.run(a, b).await,
            (Stream::Tcp(a), Stream::Unix(b)) => relay.run(a, b).await,
            (Stream::Unix(a), Stream::Tcp(b)) => relay.run(a, b).await,
            (Stream::Unix(a), Stream::Unix(b)) => relay.run(a, b).await,
        }
    }
}

/// Accepts connections. The path of a Unix socket is removed when this drops.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _path: OwnPath },
}

impl Acceptor {
    pub(crate) fn new(listener: Listener) -> io::Result<Acceptor> {
        Ok(match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Acceptor::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Unix(listener, path) => {
                listener.set_nonblocking(true)?;
                Acceptor::Unix { listener: UnixListener::from_std(listener)?, _path: path }
            }
        })
    }

    /// A connection, and who made it: of clients of Unix sockets only their number is known.
    pub(crate) async fn accept(&self, number: u64) -> io::Result<(Stream, String)> {
        match self {
            Acceptor::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), peer.to_string()))
            }
            Acceptor::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), format!("unix:#{number}")))
            }
        }
    }
}
