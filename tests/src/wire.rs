//! TCP and Unix sockets as one type, and somebody at the other end.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use zc_std::{AsRawPollFd, Downstream, IsStream, Sink, Source, Upstream};

/// What kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// TCP, over loopback.
    Tcp,
    /// A Unix stream socket.
    Unix,
}

/// One end of a connection.
#[derive(Debug)]
pub enum End {
    /// Of a TCP connection.
    Tcp(TcpStream),
    /// Of a Unix one.
    Unix(UnixStream),
}

impl Wire {
    /// Both.
    pub const ALL: [Wire; 2] = [Wire::Tcp, Wire::Unix];

    /// The two ends of a new connection.
    ///
    /// # Panics
    ///
    /// If none can be made.
    pub fn pair(self) -> (End, End) {
        match self {
            Wire::Tcp => {
                let (a, b) = tcp_pair();
                (End::Tcp(a), End::Tcp(b))
            }
            Wire::Unix => {
                let (a, b) = UnixStream::pair().expect("a socket pair");
                (End::Unix(a), End::Unix(b))
            }
        }
    }
}

/// The two ends of a new TCP connection over loopback.
///
/// # Panics
///
/// If none can be made.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).expect("somebody listens");
    let (server, _) = listener.accept().expect("somebody connects");
    (client, server)
}

/// Sends `bytes` from a thread of its own, then ends the stream. The thread returns how many bytes
/// it could send.
pub fn feed(mut to: End, bytes: Vec<u8>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut sent = 0;
        while sent < bytes.len() {
            match to.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        sent
    })
}

/// Collects all that comes, in a thread of its own, which returns it.
pub fn collect(mut from: End) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A reset ends it too; what came before counts.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

impl Read for End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Tcp(stream) => stream.read(buf),
            End::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            End::Tcp(stream) => stream.write(buf),
            End::Unix(stream) => stream.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Tcp(stream) => stream.as_fd(),
            End::Unix(stream) => stream.as_fd(),
        }
    }
}

/// As std's own types say it.
impl IsStream for End {
    fn is_socket(&self) -> bool {
        true
    }
}

impl Source for End {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::fd(self.as_raw_poll_fd()).ends_for_good()
    }
}

impl Sink for End {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::fd(self.as_raw_poll_fd())
    }
}
