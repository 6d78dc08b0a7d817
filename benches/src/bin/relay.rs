//! The relays of the benches that are written with tokio: `zc-bench-relay KIND LISTEN TARGET THREADS [--probe]`.
//!
//! With `--probe`, each line on standard input is answered with the longest time, in nanoseconds, that one poll of a
//! relay has kept its thread's processor since the last line.

use std::future::Future;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::{TcpSocket, TcpStream};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

#[derive(Clone, Copy)]
enum Kind {
    /// The plain call.
    Zc,
    /// With a timeout, as a relay in use has one.
    ZcTimed,
    ZcCoalesce,
    /// `copy_bidirectional` with buffers of this many bytes.
    Tokio(usize),
    Splice2,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other("usage: zc-bench-relay KIND LISTEN TARGET THREADS [--probe]");
    let [kind, listen, target, threads, rest @ ..] = &args[..] else { return Err(usage()) };
    let kind = match &kind[..] {
        "zc" => Kind::Zc,
        "zc-timed" => Kind::ZcTimed,
        "zc-coalesce" => Kind::ZcCoalesce,
        "tokio-8K" => Kind::Tokio(8 << 10),
        "tokio-64K" => Kind::Tokio(64 << 10),
        "splice2" => Kind::Splice2,
        _ => return Err(usage()),
    };
    let (listen, target) = (parse(listen)?, parse(target)?);
    let probe = rest.iter().any(|arg| arg == "--probe");
    if probe {
        std::thread::spawn(answer);
    }
    let runtime = match parse::<usize>(threads)? {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    let served = Served { listen, target, probe };
    runtime.block_on(async move {
        // Each kind is spawned by itself: a task has the size of the largest future that it might hold.
        match kind {
            Kind::Zc => served.serve(zc).await,
            Kind::ZcTimed => served.serve(|a, b| zc_with(a, b, None)).await,
            Kind::ZcCoalesce => {
                served.serve(|a, b| zc_with(a, b, Some(Duration::from_millis(1)))).await
            }
            Kind::Tokio(size) => served.serve(move |a, b| tokio_with(a, b, size)).await,
            Kind::Splice2 => served.serve(splice2).await,
        }
    })
}

fn parse<T: std::str::FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    word: &str,
) -> io::Result<T> {
    word.parse().map_err(io::Error::other)
}

/// The address for connections, and the target's.
#[derive(Clone, Copy)]
struct Served {
    listen: SocketAddr,
    target: SocketAddr,
    probe: bool,
}

impl Served {
    async fn serve<R, F>(self, relay: R) -> io::Result<()>
    where
        R: Fn(TcpStream, TcpStream) -> F + Copy + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let socket = TcpSocket::new_v4()?;
        socket.bind(self.listen)?;
        let listener = socket.listen(BACKLOG)?;
        loop {
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let relay = async move {
                // The load notices a connection that fails.
                if let Ok(server) = connect(&client, self.target).await {
                    let _ = relay(client, server).await;
                }
            };
            if self.probe {
                tokio::spawn(Timed(Box::pin(relay)));
            } else {
                tokio::spawn(relay);
            }
        }
    }
}

async fn connect(client: &TcpStream, target: SocketAddr) -> io::Result<TcpStream> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

async fn zc(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    zc_tokio::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn zc_with(
    mut client: TcpStream,
    mut server: TcpStream,
    coalesce: Option<Duration>,
) -> io::Result<()> {
    let mut options = zc_tokio::Options::default();
    options.idle_timeout = Some(Duration::from_secs(300));
    options.coalesce = coalesce;
    zc_tokio::Relay::with_options(options).run(&mut client, &mut server).await?;
    Ok(())
}

async fn tokio_with(mut client: TcpStream, mut server: TcpStream, size: usize) -> io::Result<()> {
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, size, size).await.map(drop)
}

async fn splice2(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    tokio_splice2::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

static LONGEST: AtomicU64 = AtomicU64::new(0);

fn answer() {
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            return;
        }
        println!("{}", LONGEST.swap(0, Ordering::Relaxed));
    }
}

/// A future whose polls are timed.
struct Timed<F>(Pin<Box<F>>);

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let start = thread_cpu();
        let polled = self.0.as_mut().poll(cx);
        LONGEST.fetch_max(thread_cpu() - start, Ordering::Relaxed);
        polled
    }
}

fn thread_cpu() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(Duration::try_from(now).unwrap_or_default().as_nanos()).unwrap_or(0)
}
