//! The real ends of a copy: how they are made, and what they know of the bytes that passed.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use zc_std::Fd;

use crate::raw;

use super::company::{Books, Company, without_marks};
use super::layers::{BoxSink, BoxSource, Memory, Slice};
use super::scenario::{MESSAGE, Scenario, SinkKind, SourceKind};

/// Room for every payload, in pipes and sockets that are not read until the copy is over.
const ROOM: usize = 1 << 20;

/// A file of procfs that does not change while the tests run.
const PROC: &str = "/proc/filesystems";

/// What is made once for a scenario and used again in each of its runs: a new file or TCP connection each time would
/// take longer than the copy.
pub(crate) struct Workshop {
    pub(crate) payload: Vec<u8>,
    source: Option<File>,
    sink: Option<File>,
    listener: Option<TcpListener>,
    /// The sending end of a TCP sink, and the receiving one.
    tcp: Option<(TcpStream, TcpStream)>,
    /// Room for the longest message.
    buffer: RefCell<Vec<u8>>,
}

impl Workshop {
    pub(crate) fn new(scenario: &Scenario) -> io::Result<Workshop> {
        let payload = match scenario.source {
            SourceKind::Proc => std::fs::read(PROC)?,
            _ => payload(scenario.payload),
        };
        let mut payload = payload;
        if scenario.shared {
            without_marks(&mut payload);
        }
        let mut workshop = Workshop {
            payload,
            source: None,
            sink: None,
            listener: None,
            tcp: None,
            buffer: RefCell::new(vec![0; 256 * 1024]),
        };
        match scenario.source {
            SourceKind::File => workshop.source = Some(file_of(&workshop.payload)?),
            SourceKind::Proc => workshop.source = Some(File::open(PROC)?),
            SourceKind::MemoryThenFile => {
                workshop.source = Some(file_of(&workshop.payload[workshop.middle()..])?);
            }
            SourceKind::Tcp => workshop.listener = Some(TcpListener::bind("127.0.0.1:0")?),
            _ => {}
        }
        workshop.sink = match scenario.sink {
            SinkKind::File => Some(file_of(b"")?),
            SinkKind::Append => {
                let file = file_of(b"")?;
                rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)?;
                Some(file)
            }
            SinkKind::SameFile => workshop.source.as_ref().map(reopen).transpose()?,
            SinkKind::Null => Some(File::options().write(true).open("/dev/null")?),
            _ => None,
        };
        if scenario.sink == SinkKind::Tcp {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let (out, arrived) = connect(&listener)?;
            out.set_nonblocking(scenario.waiting.sink())?;
            workshop.tcp = Some((out, arrived));
        }
        Ok(workshop)
    }

    /// Where the first of two sources ends and the second begins.
    fn middle(&self) -> usize {
        self.payload.len() / 3
    }

    /// A source with the payload in it, and its end after that.
    pub(crate) fn source(
        &self,
        scenario: &Scenario,
        books: &Rc<Books>,
    ) -> io::Result<SourceEnd<'_>> {
        let payload = &self.payload[..];
        let now = if scenario.waiting.source() { payload.len() / 2 } else { payload.len() };
        let (first, second) = payload.split_at(self.middle());
        let file = || {
            let mut file = self.source.as_ref().expect("made with the workshop");
            file.seek(SeekFrom::Start(0))?;
            Ok::<_, io::Error>(file)
        };
        let (from, feeder) = match scenario.source {
            SourceKind::File | SourceKind::Proc => (From::File(file()?), Feeder::None),
            SourceKind::Tcp => {
                let (tx, rx) = connect(self.listener.as_ref().expect("made with the workshop"))?;
                rx.set_nonblocking(scenario.waiting.source())?;
                // So the port can be had again at once.
                rustix::net::sockopt::set_socket_linger(&tx, Some(Duration::ZERO))?;
                (From::Tcp(rx), Feeder::Tcp(tx))
            }
            SourceKind::Unix => {
                let (tx, rx) = UnixStream::pair()?;
                rx.set_nonblocking(scenario.waiting.source())?;
                (From::Unix(rx), Feeder::Unix(tx))
            }
            SourceKind::Pipe => {
                let (rx, tx) = io::pipe()?;
                rustix::pipe::fcntl_setpipe_size(&tx, ROOM)?;
                rustix::io::ioctl_fionbio(&rx, scenario.waiting.source())?;
                (From::Pipe(rx), Feeder::Pipe(tx))
            }
            SourceKind::SeqPacket => {
                let (tx, rx) = seqpacket()?;
                for message in payload.chunks(MESSAGE) {
                    rustix::io::write(&tx, message)?;
                }
                (From::SeqPacket(rx), Feeder::None)
            }
            SourceKind::Memory => (From::Memory(payload, Cell::new(payload.len())), Feeder::None),
            SourceKind::Chain => {
                let (mut a, one) = UnixStream::pair()?;
                let (mut b, two) = UnixStream::pair()?;
                a.write_all(first)?;
                b.write_all(second)?;
                (From::Chain(one, two), Feeder::None)
            }
            SourceKind::MemoryThenFile => {
                (From::MemoryThenFile(first, Cell::new(first.len()), file()?), Feeder::None)
            }
        };
        let (feeder, fed, books) = (RefCell::new(feeder), Rc::default(), Rc::clone(books));
        let end = SourceEnd { from, feeder, payload, fed, books };
        end.feed(now)?;
        Ok(end)
    }

    /// A sink with nothing in it.
    pub(crate) fn sink(&self, scenario: &Scenario, books: &Rc<Books>) -> io::Result<SinkEnd<'_>> {
        let waits = scenario.waiting.sink();
        let to = match scenario.sink {
            SinkKind::File | SinkKind::Append | SinkKind::SameFile => {
                let mut file = self.sink.as_ref().expect("made with the workshop");
                let start =
                    if scenario.sink == SinkKind::SameFile { self.payload.len() } else { 0 };
                file.set_len(start as u64)?;
                file.seek(SeekFrom::Start(start as u64))?;
                To::File(file, start as u64)
            }
            SinkKind::Tcp => {
                let (out, arrived) = self.tcp.as_ref().expect("made with the workshop");
                // What an earlier run that failed has left.
                while rustix::net::recv(arrived, &mut [0; 65536][..], RecvFlags::DONTWAIT).is_ok() {
                }
                To::Tcp(out, arrived)
            }
            SinkKind::Unix => {
                let (out, arrived) = UnixStream::pair()?;
                if waits {
                    out.set_nonblocking(true)?;
                    rustix::net::sockopt::set_socket_send_buffer_size(&out, 4096)?;
                }
                To::Unix(out, arrived)
            }
            SinkKind::Pipe => {
                let (arrived, out) = io::pipe()?;
                rustix::pipe::fcntl_setpipe_size(&out, if waits { 4096 } else { ROOM })?;
                rustix::io::ioctl_fionbio(&arrived, true)?;
                rustix::io::ioctl_fionbio(&out, waits)?;
                To::Pipe(out, arrived)
            }
            SinkKind::SeqPacket => {
                let (out, arrived) = seqpacket()?;
                rustix::io::ioctl_fionbio(&arrived, true)?;
                To::SeqPacket(out, Rc::new(arrived))
            }
            SinkKind::Memory => To::Memory(RefCell::default()),
            SinkKind::Null => To::Null(self.sink.as_ref().expect("made with the workshop")),
            SinkKind::Nowhere => To::Nowhere,
        };
        let (arrived, books) = (Rc::default(), Rc::clone(books));
        let is_shared = scenario.shared;
        Ok(SinkEnd { to, arrived, buffer: &self.buffer, books, is_shared })
    }
}

