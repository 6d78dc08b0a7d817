//! Every timer, by a clock that the tests move.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use zc_testkit::serial::serial;
use zc_testkit::sockets;
use zc_tokio::{
    Copier, Direction, EndPolicy, Opaque, Operation, Options, Relay, RelayEnd, ResetPolicy, Side,
};

use crate::kit;

const TIMEOUT: Duration = Duration::from_secs(30);

fn options(set: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::default();
    set(&mut options);
    options
}

#[test]
fn a_relay_that_idles_stops_and_goes_on() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay =
            Relay::with_options(options(|options| options.idle_timeout = Some(TIMEOUT)));
        let begun = Instant::now();
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert!(begun.elapsed() >= TIMEOUT, "{:?}", begun.elapsed());
        assert_eq!((error.operation(), error.direction()), (Operation::IdleTimeout, None));
        assert!(error.is_timeout() && !error.is_disconnect());

        // A byte in either direction starts the timeout anew.
        let talking = async {
            for _ in 0..5 {
                sleep(TIMEOUT * 2 / 3).await;
                client.write_all(b"c").await.unwrap();
                server.read_u8().await.unwrap();
                sleep(TIMEOUT * 2 / 3).await;
                server.write_all(b"s").await.unwrap();
                client.read_u8().await.unwrap();
            }
            Instant::now()
        };
        let (stopped, last) = tokio::join!(relay.run(&mut a, &mut b), talking);
        assert_eq!(stopped.unwrap_err().counts(), (5, 5));
        assert!(last.elapsed() >= TIMEOUT - Duration::from_millis(10), "{:?}", last.elapsed());
        drop((client, server));
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (5, 5));
    });
}

/// A relay that is made anew after every poll does not start its timeout anew.
#[test]
fn dropped_futures_do_not_put_a_timeout_off() {
    kit::run_paused(async {
        let ((_client, mut a), (_server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay =
            Relay::with_options(options(|options| options.idle_timeout = Some(TIMEOUT)));
        let begun = Instant::now();
        let error = loop {
            tokio::select! {
                biased;
                outcome = relay.run(&mut a, &mut b) => break outcome.unwrap_err(),
                () = sleep(Duration::from_secs(1)) => {}
            }
            assert!(begun.elapsed() < 2 * TIMEOUT);
        };
        assert_eq!(error.operation(), Operation::IdleTimeout);
    });
}

#[test]
fn a_half_closed_relay_has_a_time_of_its_own() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay =
            Relay::with_options(options(|options| options.half_close_timeout = Some(TIMEOUT)));
        let talking = async {
            sleep(TIMEOUT * 10).await; // open in both directions, the relay may be idle
            client.shutdown().await.unwrap();
            sleep(TIMEOUT / 2).await;
            server.write_all(b"answer").await.unwrap();
            Instant::now()
        };
        let (stopped, last) = tokio::join!(relay.run(&mut a, &mut b), talking);
        let error = stopped.unwrap_err();
        assert_eq!((error.operation(), error.counts()), (Operation::HalfCloseTimeout, (0, 6)));
        assert!(last.elapsed() >= TIMEOUT - Duration::from_millis(10), "{:?}", last.elapsed());
        drop(server);
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (0, 6));
    });
}

#[test]
fn an_end_that_takes_nothing_runs_out_of_time() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay =
            Relay::with_options(options(|options| options.write_timeout = Some(TIMEOUT)));
        let sending = async {
            let chunk = vec![7; 1 << 20];
            let mut sent = 0;
            // Until nothing more fits for long.
            while let Ok(n) = tokio::time::timeout(2 * TIMEOUT, client.write(&chunk)).await {
                sent += n.unwrap();
            }
            sent
        };
        let (stopped, sent) = tokio::join!(relay.run(&mut a, &mut b), sending);
        let error = stopped.unwrap_err();
        assert_eq!((error.operation(), error.end()), (Operation::Write, Some(RelayEnd::B)));
        assert_eq!((error.direction(), error.side()), (Some(Direction::AToB), Some(Side::Sink)));

        // The relay goes on where it was.
        drop(client);
        let receiving = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            drop(server);
            got.len()
        };
        let (outcome, got) = tokio::join!(relay.run(&mut a, &mut b), receiving);
        assert_eq!((outcome.unwrap(), got), ((sent as u64, 0), sent));
    });
}

