//! Addresses: `HOST:PORT`, `:PORT` and `unix:PATH`, to connect to and to listen on.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::end::identity;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A name or an address without brackets, perhaps with a zone, and a port.
    Tcp(String, u16),
    /// All addresses of this machine.
    Port(u16),
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
        let (host, port) = match text.rsplit_once(':') {
            Some(split) => split,
            None if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => ("", text),
            None => return Err("neither HOST:PORT nor unix:PATH".into()),
        };
        let port = match port.parse() {
            Ok(port) => port,
            Err(_) if port.is_empty() => return Err("no port after the colon".into()),
            Err(_) => return Err(format!("port '{port}' is not a number from 0 to 65535")),
        };
        match host {
            "" => Ok(Endpoint::Port(port)),
            host if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) => {
                Err("an IPv6 address goes into brackets, as in [::1]:9000".into())
            }
            host => {
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let bare = bare.filter(|host| host.contains(':'));
                Ok(Endpoint::Tcp(bare.unwrap_or(host).into(), port))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Port(port) => write!(f, ":{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Connects, within `timeout` for each address that a name stands for.
    pub(crate) fn connect(&self, timeout: Option<Duration>) -> io::Result<OwnedFd> {
        match self {
            Endpoint::Tcp(host, port) => {
                connect((host.as_str(), *port), timeout).map(OwnedFd::from)
            }
            Endpoint::Port(port) => connect(("localhost", *port), timeout).map(OwnedFd::from),
            Endpoint::Unix(path) => connect_unix(path, timeout),
        }
    }

    pub(crate) fn listen(&self) -> io::Result<Listener> {
        match self {
            Endpoint::Tcp(host, port) => {
                TcpListener::bind((host.as_str(), *port)).map(Listener::Tcp)
            }
            Endpoint::Port(port) => {
                // IPv4 comes in by it, too, unless the machine knows no IPv6.
                let all = [Ipv6Addr::UNSPECIFIED.into(), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
                let all = all.map(|address| SocketAddr::from((address, *port)));
                TcpListener::bind(&all[..]).map(Listener::Tcp)
            }
            Endpoint::Unix(path) => {
                let listener = bind_unix(path)?;
                Ok(Listener::Unix(listener, OwnPath::new(path)?))
            }
        }
    }
}

fn connect(address: impl ToSocketAddrs, timeout: Option<Duration>) -> io::Result<TcpStream> {
    let Some(timeout) = timeout else { return TcpStream::connect(address) };
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Connects to `path`. Where the listener's queue is full, that waits as a write does.
fn connect_unix(path: &Path, timeout: Option<Duration>) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, timeout)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT.into()),
            Err(error) => return Err(error.into()),
        }
    }
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

/// Whether `path` is a socket without a listener.
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

/// A path that we made, and remove unless another process has bound it anew.
#[derive(Debug)]
pub(crate) struct OwnPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnPath {
    fn new(path: &Path) -> io::Result<OwnPath> {
        Ok(OwnPath { path: path.into(), identity: identity(&path.symlink_metadata()?) })
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let there = self.path.symlink_metadata();
        if there.is_ok_and(|there| identity(&there) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// The address in the form that `zc send` takes, with the port that the kernel chose.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Listener::Tcp(listener) => listener.local_addr()?.to_string(),
            Listener::Unix(_, own) => format!("unix:{}", own.path.display()),
        })
    }

    /// The connection, and who is at its other end.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((stream.into(), peer.to_string()))
            }
            // Clients of Unix sockets have no address of their own.
            Listener::Unix(listener, own) => {
                let (stream, _) = listener.accept()?;
                Ok((stream.into(), format!("unix:{}", own.path.display())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        assert_eq!("unix:/run/x".parse(), Ok(Endpoint::Unix("/run/x".into())));
        for (good, host, port) in [
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:80", "::1", 80),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
            ("localhost:65535", "localhost", 65535),
        ] {
            let endpoint = Endpoint::Tcp(host.into(), port);
            assert_eq!((good.parse(), endpoint.to_string()), (Ok(endpoint), good.into()));
        }
        for port in ["9000", ":9000"] {
            assert_eq!(port.parse(), Ok(Endpoint::Port(9000)));
        }
        for (bad, why) in [
            ("", "neither HOST:PORT nor unix:PATH"),
            ("unix:", "no path"),
            ("localhost", "neither HOST:PORT nor unix:PATH"),
            ("localhost:", "no port"),
            (":", "no port"),
            ("localhost:65536", "port '65536'"),
            ("80000", "port '80000'"),
            ("a:b", "port 'b'"),
            ("::1", "brackets"),
            ("::1:80", "brackets"),
        ] {
            let error = bad.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
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
        // And the listener has not noticed.
        let Listener::Unix(queue, _) = &listener else { unreachable!() };
        queue.set_nonblocking(true).unwrap();
        assert_eq!(queue.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(listener);
        assert!(!path.exists());

        // What another process has bound meanwhile stays.
        let listener = endpoint.listen().unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = endpoint.listen().unwrap();
        drop(listener);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());

        std::fs::write(&path, "not a socket").unwrap();
        assert_eq!(endpoint.listen().unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }
}