/// No two windows of these bytes are alike, so that every mistake in their order shows.
fn payload(len: usize) -> Vec<u8> {
    let mut rng = super::rng::Rng::new(0x7a63);
    std::iter::repeat_with(|| rng.number().to_le_bytes()).flatten().take(len).collect()
}

/// In memory if there is such a file system: the engine is explored, not a disk.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile())?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Another open file description of the same file, with an offset of its own.
fn reopen(file: &File) -> io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn connect(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    // The accepted socket inherits this.
    rustix::net::sockopt::set_socket_recv_buffer_size(listener, ROOM)?;
    let tx = TcpStream::connect(listener.local_addr()?)?;
    let (rx, _) = listener.accept()?;
    rustix::net::sockopt::set_socket_send_buffer_size(&tx, ROOM)?;
    // The explorer's bytes do not wait for an acknowledgement (Nagle).
    tx.set_nodelay(true)?;
    rx.set_nodelay(true)?;
    Ok((tx, rx))
}

fn seqpacket() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Where the bytes come from.
pub(crate) struct SourceEnd<'a> {
    from: From<'a>,
    feeder: RefCell<Feeder>,
    payload: &'a [u8],
    fed: Rc<Cell<usize>>,
    books: Rc<Books>,
}

enum From<'a> {
    File(&'a File),
    Tcp(TcpStream),
    Unix(UnixStream),
    Pipe(PipeReader),
    SeqPacket(OwnedFd),
    Memory(&'a [u8], Cell<usize>),
    Chain(UnixStream, UnixStream),
    MemoryThenFile(&'a [u8], Cell<usize>, &'a File),
}

enum Feeder {
    None,
    Tcp(TcpStream),
    Unix(UnixStream),
    Pipe(PipeWriter),
}

impl SourceEnd<'_> {
    /// Feeds the source with the payload up to `to`, and ends it if that is all.
    fn feed(&self, to: usize) -> io::Result<()> {
        let bytes = &self.payload[self.fed.replace(to)..to];
        let mut feeder = self.feeder.borrow_mut();
        match &mut *feeder {
            Feeder::None => {}
            Feeder::Tcp(tx) => tx.write_all(bytes)?,
            Feeder::Unix(tx) => tx.write_all(bytes)?,
            Feeder::Pipe(tx) => tx.write_all(bytes)?,
        }
        if to == self.payload.len() {
            match &*feeder {
                Feeder::Tcp(tx) => tx.shutdown(std::net::Shutdown::Write)?,
                Feeder::Unix(tx) => tx.shutdown(std::net::Shutdown::Write)?,
                Feeder::Pipe(_) => *feeder = Feeder::None,
                Feeder::None => {}
            }
        }
        if let From::Tcp(rx) = &self.from {
            // All bytes have to be there before the first call is made, or runs differ.
            let deadline = Instant::now() + Duration::from_secs(10);
            while waiting(rx.as_fd())? < bytes.len() && Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Feeds the rest of the payload, if that is still to come.
    pub(crate) fn feed_rest(&self) -> io::Result<()> {
        if self.fed.get() == self.payload.len() { Ok(()) } else { self.feed(self.payload.len()) }
    }

    /// The payload, less what the other user has read.
    pub(crate) fn stream(&self) -> Cow<'_, [u8]> {
        match self.books.read() {
            0 => self.payload.into(),
            _ => self.books.own(self.payload).into(),
        }
    }

    /// How many bytes have been taken out, by the copy alone.
    pub(crate) fn taken(&self) -> io::Result<usize> {
        let all = self.taken_by_anybody()?;
        all.checked_sub(self.books.read()).ok_or_else(|| io::Error::other("others took more"))
    }

    fn taken_by_anybody(&self) -> io::Result<usize> {
        let position = |mut file: &File| {
            Ok::<_, io::Error>(usize::try_from(file.stream_position()?).expect("small files"))
        };
        let first = |slice: &[u8], left: &Cell<usize>| slice.len() - left.get();
        Ok(match &self.from {
            From::File(file) => position(file)?,
            From::Tcp(rx) => self.fed.get() - waiting(rx.as_fd())?,
            From::Unix(rx) => self.fed.get() - waiting(rx.as_fd())?,
            From::Pipe(rx) => self.fed.get() - waiting(rx.as_fd())?,
            From::SeqPacket(rx) => self.fed.get() - waiting(rx.as_fd())?,
            From::Memory(slice, left) => first(slice, left),
            From::Chain(one, two) => self.fed.get() - waiting(one.as_fd())? - waiting(two.as_fd())?,
            From::MemoryThenFile(slice, left, file) => first(slice, left) + position(file)?,
        })
    }

    /// Another user of this source and of `sink`.
    pub(crate) fn company(&self, sink: &SinkEnd<'_>) -> io::Result<Company> {
        let source = match &self.from {
            From::Memory(..) | From::Chain(..) | From::MemoryThenFile(..) => None,
            _ => self.fd(),
        };
        let again = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        Ok(Company {
            payload: self.payload.to_vec(),
            source: source.map(again).transpose()?,
            sink: sink.as_fd().map(again).transpose()?,
            fed: (!matches!(self.from, From::File(_))).then(|| Rc::clone(&self.fed)),
            books: Rc::clone(&self.books),
        })
    }

    /// The source's descriptor, if it has exactly one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(match &self.from {
            From::File(file) => file.as_fd(),
            From::Tcp(rx) => rx.as_fd(),
            From::Unix(rx) => rx.as_fd(),
            From::Pipe(rx) => rx.as_fd(),
            From::SeqPacket(rx) => rx.as_fd(),
            From::Memory(..) | From::Chain(..) | From::MemoryThenFile(..) => return None,
        })
    }

    /// A TCP socket's SO_RCVLOWAT; 1 for others.
    pub(crate) fn low_water(&self) -> io::Result<i32> {
        if let From::Tcp(rx) = &self.from { raw::low_water(rx) } else { Ok(1) }
    }

    /// The innermost source.
    pub(crate) fn leaf(&self, by_table: bool) -> io::Result<BoxSource<'_>> {
        Ok(match &self.from {
            From::File(file) if by_table => Box::new(Fd::new(*file)?),
            From::Tcp(rx) if by_table => Box::new(Fd::new(rx)?),
            From::Unix(rx) if by_table => Box::new(Fd::new(rx)?),
            From::Pipe(rx) if by_table => Box::new(Fd::new(rx)?),
            From::File(file) => Box::new(*file),
            From::Tcp(rx) => Box::new(rx),
            From::Unix(rx) => Box::new(rx),
            From::Pipe(rx) => Box::new(rx),
            From::SeqPacket(rx) => Box::new(Fd::new(rx)?),
            From::Memory(slice, left) => Box::new(Slice::new(slice, left)),
            From::Chain(one, two) => Box::new(one.chain(two)),
            From::MemoryThenFile(slice, left, file) => {
                Box::new(Slice::new(slice, left).chain(*file))
            }
        })
    }

    /// The source's descriptors, if they are sockets.
    pub(crate) fn sockets(&self) -> Vec<RawFd> {
        match &self.from {
            From::Tcp(_) | From::Unix(_) | From::SeqPacket(_) | From::Chain(..) => self.fds(),
            _ => Vec::new(),
        }
    }

    /// The source's descriptors.
    pub(crate) fn fds(&self) -> Vec<RawFd> {
        match &self.from {
            From::File(file) | From::MemoryThenFile(_, _, file) => vec![file.as_raw_fd()],
            From::Tcp(rx) => vec![rx.as_raw_fd()],
            From::Unix(rx) => vec![rx.as_raw_fd()],
            From::Pipe(rx) => vec![rx.as_raw_fd()],
            From::SeqPacket(rx) => vec![rx.as_raw_fd()],
            From::Memory(..) => vec![],
            From::Chain(one, two) => vec![one.as_raw_fd(), two.as_raw_fd()],
        }
    }
}