#[test]
fn a_copy_has_the_timeouts_too() {
    kit::run_paused(async {
        let ((_client, mut a), mut out) = (kit::tcp_tasks(), Vec::new());
        let mut copier =
            Copier::with_options(options(|options| options.idle_timeout = Some(TIMEOUT)));
        let error = copier.run(&mut a, &mut out).await.unwrap_err();
        assert_eq!(error.operation(), Operation::IdleTimeout);
    });
}

/// With the default options there is no timer, and none is needed in the runtime. With a timeout a short read is
/// taken for the last one, and what lies behind urgent data is looked for a little later.
#[test]
fn bytes_behind_urgent_data_wait_for_50_milliseconds() {
    const LOOK: Duration = Duration::from_millis(50);
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        client.write_all(b"be").await.unwrap();
        assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
        client.write_all(b"fore").await.unwrap();
        let mut relay =
            Relay::with_options(options(|options| options.idle_timeout = Some(TIMEOUT)));
        let (begun, mut got) = (Instant::now(), [0; 6]);
        tokio::select! {
            _ = relay.run(&mut a, &mut b) => panic!("no one has ended"),
            read = server.read_exact(&mut got) => drop(read.unwrap()),
        }
        let waited = begun.elapsed();
        assert!(LOOK <= waited && waited <= LOOK + Duration::from_millis(2), "{waited:?}");
        assert_eq!(&got, b"before");
    });
}

/// A reset is passed on once all has arrived. If the peer takes nothing, that waits for as long as a write may take,
/// or for ten seconds.
#[test]
fn a_reset_is_put_off_for_so_long() {
    let ten = Duration::from_secs(10);
    for (timeout, longest) in [(None, ten), (Some(TIMEOUT), TIMEOUT)] {
        kit::run_paused(async move {
            let (mut client, mut a) = kit::tcp();
            let (server, b) = sockets::tight(sockets::tcp_v4());
            let mut b = kit::ours_of(b);
            let mut relay = Relay::with_options(options(|options| {
                (options.on_reset, options.write_timeout) = (ResetPolicy::Forward, timeout);
            }));
            client.set_nonblocking(true).unwrap();
            while client.write(&[7; 1 << 16]).is_ok() {}
            while relay.in_flight().0 == 0 {
                assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
                tokio::task::yield_now().await;
            }
            sockets::reset(client);
            let begun = Instant::now();
            let error = relay.run(&mut a, &mut b).await.unwrap_err();
            let waited = begun.elapsed();
            assert_eq!(error.end(), Some(RelayEnd::A), "{error}");
            let late = longest + Duration::from_millis(2);
            assert!(longest <= waited && waited <= late, "{waited:?}");
            drop(server);
        });
    }
}

#[test]
fn without_a_timeout_no_timer_is_needed() {
    let _alone = serial();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        client.write_all(b"hello").await.unwrap();
        drop((client, server));
        assert_eq!(Relay::new().run(&mut a, &mut b).await.unwrap(), (5, 0));
    });
}

#[test]
fn drain_and_close_ends_both() {
    kit::run_paused(async {
        let ((client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay = Relay::with_options(options(|options| options.on_end = EndPolicy::Close));
        server.write_all(b"what is there").await.unwrap();
        let (mut from_a, mut to_a) = client.into_split();
        let outcome = tokio::join!(relay.run(&mut a, &mut b), async {
            to_a.write_all(b"the end").await.unwrap();
            to_a.shutdown().await.unwrap();
        });
        // The server has not closed its end, and is shut down all the same.
        assert_eq!(outcome.0.unwrap(), (7, 13));
        let mut got = (String::new(), String::new());
        from_a.read_to_string(&mut got.0).await.unwrap();
        server.read_to_string(&mut got.1).await.unwrap();
        assert_eq!((&got.0[..], &got.1[..]), ("what is there", "the end"));
    });
}

/// Lets ten bytes a second through.
struct Paced<S> {
    inner: S,
    left: u64,
    next: Instant,
}

impl<Io, S: zc_tokio::Source<Io>> zc_tokio::Source<Io> for Paced<S> {
    fn upstream(&mut self) -> zc_tokio::Upstream<'_, Io> {
        if Instant::now() >= self.next {
            self.left = 10;
        }
        let inner = zc_tokio::Upstream::through(&mut self.inner);
        match self.left {
            0 => inner.not_before(self.next.into_std()),
            left => inner.limit(left),
        }
    }
    fn taken(&mut self, n: u64) {
        self.left -= n;
        if self.left == 0 {
            self.next = Instant::now() + Duration::from_secs(1);
        }
    }
}

impl<S: zc_tokio::ReadReady> zc_tokio::ReadReady for Paced<S> {
    fn read_ready(&self, fd: std::os::fd::RawFd) -> Option<zc_tokio::Registered<'_>> {
        self.inner.read_ready(fd)
    }
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Paced<S> {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        unreachable!("the kernel goes past it")
    }
}

