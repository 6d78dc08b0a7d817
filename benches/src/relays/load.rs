//! The load on a relay, from both sides: clients on this thread, servers on another. Neither is counted.
//!
//! A round is measured from when every connection has been through the relay once until the last byte has arrived.
//! Churn is measured as a whole: it is about connecting and closing.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::process::Relay;
use crate::clock::Took;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// No round takes this long with any relay. One that does hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a bulk sender writes at a time.
const CHUNK: usize = 256 << 10;

/// The sizes of a question and its answer, for a client that asks again and again.
const QUESTION: usize = 1 << 10;
const ANSWER: usize = 16 << 10;

/// How many bytes one of many short connections carries.
const SHORT: usize = 16 << 10;

/// How many short connections there are at a time.
const SHORT_AT_A_TIME: usize = 16;

/// How many bytes a client reads of a stalled connection at a time, and how often.
const SIP: usize = 16 << 10;
const SIP_EVERY: Duration = Duration::from_millis(50);

/// After this many sips the clients have read what was in sockets when all stood still. Then the relay has to work
/// for each sip.
const FIRST_SIPS: usize = 20;

/// The buffers of a stalled connection's two ends.
const STALLED_RECEIVE: u32 = 32 << 10;
const STALLED_SEND: usize = 64 << 10;

/// What a client wants of the [stalling server](start_stalling).
const STALL: u8 = b's';
const DOWNLOAD: u8 = b'd';

/// A figure beside the times: its name and its value.
pub(super) type Figure = (&'static str, f64);

/// Servers on a thread of their own. They end when this is dropped.
pub(super) struct Servers {
    pub(super) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Servers {
    /// Serves each connection as `serve` says.
    fn start<F, S>(serve: F) -> io::Result<Servers>
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (tell, told) = mpsc::channel();
        let (end, mut ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(async {
                let socket = TcpSocket::new_v4()?;
                socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
                let listener = socket.listen(BACKLOG)?;
                let _ = tell.send(listener.local_addr()?);
                loop {
                    let stream = tokio::select! {
                        _ = &mut ended => return Ok(()),
                        accepted = listener.accept() => accepted?.0,
                    };
                    stream.set_nodelay(true)?;
                    let serving = serve(stream);
                    tokio::spawn(async move {
                        // The client sees what goes wrong here.
                        let _ = serving.await;
                    });
                }
            })
        });
        let address = told.recv().map_err(io::Error::other)?;
        Ok(Servers { address, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs the clients.
fn clients<T>(clients: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime()?.block_on(async { tokio::time::timeout(DEADLINE, clients).await? })
}

async fn connect(relay: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(relay).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Measures the relay's time, from now on.
struct Meter<'a> {
    relay: &'a Relay,
    cpu: Duration,
    start: Instant,
}

impl<'a> Meter<'a> {
    fn start(relay: &'a Relay) -> io::Result<Self> {
        Ok(Meter { relay, cpu: relay.cpu()?, start: Instant::now() })
    }

    fn stop(self) -> io::Result<Took> {
        let wall = self.start.elapsed();
        Ok(Took { wall, cpu: self.relay.cpu()?.saturating_sub(self.cpu) })
    }
}

/// Waits for all tasks, and fails as the first does.
async fn all<T: 'static>(mut tasks: JoinSet<io::Result<T>>) -> io::Result<Vec<T>> {
    let mut out = Vec::new();
    while let Some(done) = tasks.join_next().await {
        out.push(done.map_err(io::Error::other)??);
    }
    Ok(out)
}

/// Reads `bytes` bytes and drops them in the kernel, so that the reader never limits the relay.
async fn discard(stream: &TcpStream, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        stream.readable().await?;
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = stream.try_io(Interest::READABLE, || {
            Ok(rustix::net::recv(stream, &mut buffer[..want], RecvFlags::TRUNC)?.1)
        });
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => left -= n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serves [`bulk`]: says that it is ready, takes `each` bytes, and says that it has them.
pub(super) fn start_sinks(each: u64) -> io::Result<Servers> {
    Servers::start(move |mut stream| async move {
        stream.write_all(&[0]).await?;
        discard(&stream, each).await?;
        stream.write_all(&[1]).await?;
        stream.read(&mut [0]).await.map(drop)
    })
}

/// `connections` connections that carry `each` bytes up, at once.
pub(super) fn bulk(relay: &Relay, connections: usize, each: u64) -> io::Result<Took> {
    let address = relay.address;
    clients(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = connect(address).await?;
            stream.read_exact(&mut [0]).await?;
            streams.push(stream);
        }
        let chunk = Arc::new(vec![1; CHUNK]);
        let meter = Meter::start(relay)?;
        let mut tasks = JoinSet::new();
        for mut stream in streams {
            let chunk = Arc::clone(&chunk);
            tasks.spawn(async move {
                let mut left = each;
                while left > 0 {
                    let n = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    stream.write_all(&chunk[..n]).await?;
                    left -= n as u64;
                }
                stream.read_exact(&mut [0]).await?;
                Ok(stream)
            });
        }
        let streams = all(tasks).await?;
        let took = meter.stop();
        drop(streams);
        took
    })
}

/// Serves [`requests`].
pub(super) fn start_answering() -> io::Result<Servers> {
    Servers::start(|mut stream| async move {
        let (mut question, answer) = (vec![0; QUESTION], vec![2; ANSWER]);
        loop {
            stream.read_exact(&mut question).await?;
            stream.write_all(&answer).await?;
        }
    })
}

/// `connections` connections, with `times` questions on each, every one after the answer to the one before.
pub(super) fn requests(
    relay: &Relay,
    connections: usize,
    times: usize,
) -> io::Result<(Took, Vec<Figure>)> {
    async fn ask(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
        stream.write_all(&buffer[..QUESTION]).await?;
        stream.read_exact(buffer).await.map(drop)
    }
    let address = relay.address;
    clients(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let (mut stream, mut buffer) = (connect(address).await?, vec![1; ANSWER]);
            ask(&mut stream, &mut buffer).await?;
            streams.push((stream, buffer));
        }
        let meter = Meter::start(relay)?;
        let mut tasks = JoinSet::new();
        for (mut stream, mut buffer) in streams {
            tasks.spawn(async move {
                let mut took = Vec::with_capacity(times);
                for _ in 0..times {
                    let start = Instant::now();
                    ask(&mut stream, &mut buffer).await?;
                    took.push(start.elapsed());
                }
                Ok((took, stream))
            });
        }
        let done = all(tasks).await?;
        let took = meter.stop()?;
        let mut times: Vec<_> = done.into_iter().flat_map(|(took, _)| took).collect();
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100].as_nanos() as f64 / 1e3;
        Ok((took, vec![("p50 µs", at(50)), ("p99 µs", at(99))]))
    })
}

