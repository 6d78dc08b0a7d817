//! Addresses: `HOST:PORT` and `unix:PATH`, to connect to and to listen on.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("no path after unix:".into());
            }
            return Ok(Endpoint::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Endpoint::Tcp(text.into()))
            }
            _ => Err("neither HOST:PORT nor unix:PATH".into()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Connects, within `timeout` for each address that a name stands for.
    pub(crate) fn connect(&self, timeout: Option<Duration>) -> io::Result<OwnedFd> {
        match self {
            Endpoint::Tcp(address) => match timeout {
                Some(timeout) => connect_within(address, timeout),
                None => TcpStream::connect(address),
            }
            .map(OwnedFd::from),
            Endpoint::Unix(path) => UnixStream::connect(path).map(OwnedFd::from),
        }
    }

    pub(crate) fn listen(&self) -> io::Result<Listener> {
        match self {
            Endpoint::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            Endpoint::Unix(path) => {
                let listener = bind_unix(path)?;
                Ok(Listener::Unix(listener, OwnPath(path.clone())))
            }
        }
    }
}

fn connect_within(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Binds `path`, over the socket of a listener that died and could not remove it.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Whether `path` is a socket that nobody listens on.
///
/// It is tried with a socket of the wrong type, which the listener never notices (EPROTOTYPE). A stream
/// socket would take the one connection that a `zc recv` waits for.
fn is_abandoned(path: &Path) -> bool {
    let knock = || UnixDatagram::unbound()?.connect(path);
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
        && knock().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Takes one connection. The path of a Unix socket is removed when this drops.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, OwnPath),
}

/// A path that we made, and remove.
#[derive(Debug)]
pub(crate) struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// The address in the form that `zc send` takes, with the port that the kernel chose.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Listener::Tcp(listener) => listener.local_addr()?.to_string(),
            Listener::Unix(_, path) => format!("unix:{}", path.0.display()),
        })
    }

    /// The connection, and who is at its other end.
    pub(crate) fn accept(self) -> io::Result<(OwnedFd, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((stream.into(), peer.to_string()))
            }
            // Clients of Unix sockets have no address of their own.
            Listener::Unix(ref listener, ref path) => {
                let (stream, _) = listener.accept()?;
                Ok((stream.into(), format!("unix:{}", path.0.display())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!("unix:/run/x".parse(), Ok(Endpoint::Unix("/run/x".into())));
        for good in ["127.0.0.1:0", "[::1]:80", "localhost:65535"] {
            assert_eq!(good.parse(), Ok(Endpoint::Tcp(good.into())));
        }
        for bad in ["", "unix:", "localhost", ":80", "localhost:", "localhost:65536", "a:b"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_over_only_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let endpoint = Endpoint::Unix(path.clone());

        drop(UnixListener::bind(&path).unwrap());
        let listener = endpoint.listen().unwrap();
        assert_eq!(endpoint.listen().unwrap_err().kind(), ErrorKind::AddrInUse);
        // And whoever listens has not noticed.
        let Listener::Unix(queue, _) = &listener else { unreachable!() };
        queue.set_nonblocking(true).unwrap();
        assert_eq!(queue.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(listener);
        assert!(!path.exists());

        std::fs::write(&path, "not a socket").unwrap();
        assert_eq!(endpoint.listen().unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }
}