#[test]
fn a_rate_limit_is_waited_for() {
    kit::run_paused(async {
        let ((mut client, a), (_server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        client.write_all(&[7; 55]).await.unwrap();
        drop(client);
        let begun = Instant::now();
        let mut paced = Paced { inner: a, left: 10, next: begun + Duration::from_secs(1) };
        assert_eq!(Copier::new().run(&mut paced, &mut b).await.unwrap(), 55);
        // Six portions with five pauses between them.
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

/// By the paused clock, which only waits move on.
#[test]
fn a_paced_stream_comes_in_small_portions() {
    kit::run_paused(async {
        const RATE: u64 = 1 << 20;
        let ((mut client, a), (server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let sent = tokio::spawn(async move { client.write_all(&[7; 300_000]).await });
        let got = tokio::spawn(async move {
            let (mut server, mut got) = (server, Vec::new());
            server.read_to_end(&mut got).await.map(|_| got)
        });
        let begun = Instant::now();
        let mut paced = zc_tokio::Paced::new(a, RATE);
        assert_eq!(Copier::new().run(&mut paced, &mut b).await.unwrap(), 300_000);
        drop(b);
        sent.await.unwrap().unwrap();
        assert_eq!(got.await.unwrap().unwrap(), [7; 300_000]);
        // Every byte but the first burst is waited for.
        let due = Duration::from_micros((300_000 - RATE / 50) * 1_000_000 / RATE);
        assert!(begun.elapsed() >= due - Duration::from_millis(21), "{:?}", begun.elapsed());
    });
}

/// The same where no copy reads it.
#[test]
fn a_paced_stream_waits_in_its_own_read() {
    kit::run_paused(async {
        let begun = Instant::now();
        let pace = zc_tokio::Pace::new(1000).burst(100);
        let (mut paced, mut got) = (zc_tokio::Paced::with_pace(&[7; 1100][..], pace), Vec::new());
        assert_eq!(paced.read_to_end(&mut got).await.unwrap(), 1100);
        assert_eq!(got, [7; 1100]);
        assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
    });
}

/// Each byte starts the other timeouts anew, so a peer could keep a copy for as long as it likes.
#[test]
fn a_source_that_gives_too_little_is_given_up() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut copier = Copier::with_options(options(|options| {
            options.idle_timeout = Some(TIMEOUT);
            options.min_rate = Some((100, TIMEOUT));
        }));
        let dripping = tokio::spawn(async move {
            for _ in 0..100 {
                sleep(Duration::from_secs(1)).await;
                client.write_all(b"d").await.unwrap();
            }
        });
        for n in 1..=2 {
            let begun = Instant::now();
            let error = copier.run(&mut a, &mut b).await.unwrap_err();
            let end = (error.operation(), error.direction(), error.side());
            let source = (Operation::Read, Some(Direction::AToB), Some(Side::Source));
            assert_eq!(end, source, "{error}");
            assert!(error.is_timeout() && !error.is_disconnect(), "{error}");
            // Run again, the copy gives the source as much time again.
            assert!(begun.elapsed() >= TIMEOUT, "{:?}", begun.elapsed());
            assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(2), "{:?}", begun.elapsed());
            let moved = error.counts().0;
            assert!((30 * n - 3..=31 * n).contains(&moved), "{moved} bytes in {n} runs");
        }
        dripping.abort();
        drop(dripping.await);
        let moved = copier.run(&mut a, &mut b).await.unwrap();
        drop(b);
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, vec![b'd'; moved as usize]);
    });
}

#[test]
fn a_source_that_gives_enough_is_not_given_up() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut copier =
            Copier::with_options(options(|options| options.min_rate = Some((100, TIMEOUT))));
        let feeding = async move {
            for _ in 0..20 {
                sleep(TIMEOUT * 2 / 3).await;
                client.write_all(&[7; 100]).await.unwrap();
            }
        };
        let (copied, ()) = tokio::join!(copier.run(&mut a, &mut b), feeding);
        assert_eq!(copied.unwrap(), 2000);
        drop(b);
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [7; 2000]);
    });
}

