//! A runtime for one test, and ends for it.

use std::future::Future;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use zc_testkit::{fds, sockets};

/// Runs a test on one thread. No other test of the process runs meanwhile, and no descriptor may be left. A test that
/// hangs fails.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    run_on(&mut tokio::runtime::Builder::new_current_thread(), async {
        // A panic drops it, so that no peer's thread is waited for.
        let test = std::pin::pin!(test);
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("it hangs")
    })
}

/// The same with tokio's clock stopped. It goes on to the next timer when there is nothing else to do. Peers are
/// tasks here, since the runtime does not wait for threads.
pub(crate) fn run_paused<T>(test: impl Future<Output = T>) -> T {
    run_on(tokio::runtime::Builder::new_current_thread().start_paused(true), test)
}

fn run_on<T>(builder: &mut tokio::runtime::Builder, test: impl Future<Output = T>) -> T {
    let _leaks = fds::no_leaks_with_tokio();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(test)
}

/// One end of a TCP connection, and its peer, which blocks.
pub(crate) fn tcp() -> (std::net::TcpStream, TcpStream) {
    let (theirs, ours) = sockets::tcp_v4();
    (theirs, ours_of(ours))
}

pub(crate) fn ours_of(stream: std::net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).expect("a socket");
    TcpStream::from_std(stream).expect("a runtime")
}

/// One end of a Unix connection, and its peer, which blocks.
pub(crate) fn unix() -> (StdUnixStream, UnixStream) {
    let (theirs, ours) = sockets::unix();
    ours.set_nonblocking(true).expect("a socket");
    (theirs, UnixStream::from_std(ours).expect("a runtime"))
}

/// Both ends of a TCP connection as tokio's.
pub(crate) fn tcp_tasks() -> (TcpStream, TcpStream) {
    let (theirs, ours) = tcp();
    (ours_of(theirs), ours)
}

/// Polls `future` once, and drops it.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Polls `future` until it panics.
pub(crate) async fn panics<F: Future>(future: F) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Err(_) => std::task::Poll::Ready(()),
            Ok(std::task::Poll::Ready(_)) => panic!("it does not panic"),
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
        }
    })
    .await;
}
