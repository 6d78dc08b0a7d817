//! What a relay holds once a peer takes nothing: memory, pipes and what is in them. And what a thousand such relays
//! leave to a healthy one.

use std::future::Future;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::Resource;
use tokio::net::{TcpStream, UnixStream};
use zc_linux::hook::{self, Syscall};
use zc_testkit::apart::apart;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, heap, limits, skip, sockets};
use zc_tokio::{AsyncSink, AsyncSource, Copier, Mechanism, Opaque, Options, Relay, pool};

#[global_allocator]
static HEAP: heap::Counted = heap::Counted;

/// The most that a stalled connection may hold, in bytes, its pipes included.
const HELD: usize = 64 * 1024;

/// What an idle connection may hold on top.
const IDLE: usize = 4 * 1024;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = std::pin::pin!(test);
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs")
    })
}

fn tcp(stream: std::net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

fn unix(stream: std::os::unix::net::UnixStream) -> UnixStream {
    stream.set_nonblocking(true).unwrap();
    UnixStream::from_std(stream).unwrap()
}

/// Polls `future` once, and drops it.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// The open pipes: the size of each, and how many bytes are in it.
fn pipes() -> Vec<(RawFd, usize, u64)> {
    let is_pipe = |(_, target): &(RawFd, String)| target.starts_with("pipe:");
    let pipes = fds::census().into_iter().filter(is_pipe);
    pipes
        .map(|(fd, _)| {
            // A duplicate: a bare number is no descriptor to ask.
            let file = OwnedFd::from(std::fs::File::open(format!("/proc/self/fd/{fd}")).unwrap());
            let size = rustix::pipe::fcntl_getpipe_size(&file).unwrap();
            (fd, size, rustix::io::ioctl_fionread(&file).unwrap())
        })
        .collect()
}

/// Writes into a peer until a copy from there has stalled. Returns how many bytes the copy holds then: heap, and what
/// is in pipes.
async fn holds_when_stalled(
    copier: &mut Copier,
    source: &mut impl AsyncSource,
    sink: &mut impl AsyncSink,
    mut feed: impl FnMut(),
) -> usize {
    // Every thread keeps a buffer for its next read, and the pool keeps some pipes. They are not the connection's.
    let (warm, mut out) = (vec![7; 1000], Vec::with_capacity(1000));
    zc_tokio::copy(&mut Opaque(&warm[..]), &mut out).await.unwrap();
    pool::clear();
    let before = (heap::in_use(), pipes());
    let mut quiet = 0;
    let mut last = 0;
    while quiet < 50 {
        feed();
        assert!(poll_once(copier.run(source, sink)).await.is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
        quiet = if copier.count() == last { quiet + 1 } else { 0 };
        last = copier.count();
    }
    // Nothing is in flight if the sink was full before more was taken.
    assert!(copier.in_flight() <= HELD, "{copier:?}");
    pool::clear();
    let after = pipes();
    let in_pipes: u64 = after.iter().filter(|pipe| !before.1.contains(pipe)).map(|p| p.2).sum();
    heap::in_use().saturating_sub(before.0) + usize::try_from(in_pipes).unwrap()
}

/// Writes into `to` as much as fits.
fn feeding(mut to: impl Write) -> impl FnMut() {
    let chunk = vec![7; 1 << 20];
    move || while to.write(&chunk).is_ok() {}
}

#[test]
fn a_stalled_connection_holds_64_kib() {
    let _leaks = fds::no_leaks_with_tokio();
    let mut most = 0;
    for tight in [false, true] {
        for adaptive in [true, false] {
            for case in 0..6 {
                let mut options = Options::default();
                options.adaptive = adaptive;
                let mut copier = Copier::with_options(options);
                let held = run(stalls(case, tight, &mut copier));
                assert!(
                    held <= HELD + IDLE,
                    "{held} bytes, tight: {tight}, adaptive: {adaptive}, case {case}: {copier:?}"
                );
                assert_eq!(pool::in_use(), 0, "a pipe, tight: {tight}, case {case}");
                most = most.max(copier.take_residue().len());
            }
        }
    }
    assert!(most > HELD / 2, "{most} bytes: none has stalled with what it had taken");
}

async fn stalls(case: u8, tight: bool, copier: &mut Copier) -> usize {
    let (mut tcps, mut unixes) =
        ([sockets::tcp_v4(), sockets::tcp_v4()], [sockets::unix(), sockets::unix()]);
    if tight {
        tcps = tcps.map(sockets::tight);
        unixes = unixes.map(sockets::tight);
    }
    let [(client, a), (_server, b)] = tcps;
    let [(unix_client, unix_a), (_unix_server, unix_b)] = unixes;
    client.set_nonblocking(true).unwrap();
    unix_client.set_nonblocking(true).unwrap();
    let (mut a, mut b, mut unix_a, mut unix_b) = (tcp(a), tcp(b), unix(unix_a), unix(unix_b));
    match case {
        0 => holds_when_stalled(copier, &mut a, &mut b, feeding(client)).await,
        1 => holds_when_stalled(copier, &mut a, &mut unix_b, feeding(client)).await,
        2 => holds_when_stalled(copier, &mut unix_a, &mut b, feeding(unix_client)).await,
        3 => holds_when_stalled(copier, &mut unix_a, &mut unix_b, feeding(unix_client)).await,
        4 => holds_when_stalled(copier, &mut a, &mut Opaque(b), feeding(client)).await,
        _ => holds_when_stalled(copier, &mut Opaque(a), &mut b, feeding(client)).await,
    }
}

/// The peer takes much for long, and then nothing.
#[test]
fn a_connection_that_stalls_after_a_bulk_holds_64_kib() {
    let _leaks = fds::no_leaks_with_tokio();
    for rounds in [1, 5, 20] {
        let held = run(async {
            let ((mut client, a), (server, b)) = (sockets::tcp_v4(), sockets::tcp_v4());
            let (mut a, mut b) = (tcp(a), tcp(b));
            let mut copier = Copier::new();
            let (mut server, mut got) = (tcp(server), vec![0; 1 << 20]);
            client.set_nonblocking(true).unwrap();
            let chunk = vec![7; 1 << 20];
            for _ in 0..rounds {
                let _ = client.write(&chunk);
                tokio::task::yield_now().await;
                assert!(poll_once(copier.run(&mut a, &mut b)).await.is_none());
                let _ = poll_once(tokio::io::AsyncReadExt::read(&mut server, &mut got)).await;
                tokio::task::yield_now().await;
            }
            assert!(copier.count() > 0);
            holds_when_stalled(&mut copier, &mut a, &mut b, feeding(client)).await
        });
        assert!(held <= HELD + IDLE, "{held} bytes after {rounds} rounds");
    }
}

/// No poll leaves a pipe in use without bytes in it.
#[test]
fn no_empty_pipe_is_held_over_a_yield() {
    let _leaks = fds::no_leaks_with_tokio();
    run(async {
        let ((client, a), (server, b)) = (sockets::tcp_v4(), sockets::tcp_v4());
        let data = data::bytes(1, 8_000_000);
        let (feeder, collector) =
            (Feeder::pieces(client, data.clone(), 1 << 20), Collector::start(server));
        let (mut a, mut b, mut copier) = (tcp(a), tcp(b), Copier::new());
        {
            let mut run = std::pin::pin!(copier.run(&mut a, &mut b));
            // The future is not dropped: what counts is what it holds over a yield.
            loop {
                if let Some(moved) = poll_once(run.as_mut()).await {
                    assert_eq!(moved.unwrap(), data.len() as u64);
                    break;
                }
                let lent = pool::in_use();
                pool::clear();
                let filled = pipes().iter().filter(|(.., bytes)| *bytes > 0).count();
                assert!(lent * 2 == filled, "{lent} pipes, {filled} ends with bytes behind them");
                tokio::task::yield_now().await;
            }
        }
        assert!(copier.report().moved_by(Mechanism::Splice) > data.len() as u64 / 2);
        drop((b, feeder));
        assert_same(&collector.finish(), &data);
    });
}

const STALLED: usize = 1000;

/// A thousand connections whose peers take nothing, and a healthy one.
fn a_healthy_one_beside_a_thousand(adaptive: bool) {
    run(async {
        let mut stalled = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..STALLED {
            let ((client, a), (server, b)) = (sockets::unix(), sockets::unix());
            for end in [&b, &server] {
                rustix::net::sockopt::set_socket_send_buffer_size(end, 1).unwrap();
            }
            rustix::net::sockopt::set_socket_send_buffer_size(&client, 100_000).unwrap();
            client.set_nonblocking(true).unwrap();
            while (&client).write(&[7; 50_000]).is_ok() {}
            clients.push((client, server));
            let (mut a, mut b) = (unix(a), unix(b));
            let mut options = Options::default();
            options.adaptive = adaptive;
            let mut relay = Relay::with_options(options);
            let handle = relay.handle();
            let task = tokio::spawn(async move { relay.run(&mut a, &mut b).await.unwrap_err() });
            stalled.push((handle, task));
        }
        // A runtime's thread polls a few tasks at a time.
        while !stalled.iter().all(|(handle, _)| handle.counts().0 > 0) {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            for (client, _) in &clients {
                let _ = (&*client).write(&[7; 50_000]);
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(pool::in_use(), 0, "none holds a pipe while it waits");

        let ((client, a), (server, b)) = (sockets::tcp_v4(), sockets::tcp_v4());
        let data = data::bytes(1, 16 << 20);
        let (feeder, collector) =
            (Feeder::pieces(client, data.clone(), 1 << 20), Collector::start(server));
        let (mut a, mut b, mut relay) = (tcp(a), tcp(b), Relay::new());
        let recorder = hook::record();
        let handle = relay.handle();
        // The stalled connections are woken, too, again and again.
        let kicking = tokio::spawn(async move {
            loop {
                for (client, server) in &clients {
                    let mut one = [0];
                    let _ = std::io::Read::read(&mut &*server, &mut one);
                    let _ = (&*client).write(&[7; 1]);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let ending = tokio::task::spawn_blocking(move || collector.finish());
        let len = data.len() as u64;
        let progress = async {
            while handle.counts().0 < len {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            outcome = relay.run(&mut a, &mut b) => { outcome.unwrap(); }
            () = progress => {}
        }
        kicking.abort();
        let report = relay.reports().0.clone();
        drop((b, a, feeder));
        assert_same(&ending.await.unwrap(), &data);
        let by_splice = report.moved_by(Mechanism::Splice);
        assert!(by_splice > len * 9 / 10, "{report:?}");
        let made = recorder.calls_to(Syscall::Pipe).len();
        assert!(made <= 4, "{made} pipes were made for it: it does not use the pool");
        for (handle, task) in stalled {
            handle.abort();
            task.await.unwrap();
        }
    });
}

fn beside_a_thousand(adaptive: bool) {
    apart_case(adaptive, false);
}

fn apart_case(adaptive: bool, as_ordinary_user: bool) {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < 4 * STALLED as u64 + 300) {
        skip::skip("no more than so many descriptors may be open here");
        return;
    }
    limits::set_soft(Resource::Nofile, most);
    let mut budget = Vec::new();
    if as_ordinary_user {
        if !rustix::process::geteuid().is_root() {
            skip::skip("only root can become a user of whom nothing else is running");
            return;
        }
        limits::become_ordinary_user(61_000 + std::process::id() % 4000).unwrap();
        // Near the budget: 2 MiB are left of what this user's pipes may hold.
        budget = use_up_pipes();
        budget.truncate(budget.len().saturating_sub(2));
    }
    a_healthy_one_beside_a_thousand(adaptive);
    drop(budget);
}

/// Makes pipes of 1 MiB each until the kernel grants no more.
fn use_up_pipes() -> Vec<(OwnedFd, OwnedFd)> {
    let mut all = Vec::new();
    loop {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let size = rustix::pipe::fcntl_setpipe_size(writer.as_fd(), 1 << 20);
        if size.is_err() {
            return all;
        }
        all.push((reader, writer));
        assert!(all.len() < 1000, "there is no budget for pipes here");
    }
}

#[test]
fn a_thousand_stalled_relays_leave_a_healthy_one_its_pipe() {
    apart(|| beside_a_thousand(true));
}

#[test]
fn a_thousand_stalled_splices_leave_a_healthy_one_its_pipe() {
    apart(|| beside_a_thousand(false));
}

#[test]
fn a_thousand_stalled_relays_near_the_budget_leave_a_pipe() {
    apart(|| apart_case(true, true));
}

#[test]
fn a_thousand_stalled_splices_near_the_budget_leave_a_pipe() {
    apart(|| apart_case(false, true));
}