/// Only waits for the source count.
#[test]
fn a_source_is_not_to_blame_for_a_slow_sink() {
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut copier =
            Copier::with_options(options(|options| options.min_rate = Some((100, TIMEOUT))));
        let len = 64 << 20;
        let sending = tokio::spawn(async move {
            client.write_all(&vec![7; len]).await.unwrap();
        });
        let taking = async move {
            sleep(TIMEOUT * 10).await;
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            got
        };
        let copying = async {
            let copied = copier.run(&mut a, &mut b).await;
            drop(b);
            copied
        };
        let (copied, got) = tokio::join!(copying, taking);
        assert_eq!(copied.unwrap(), len as u64);
        sending.await.unwrap();
        assert!(got.len() == len && got.iter().all(|&byte| byte == 7));
    });
}

/// A copy that is made anew after every poll does not give its source more time.
#[test]
fn dropped_futures_do_not_put_off_a_slow_source() {
    kit::run_paused(async {
        let ((_client, mut a), (_server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut copier =
            Copier::with_options(options(|options| options.min_rate = Some((1, TIMEOUT))));
        let begun = Instant::now();
        let error = loop {
            tokio::select! {
                biased;
                outcome = copier.run(&mut a, &mut b) => break outcome.unwrap_err(),
                () = sleep(Duration::from_secs(1)) => {}
            }
            assert!(begun.elapsed() < 2 * TIMEOUT);
        };
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.counts(), (0, 0));
    });
}

/// Between two futures no source is waited for: what it may have sent by then is still in the socket.
#[test]
fn a_source_is_not_to_blame_for_the_time_between_two_futures() {
    kit::run_paused(async {
        let ((mut client, mut a), (_server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut copier =
            Copier::with_options(options(|options| options.min_rate = Some((1000, TIMEOUT))));
        assert!(kit::poll_once(copier.run(&mut a, &mut b)).await.is_none());
        client.write_all(b"some").await.unwrap();
        sleep(TIMEOUT * 10).await;
        let slow = timeout(TIMEOUT / 2, copier.run(&mut a, &mut b)).await;
        assert!(slow.is_err(), "{slow:?}");
        assert_eq!(copier.count(), 4);
        let slow = timeout(TIMEOUT, copier.run(&mut a, &mut b)).await.expect("its time is over");
        assert!(slow.unwrap_err().is_timeout());
    });
}

/// Takes all bytes at once, and gets rid of none.
struct Holds(u64);

impl AsyncWrite for Holds {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0 += buf.len() as u64;
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// As a TLS stream does whose peer reads nothing. The source has nothing more meanwhile, and is not to blame.
#[test]
fn bytes_that_a_sink_holds_back_wait_for_it_too() {
    kit::run_paused(async {
        let (mut client, mut from) = kit::tcp_tasks();
        client.write_all(b"hello").await.unwrap();
        let mut sink = Opaque(Holds(0));
        let mut copier =
            Copier::with_options(options(|options| options.write_timeout = Some(TIMEOUT)));
        let copying = timeout(10 * TIMEOUT, copier.run(&mut from, &mut sink));
        let error = copying.await.expect("it waits for ever").unwrap_err();
        assert_eq!((error.operation(), error.side()), (Operation::Write, Some(Side::Sink)));
        assert_eq!((error.counts().0, sink.0.0), (5, 5));
    });
}
