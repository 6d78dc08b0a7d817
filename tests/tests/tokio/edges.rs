//! Readiness is edge-triggered. An edge may come after a call has answered "not now" and before tokio hears of that.
//! The edge must not be cleared with it: no other one comes.
//!
//! Each test makes the edge come right behind such an answer, for every kind of descriptor and every call.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::PollFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use zc_linux::hook::{self, Record, Syscall};
use zc_testkit::data::{self, assert_same};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::sockets;
use zc_testkit::wait::is_ready;
use zc_tokio::{AsyncSink, AsyncSource, Copier, Fd, Opaque, Options, PageSharing, Side};

use crate::kit;

const EAGAIN: i32 = 11;

/// Runs a test with tokio's reactor on another thread, which sees an edge at once.
fn run(test: impl Future<Output = ()>) {
    let _leaks = fds::no_leaks_with_tokio();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        // A panic drops it, so that no peer's thread is waited for.
        let test = std::pin::pin!(test);
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("an edge was forgotten");
    });
}

/// Long enough for the reactor to have seen the last edge.
fn let_the_reactor_see() {
    std::thread::sleep(Duration::from_millis(30));
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Tcp,
    Unix,
    Pipe,
    /// A descriptor that tokio has no type for.
    Fd,
}

const ALL: [Of; 4] = [Of::Tcp, Of::Unix, Of::Pipe, Of::Fd];

/// One end of a copy, a duplicate of its descriptor, the descriptor's number, and the peer.
struct End<Ours: ?Sized, Peer: ?Sized> {
    ours: Box<Ours>,
    same: OwnedFd,
    number: RawFd,
    peer: Box<Peer>,
}

/// A duplicate of the descriptor, and its number.
fn known(fd: &impl AsFd) -> (OwnedFd, RawFd) {
    (fd.as_fd().try_clone_to_owned().unwrap(), fd.as_fd().as_raw_fd())
}

fn elsewhere() -> (std::os::unix::net::UnixStream, Fd<OwnedFd>) {
    let (peer, ours) = sockets::unix();
    ours.set_nonblocking(true).unwrap();
    // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
    (peer, Fd::new(unsafe { AsyncFd::register(ours.into()) }.unwrap()).unwrap())
}

fn source(of: Of) -> End<dyn AsyncSource, dyn Write> {
    fn end(
        (peer, ours): (impl Write + 'static, impl AsyncSource + AsFd + 'static),
    ) -> End<dyn AsyncSource, dyn Write> {
        let (same, number) = known(&ours);
        End { ours: Box::new(ours), same, number, peer: Box::new(peer) }
    }
    match of {
        Of::Tcp => end(kit::tcp()),
        Of::Unix => end(kit::unix()),
        Of::Pipe => {
            let (reader, writer) = std::io::pipe().unwrap();
            end((writer, pipe::Receiver::from_owned_fd(reader.into()).unwrap()))
        }
        Of::Fd => end(elsewhere()),
    }
}

trait Reader: Read + AsFd {}

impl<T: Read + AsFd> Reader for T {}

fn sink(of: Of) -> End<dyn AsyncSink, dyn Reader> {
    fn end(
        (peer, ours): (impl Reader + 'static, impl AsyncSink + AsFd + 'static),
    ) -> End<dyn AsyncSink, dyn Reader> {
        let (same, number) = known(&ours);
        End { ours: Box::new(ours), same, number, peer: Box::new(peer) }
    }
    match of {
        Of::Tcp => end(kit::tcp()),
        Of::Unix => end(kit::unix()),
        Of::Pipe => {
            let (reader, writer) = std::io::pipe().unwrap();
            end((reader, pipe::Sender::from_owned_fd(writer.into()).unwrap()))
        }
        Of::Fd => end(elsewhere()),
    }
}