/// Serves [`churn`]: takes all that comes, and answers.
pub(super) fn start_taking() -> io::Result<Servers> {
    Servers::start(|mut stream| async move {
        discard(&stream, SHORT as u64).await?;
        match stream.read(&mut [0]).await? {
            0 => stream.write_all(b"k").await,
            _ => Err(io::Error::other("more than was sent")),
        }
    })
}

/// `connections` connections, a few at a time. Each carries little, half-closes, and is answered.
pub(super) fn churn(relay: &Relay, connections: usize) -> io::Result<Took> {
    let address = relay.address;
    let begun = Arc::new(AtomicU64::new(0));
    clients(async move {
        let meter = Meter::start(relay)?;
        let mut tasks = JoinSet::new();
        for _ in 0..SHORT_AT_A_TIME {
            let begun = Arc::clone(&begun);
            tasks.spawn(async move {
                let bytes = vec![1; SHORT];
                while begun.fetch_add(1, Relaxed) < connections as u64 {
                    let mut stream = connect(address).await?;
                    stream.write_all(&bytes).await?;
                    stream.shutdown().await?;
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).await?;
                    if answer != b"k" {
                        return Err(io::Error::other("the answer is lost"));
                    }
                }
                Ok(())
            });
        }
        all(tasks).await?;
        meter.stop()
    })
}

/// Serves [`idle`].
pub(super) fn start_echoing() -> io::Result<Servers> {
    Servers::start(|mut stream| async move {
        let mut buffer = vec![0; QUESTION];
        loop {
            stream.read_exact(&mut buffer).await?;
            stream.write_all(&buffer).await?;
        }
    })
}