/// How many bytes can be read now.
fn waiting(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::try_from(rustix::io::ioctl_fionread(fd)?).expect("small queues"))
}

/// The sink's end.
pub(crate) struct SinkEnd<'a> {
    to: To<'a>,
    /// What has come out at the other end.
    arrived: Rc<RefCell<Vec<u8>>>,
    buffer: &'a RefCell<Vec<u8>>,
    books: Rc<Books>,
    is_shared: bool,
}

enum To<'a> {
    /// A file, and the offset at which the copy began.
    File(&'a File, u64),
    Tcp(&'a TcpStream, &'a TcpStream),
    Unix(UnixStream, UnixStream),
    Pipe(PipeWriter, PipeReader),
    SeqPacket(OwnedFd, Rc<OwnedFd>),
    Memory(RefCell<Vec<u8>>),
    Null(&'a File),
    Nowhere,
}

impl SinkEnd<'_> {
    /// The sink's descriptor, if that is a socket.
    pub(crate) fn sockets(&self) -> Vec<RawFd> {
        match &self.to {
            To::Tcp(..) | To::Unix(..) | To::SeqPacket(..) => self.fd().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The innermost sink.
    pub(crate) fn leaf(&self, by_table: bool) -> io::Result<BoxSink<'_>> {
        Ok(match &self.to {
            To::File(file, _) if by_table => Box::new(Fd::new(*file)?),
            To::Tcp(out, _) if by_table => Box::new(Fd::new(*out)?),
            To::Unix(out, _) if by_table => Box::new(Fd::new(out)?),
            To::File(file, _) => Box::new(*file),
            To::Tcp(out, _) => Box::new(*out),
            To::Unix(out, _) => Box::new(out),
            To::Pipe(out, _) => Box::new(Fd::new(out)?),
            To::SeqPacket(out, _) => Box::new(Fd::new(out)?),
            To::Memory(vec) => Box::new(Memory(vec)),
            To::Null(file) if by_table => Box::new(Fd::new(*file)?),
            To::Null(file) => Box::new(*file),
            To::Nowhere => Box::new(io::sink()),
        })
    }

    /// The sink's descriptor.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.as_fd().map(|fd| fd.as_raw_fd())
    }

    /// The same, borrowed.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(match &self.to {
            To::File(file, _) => file.as_fd(),
            To::Tcp(out, _) => out.as_fd(),
            To::Unix(out, _) => out.as_fd(),
            To::Pipe(out, _) => out.as_fd(),
            To::SeqPacket(out, _) => out.as_fd(),
            To::Null(file) => file.as_fd(),
            To::Memory(_) | To::Nowhere => return None,
        })
    }

    /// Whether the bytes that it took can be seen.
    pub(crate) fn keeps(&self) -> bool {
        !matches!(self.to, To::Null(_) | To::Nowhere)
    }

    /// Whether it says that it is full, and still takes a byte.
    pub(crate) fn has_room(&self) -> bool {
        let flags = rustix::net::SendFlags::DONTWAIT;
        matches!(&self.to, To::Unix(out, _) if rustix::net::send(out, b"!", flags).is_ok())
    }

    /// Reads what has arrived, which makes room.
    pub(crate) fn receive(&self) -> io::Result<()> {
        let mut arrived = self.arrived.borrow_mut();
        let mut buffer = self.buffer.borrow_mut();
        loop {
            let n = match &self.to {
                To::File(..) | To::Memory(_) | To::Null(_) | To::Nowhere => return Ok(()),
                To::Tcp(_, peer) => rustix::net::recv(peer, &mut buffer[..], RecvFlags::DONTWAIT),
                To::Unix(_, peer) => rustix::net::recv(peer, &mut buffer[..], RecvFlags::DONTWAIT),
                To::Pipe(_, peer) => rustix::io::read(peer, &mut buffer[..]).map(|n| (n, n)),
                To::SeqPacket(_, peer) => rustix::io::read(peer, &mut buffer[..]).map(|n| (n, n)),
            };
            match n {
                Ok((0, _)) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Ok((n, _)) => arrived.extend_from_slice(&buffer[..n]),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads what has arrived during a copy: sockets that keep messages hold only ten of them.
    pub(crate) fn reader(&self) -> Option<impl FnMut() + use<>> {
        let To::SeqPacket(_, peer) = &self.to else { return None };
        let (peer, arrived) = (Rc::clone(peer), Rc::clone(&self.arrived));
        let mut buffer = vec![0; 256 * 1024];
        Some(move || {
            while let Ok(n @ 1..) = rustix::io::read(&peer, &mut buffer) {
                arrived.borrow_mut().extend_from_slice(&buffer[..n]);
            }
        })
    }

    /// All that the copy has delivered, without other users' bytes; `expected` bytes of it are waited for.
    pub(crate) fn content(&self, expected: usize) -> io::Result<Vec<u8>> {
        let content = self.content_of_anybody(expected + self.books.written())?;
        if !self.is_shared {
            return Ok(content);
        }
        self.books.strip(content).map_err(io::Error::other)
    }

    fn content_of_anybody(&self, expected: usize) -> io::Result<Vec<u8>> {
        match &self.to {
            To::Memory(vec) => return Ok(vec.borrow().clone()),
            To::File(file, start) => {
                let len = usize::try_from(file.metadata()?.len() - start).expect("small files");
                let mut content = vec![0; len];
                file.read_exact_at(&mut content, *start)?;
                return Ok(content);
            }
            To::Tcp(..) => {
                // Loopback may need time.
                let deadline = Instant::now() + Duration::from_secs(10);
                while self.arrived.borrow().len() < expected && Instant::now() < deadline {
                    self.receive()?;
                    std::thread::yield_now();
                }
            }
            To::Unix(..) | To::Pipe(..) | To::SeqPacket(..) | To::Null(_) | To::Nowhere => {}
        }
        self.receive()?;
        Ok(self.arrived.borrow().clone())
    }

    /// Where a file's offset should be when it has `len` bytes; `None` if it is there.
    pub(crate) fn misplaced(&self, len: usize) -> io::Result<Option<u64>> {
        let To::File(mut file, start) = self.to else { return Ok(None) };
        let position = file.stream_position()?;
        let len = len + self.books.written() + self.books.gap();
        Ok((position != start + len as u64).then_some(position))
    }
}