/// A read or a splice has found no more bytes. More come before tokio hears of that.
#[test]
fn an_edge_of_a_source_is_kept() {
    const MESSAGES: usize = 3;
    const MORE: &[u8] = b"more, ";
    for (of, adaptive, is_timed) in ALL.into_iter().flat_map(|of| {
        [(true, false), (false, false), (true, true)].map(|(adaptive, timed)| (of, adaptive, timed))
    }) {
        run(async move {
            let End { mut ours, same, number, mut peer } = source(of);
            let (mut to_peer, mut to) = kit::tcp();
            let mut options = Options::default();
            options.adaptive = adaptive;
            // With a timeout, a short read is taken for the last one.
            options.idle_timeout = is_timed.then_some(Duration::from_secs(60));
            let mut copier = Copier::with_options(options);
            let len = 7 + MESSAGES * MORE.len();
            peer.write_all(b"first, ").unwrap();
            let mut injected = 0;
            let hook = hook::observe(move |record: &Record| {
                let asks = matches!(record.call.syscall, Syscall::Read | Syscall::Splice);
                let found_no_more = match record.result {
                    Ok(n) => record.call.syscall == Syscall::Read && 0 < n && n < record.call.len,
                    Err(errno) => errno == EAGAIN,
                };
                let is_empty = || !is_ready(&same, PollFlags::IN);
                let is_it = asks && record.call.from == Some(number) && found_no_more;
                if is_it && injected < MESSAGES && is_empty() {
                    injected += 1;
                    peer.write_all(MORE).unwrap();
                    let_the_reactor_see();
                }
            });
            let reading = tokio::task::spawn_blocking(move || {
                let mut got = vec![0; len];
                to_peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                to_peer.read_exact(&mut got).expect("an edge was forgotten");
                got
            });
            let got = tokio::select! {
                ended = copier.run(&mut *ours, &mut to) => panic!("{of:?}: {ended:?}"),
                got = reading => got.unwrap(),
            };
            drop(hook);
            assert_eq!(got, [b"first, ", &*MORE.repeat(MESSAGES)].concat(), "{of:?}");
        });
    }
}

/// What a peer has received.
type Got = Rc<RefCell<Vec<u8>>>;

/// Drains the peer whenever a call has found the sink full, before tokio hears of that, until there is room. No other
/// thread reads: if an edge is forgotten, the copy hangs.
fn drained(
    same: OwnedFd,
    number: RawFd,
    mut peer: Box<dyn Reader>,
) -> (hook::Guard, Got, Rc<Cell<usize>>) {
    let (got, times) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
    let (into, count) = (Rc::clone(&got), Rc::clone(&times));
    let hook = hook::observe(move |record: &Record| {
        let gives = matches!(record.call.syscall, Syscall::Write | Syscall::Splice);
        if !gives || record.call.to != Some(number) || record.result != Err(EAGAIN) {
            return;
        }
        count.set(count.get() + 1);
        let is_full = || !is_ready(&same, PollFlags::OUT);
        while is_ready(&*peer, PollFlags::IN) || is_full() {
            if !is_ready(&*peer, PollFlags::IN) {
                continue; // … until the kernel has seen that its bytes are read
            }
            let mut chunk = vec![0; 1 << 20];
            let n = peer.read(&mut chunk).unwrap();
            into.borrow_mut().extend_from_slice(&chunk[..n]);
        }
        if count.get() < 5 {
            let_the_reactor_see();
        }
    });
    (hook, got, times)
}

/// More bytes than two ends of this kind hold.
fn more_than_fits(of: Of) -> usize {
    if matches!(of, Of::Tcp) { 20_000_000 } else { 1_000_000 }
}

/// The peer's bytes are in order. The rest is in the buffers of a sink that is still open.
fn rest_of(got: &Got, data: &[u8]) {
    let got = got.borrow();
    assert_same(&got, &data[..got.len()]);
}

/// A write or a splice has found the sink full. The peer drains it before tokio hears of that.
#[test]
fn an_edge_of_a_sink_is_kept() {
    for (of, adaptive) in ALL.into_iter().flat_map(|of| [(of, true), (of, false)]) {
        run(async move {
            let data = data::bytes(1, more_than_fits(of));
            let (client, mut from) = kit::tcp();
            let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
            let mut options = Options::default();
            options.adaptive = adaptive;
            let mut copier = Copier::with_options(options);
            let End { mut ours, same, number, peer } = sink(of);
            let (hook, got, times) = drained(same, number, peer);
            assert_eq!(copier.run(&mut from, &mut *ours).await.unwrap(), data.len() as u64);
            drop((hook, feeder));
            assert!(times.get() > 0, "{of:?}: the sink was never full");
            rest_of(&got, &data);
        });
    }
}

