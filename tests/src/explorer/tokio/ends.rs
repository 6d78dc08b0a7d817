//! The ends of a copy, and their peers, which never wait.

use std::io::{self, Cursor};
use std::net::{Ipv4Addr, TcpListener, TcpStream as StdTcp};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnix;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use tokio::io::{AsyncReadExt, BufReader, BufWriter};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};
use zc_tokio::{AsyncSink, AsyncSource, AsyncStream, Opaque, Rewind};

use super::scenario::{AHEAD, BEHIND, EndKind, SinkKind, SourceKind};

/// Room for all bytes, where a sink is not to become full.
const ROOM: usize = 1 << 18;

/// A duplicate of the copy's descriptor of one end, and the peer's descriptor.
pub(super) struct Pair {
    /// The number of the copy's own descriptor.
    pub(super) number: RawFd,
    ours: OwnedFd,
    peer: Option<OwnedFd>,
    is_socket: bool,
    /// The size of the send buffer, as it was set.
    room: usize,
}

impl Pair {
    fn new(ours: &impl AsFd, peer: OwnedFd, is_socket: bool, room: usize) -> io::Result<Pair> {
        let (number, ours) = (ours.as_fd().as_raw_fd(), ours.as_fd().try_clone_to_owned()?);
        rustix::io::ioctl_fionbio(&ours, true)?;
        rustix::io::ioctl_fionbio(&peer, true)?;
        if is_socket {
            sockopt::set_socket_send_buffer_size(&ours, room)?;
            sockopt::set_socket_send_buffer_size(&peer, ROOM)?;
        }
        Ok(Pair { number, ours, peer: Some(peer), is_socket, room })
    }

    /// Has the kernel tell the reactor once more what this end is ready for.
    pub(super) fn tell_again(&self) -> io::Result<()> {
        if self.is_socket {
            // A call that sets it wakes tasks that wait for room, and an edge tells of all readiness there is.
            Ok(sockopt::set_socket_send_buffer_size(&self.ours, self.room)?)
        } else {
            rustix::pipe::fcntl_setpipe_size(&self.ours, self.room).map(drop)?;
            Ok(())
        }
    }

    fn waiting(&self) -> io::Result<usize> {
        Ok(usize::try_from(rustix::io::ioctl_fionread(&self.ours)?).expect("small queues"))
    }
}

fn unix(tight: bool) -> io::Result<(UnixStream, Pair)> {
    let (ours, peer) = StdUnix::pair()?;
    let pair = Pair::new(&ours, peer.into(), true, if tight { 1 } else { ROOM })?;
    Ok((UnixStream::from_std(ours)?, pair))
}

fn tcp() -> io::Result<(TcpStream, Pair)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let peer = StdTcp::connect(listener.local_addr()?)?;
    let (ours, _) = listener.accept()?;
    for end in [&ours, &peer] {
        end.set_nodelay(true)?;
    }
    // So the port can be had again at once.
    sockopt::set_socket_linger(&peer, Some(Duration::ZERO))?;
    let pair = Pair::new(&ours, peer.into(), true, ROOM)?;
    Ok((TcpStream::from_std(ours)?, pair))
}

/// An end of a relay. The first of `bytes`, which the end yields, may be in it already.
pub(super) fn end(
    kind: EndKind,
    tight: bool,
    bytes: &[u8],
) -> io::Result<(Box<dyn AsyncStream>, Pair)> {
    if kind == EndKind::Tcp {
        let (stream, pair) = tcp()?;
        return Ok((Box::new(stream), pair));
    }
    let (stream, pair) = unix(tight)?;
    let end: Box<dyn AsyncStream> = match kind {
        EndKind::Unix | EndKind::Tcp => Box::new(stream),
        EndKind::Buffered => Box::new(BufReader::new(BufWriter::new(stream))),
        EndKind::Rewound => Box::new(Rewind::new(&bytes[..AHEAD], stream)),
        EndKind::Opaque => Box::new(Opaque(stream)),
    };
    Ok((end, pair))
}

/// A source of `bytes`, its peer, which has to feed them, and how many are in it already.
pub(super) fn source(
    kind: SourceKind,
    bytes: &[u8],
) -> io::Result<(Box<dyn AsyncSource>, Pair, usize)> {
    if kind == SourceKind::Tcp {
        let (stream, pair) = tcp()?;
        return Ok((Box::new(stream), pair, 0));
    }
    if kind == SourceKind::Pipe {
        let (reader, writer) = io::pipe()?;
        let pair = Pair::new(&reader, writer.into(), false, ROOM)?;
        return Ok((Box::new(pipe::Receiver::from_owned_fd(reader.into())?), pair, 0));
    }
    let (stream, pair) = unix(false)?;
    let first = bytes[..AHEAD].to_vec();
    let (source, ahead): (Box<dyn AsyncSource>, _) = match kind {
        SourceKind::Unix | SourceKind::Tcp | SourceKind::Pipe => (Box::new(stream), 0),
        SourceKind::Half => (Box::new(stream.into_split().0), 0),
        SourceKind::Take => (Box::new(stream.take((bytes.len() - BEHIND) as u64)), 0),
        SourceKind::Buffered => (Box::new(BufReader::new(stream)), 0),
        SourceKind::Chain => (Box::new(AsyncReadExt::chain(Cursor::new(first), stream)), AHEAD),
        SourceKind::Rewound => (Box::new(Rewind::new(first, stream)), AHEAD),
        SourceKind::Opaque => (Box::new(Opaque(stream)), 0),
    };
    Ok((source, pair, ahead))
}