/// What `connections` connections hold, each idle after a message there and back.
pub(super) fn idle(relay: &Relay, connections: usize) -> io::Result<Vec<Figure>> {
    let before = Holding::of(relay)?;
    clients(async move {
        let (mut streams, mut buffer) = (Vec::new(), vec![1; QUESTION]);
        for _ in 0..connections {
            let mut stream = connect(relay.address).await?;
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
            streams.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        before.grown_by(relay, connections)
    })
}

/// What a relay holds.
struct Holding {
    resident: u64,
    descriptors: usize,
}

impl Holding {
    fn of(relay: &Relay) -> io::Result<Self> {
        Ok(Holding { resident: relay.resident()?, descriptors: relay.descriptors()? })
    }

    /// How much more the relay holds now, for each of its connections.
    fn grown_by(&self, relay: &Relay, connections: usize) -> io::Result<Vec<Figure>> {
        let (now, each) = (Holding::of(relay)?, connections as f64);
        Ok(vec![
            (
                "resident KiB/connection",
                (now.resident as f64 - self.resident as f64) / 1024.0 / each,
            ),
            ("descriptors/connection", (now.descriptors as f64 - self.descriptors as f64) / each),
        ])
    }
}

/// The bytes of a stalled connection repeat with this period. It is no power of two, so lost or doubled bytes show.
const PERIOD: usize = 251;

/// Serves [`stalled`]: sends for ever, or `download` bytes.
pub(super) fn start_stalling(download: u64) -> io::Result<(Servers, Arc<AtomicU64>)> {
    let sent = Arc::new(AtomicU64::new(0));
    let pattern: Arc<Vec<u8>> =
        Arc::new((0..CHUNK + PERIOD).map(|at| (at % PERIOD) as u8).collect());
    let counts = Arc::clone(&sent);
    let servers = Servers::start(move |mut stream| {
        let (sent, pattern) = (Arc::clone(&counts), Arc::clone(&pattern));
        async move {
            let mut wanted = [0];
            stream.read_exact(&mut wanted).await?;
            let (mut at, mut left) = (0, u64::MAX);
            if wanted == [STALL] {
                rustix::net::sockopt::set_socket_send_buffer_size(&stream, STALLED_SEND)?;
            } else {
                left = download;
            }
            while left > 0 {
                let most = CHUNK.min(usize::try_from(left).unwrap_or(usize::MAX));
                let n = stream.write(&pattern[at..at + most]).await?;
                (at, left) = ((at + n) % PERIOD, left - n as u64);
                sent.fetch_add(n as u64, Relaxed);
            }
            Ok(())
        }
    })?;
    Ok((servers, sent))
}

/// The result of stalled connections.
pub(super) struct Stalled {
    /// What they hold.
    pub(super) holding: Vec<Figure>,
    /// A download beside them.
    pub(super) beside: Took,
    /// The cost of carrying them on, sip by sip.
    pub(super) drain: Took,
}

/// `connections` connections whose clients do not read, a download of `download` bytes beside them, and then `sips`
/// sips by all of those clients.
pub(super) fn stalled(
    relay: &Relay,
    sent: &AtomicU64,
    connections: usize,
    download: u64,
    sips: usize,
) -> io::Result<Stalled> {
    let before = Holding::of(relay)?;
    clients(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(STALLED_RECEIVE)?;
            let mut stream = socket.connect(relay.address).await?;
            stream.write_all(&[STALL]).await?;
            streams.push((stream, 0));
        }
        let mut so_far = u64::MAX;
        while so_far != sent.load(Relaxed) {
            so_far = sent.load(Relaxed);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let holding = before.grown_by(relay, connections)?;

        let mut stream = connect(relay.address).await?;
        let meter = Meter::start(relay)?;
        stream.write_all(&[DOWNLOAD]).await?;
        discard(&stream, download).await?;
        let beside = meter.stop()?;
        drop(stream);

        sip_all(&mut streams, FIRST_SIPS * SIP).await?;
        let meter = Meter::start(relay)?;
        sip_all(&mut streams, (FIRST_SIPS + sips) * SIP).await?;
        Ok(Stalled { holding, beside, drain: meter.stop()? })
    })
}

/// Reads a little from each stream, now and then, up to `quota` bytes from each.
async fn sip_all(streams: &mut [(TcpStream, usize)], quota: usize) -> io::Result<()> {
    let mut buffer = vec![0; SIP];
    while streams.iter().any(|(_, taken)| *taken < quota) {
        let turn = Instant::now();
        for (stream, taken) in &mut *streams {
            sip(stream, taken, quota, &mut buffer)?;
        }
        tokio::time::sleep(SIP_EVERY.saturating_sub(turn.elapsed())).await;
    }
    Ok(())
}

fn sip(stream: &TcpStream, taken: &mut usize, quota: usize, buffer: &mut [u8]) -> io::Result<()> {
    let want = buffer.len().min(quota - *taken);
    if want == 0 {
        return Ok(());
    }
    match stream.try_read(&mut buffer[..want]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(n) => {
            if (0..n).any(|at| usize::from(buffer[at]) != (*taken + at) % PERIOD) {
                return Err(io::Error::other("bytes lost, doubled or out of order"));
            }
            *taken += n;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