/// The same for bytes of a file, which the worker splices or writes.
#[test]
fn an_edge_of_the_sink_of_a_download_is_kept() {
    let sharings = [PageSharing::default(), PageSharing::Never];
    for (of, sharing) in ALL.into_iter().flat_map(|of| sharings.map(|sharing| (of, sharing))) {
        run(async move {
            let data = data::bytes(1, more_than_fits(of));
            let mut named = tempfile::NamedTempFile::new().unwrap();
            named.write_all(&data).unwrap();
            let mut from = tokio::fs::File::open(named.path()).await.unwrap();
            let mut options = Options::default();
            options.page_sharing = sharing;
            let mut copier = Copier::with_options(options);
            let End { mut ours, same, number, peer } = sink(of);
            let (hook, got, times) = drained(same, number, peer);
            assert_eq!(copier.run(&mut from, &mut *ours).await.unwrap(), data.len() as u64);
            drop(hook);
            assert!(times.get() > 0, "{of:?}: the sink was never full");
            rest_of(&got, &data);
        });
    }
}

/// An end whose every method says "not now" once, and whose readiness comes before that answer.
struct Hasty {
    bytes: Vec<u8>,
    is_to_wait: bool,
    is_flushed: bool,
    is_shut_down: bool,
}

impl Hasty {
    fn new(bytes: &[u8]) -> Opaque<Hasty> {
        let bytes = bytes.to_vec();
        Opaque(Hasty { bytes, is_to_wait: false, is_flushed: false, is_shut_down: false })
    }

    fn waits(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_to_wait = !self.is_to_wait;
        if self.is_to_wait {
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake()).join().unwrap();
            let_the_reactor_see();
        }
        self.is_to_wait
    }
}

impl AsyncRead for Hasty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        let n = self.bytes.len().min(2);
        buf.put_slice(&self.bytes.drain(..n).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Hasty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        assert!(!self.is_shut_down);
        self.is_flushed = false;
        self.bytes.extend_from_slice(&buf[..1]);
        Poll::Ready(Ok(1))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        self.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}

/// An end's own read, write, flush and shutdown.
#[test]
fn an_edge_of_an_end_s_own_methods_is_kept() {
    run(async {
        let mut source = Hasty::new(b"hello");
        let mut sink = Hasty::new(b"");
        assert_eq!(zc_tokio::copy(&mut source, &mut sink).await.unwrap(), 5);
        assert_eq!((sink.0.bytes.as_slice(), sink.0.is_flushed), (&b"hello"[..], true));

        // A relay also shuts the end down.
        let ((mut client, mut a), mut b) = (kit::tcp(), Hasty::new(b""));
        client.write_all(b"bye").unwrap();
        drop(client);
        assert_eq!(zc_tokio::copy_bidirectional(&mut a, &mut b).await.unwrap().0, 3);
        assert!(b.0.is_shut_down);
    });
}

/// A socket that has a message in its error queue, but no error. The copy asks it for an error, and the reset comes
/// right behind the answer.
#[test]
fn an_edge_of_a_socket_s_error_is_kept() {
    run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        // What is sent to the server also comes back as a message in the socket's error queue.
        let what: libc::c_int = 1 << 1 | 1 << 4 | 1 << 9;
        // SAFETY: the kernel reads one int.
        let set = unsafe {
            let value = (&raw const what).cast();
            libc::setsockopt(b.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, value, 4)
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        // A copy that waits for its source watches its sink.
        let mut copier = Copier::new();
        let (number, mut server, asked) = (b.as_raw_fd(), Some(server), Rc::new(Cell::new(0)));
        let count = Rc::clone(&asked);
        let hook = hook::observe(move |record: &Record| {
            let is_it = record.call.syscall == Syscall::GetSockOpt
                && record.call.from == Some(number)
                && has_message(number);
            if is_it && let Some(server) = server.take() {
                count.set(count.get() + 1);
                sockets::reset(server);
                let_the_reactor_see();
            }
        });
        client.write_all(b"question").unwrap();
        let error = copier.run(&mut a, &mut b).await.unwrap_err();
        drop(hook);
        assert_eq!((asked.get(), error.side()), (1, Some(Side::Sink)), "{error}");
        assert!(error.is_disconnect(), "{error}");
    });
}

fn has_message(fd: RawFd) -> bool {
    let mut polled = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: the kernel reads and writes one struct.
    let n = unsafe { libc::poll(&raw mut polled, 1, 0) };
    n == 1 && polled.revents & libc::POLLERR != 0
}