pub(super) fn sink(kind: SinkKind, tight: bool) -> io::Result<(Box<dyn AsyncSink>, Pair)> {
    if kind == SinkKind::Tcp {
        let (stream, pair) = tcp()?;
        return Ok((Box::new(stream), pair));
    }
    if kind == SinkKind::Pipe {
        let (reader, writer) = io::pipe()?;
        let room = if tight { 4096 } else { ROOM };
        let pair = Pair::new(&writer, reader.into(), false, room)?;
        pair.tell_again()?;
        return Ok((Box::new(pipe::Sender::from_owned_fd(writer.into())?), pair));
    }
    let (stream, pair) = unix(tight)?;
    let sink: Box<dyn AsyncSink> = match kind {
        SinkKind::Unix | SinkKind::Tcp | SinkKind::Pipe => Box::new(stream),
        SinkKind::Half => Box::new(stream.into_split().1),
        SinkKind::Buffered => Box::new(BufWriter::new(stream)),
        SinkKind::Opaque => Box::new(Opaque(stream)),
    };
    Ok((sink, pair))
}

/// One direction, as its two peers see it.
pub(super) struct Way<'a> {
    bytes: &'a [u8],
    /// How many of the bytes have been fed, or were in the source from the beginning.
    fed: usize,
    is_ended: bool,
    /// How many bytes are to arrive.
    pub(super) expected: usize,
    pub(super) arrived: Vec<u8>,
    /// Whether the peer of the sink has seen the end.
    saw_end: bool,
}

impl<'a> Way<'a> {
    pub(super) fn new(bytes: &'a [u8], ahead: usize, expected: usize) -> Self {
        let arrived = Vec::new();
        Way { bytes, fed: ahead, is_ended: false, expected, arrived, saw_end: false }
    }

    /// Feeds `source` with the bytes up to `to`.
    pub(super) fn feed(&mut self, source: &mut Pair, to: usize) -> io::Result<()> {
        let to = to.max(self.fed);
        let Some(peer) = &source.peer else { return Ok(()) };
        let there = source.waiting()? + to - self.fed;
        while self.fed < to {
            self.fed += rustix::io::write(peer, &self.bytes[self.fed..to])?;
        }
        // All bytes have to be there before the next call is made, or runs differ.
        let deadline = Instant::now() + Duration::from_secs(10);
        while source.waiting()? < there && Instant::now() < deadline {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Ends `source` once every wanted byte has arrived, and no sooner: a source that has seen its end stays ready,
    /// and no edge can be lost.
    pub(super) fn end(&mut self, source: &mut Pair) -> io::Result<()> {
        if self.arrived.len() < self.expected || self.is_ended {
            return Ok(());
        }
        self.is_ended = true;
        match &source.peer {
            Some(peer) if source.is_socket => rustix::net::shutdown(peer, Shutdown::Write)?,
            _ => source.peer = None,
        }
        Ok(())
    }

    pub(super) fn feed_rest(&mut self, source: &mut Pair) -> io::Result<()> {
        self.feed(source, self.bytes.len())
    }

    /// How many bytes have left the source.
    pub(super) fn taken(&self, source: &Pair) -> io::Result<usize> {
        Ok(self.fed - source.waiting()?)
    }

    /// Reads what has arrived, which makes room.
    pub(super) fn receive(&mut self, sink: &Pair) -> Result<(), String> {
        let Some(peer) = &sink.peer else { return Ok(()) };
        let mut buffer = [0; 16384];
        loop {
            match rustix::io::read(peer, &mut buffer) {
                Ok(0) => {
                    if sink.is_socket && self.arrived.len() < self.expected {
                        return Err(format!("an end after {} bytes", self.arrived.len()));
                    }
                    self.saw_end = true;
                    return Ok(());
                }
                Ok(n) => {
                    self.arrived.extend_from_slice(&buffer[..n]);
                    let len = self.arrived.len();
                    if len > self.expected || self.arrived[len - n..] != self.bytes[len - n..len] {
                        return Err("other bytes have arrived than were sent".to_owned());
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(format!("the sink's peer: {errno}")),
            }
        }
    }

    /// Receives until `wanted` bytes are there, and the end if `end` asks for it.
    pub(super) fn receive_all(
        &mut self,
        sink: &Pair,
        wanted: usize,
        and_end: bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.receive(sink)?;
            if self.arrived.len() >= wanted && (self.saw_end || !and_end) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (len, end) = (self.arrived.len(), self.saw_end);
                return Err(format!("{wanted} bytes delivered, {len} arrived, end seen: {end}"));
            }
            std::thread::yield_now();
        }
    }
}
