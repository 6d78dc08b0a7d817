//! A reset is passed on as one, and no delivered byte is lost by it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream as Peer;
use std::os::fd::{AsFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, join};
use tokio::net::TcpStream;
use zc_linux::hook::{self, Syscall};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::{files, sockets};
use zc_tokio::{
    Copier, Downstream, Error, Fd, Handle, Opaque, Operation, Options, PollFd, ReadReady,
    Registered, Relay, RelayEnd, ResetPolicy, Side, Sink, Source, TokioIo, Upstream, WriteReady,
};

use crate::kit;

fn passing_on() -> Options {
    let mut options = Options::default();
    options.on_reset = ResetPolicy::Forward;
    options
}

/// All that a peer receives, and how that ends.
fn hears(mut peer: Peer) -> (Vec<u8>, std::io::Result<usize>) {
    let mut got = Vec::new();
    let end = peer.read_to_end(&mut got);
    (got, end)
}

/// The client resets when the server has read nothing.
#[test]
fn a_reset_comes_after_all_that_was_delivered() {
    for (options, is_reset) in [(passing_on(), true), (Options::default(), false)] {
        kit::run(async move {
            let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
            let data = data::bytes(1, 50_000);
            client.write_all(&data).unwrap();
            let mut relay = Relay::with_options(options);
            while relay.counts().0 < data.len() as u64 {
                assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
                tokio::task::yield_now().await;
            }
            sockets::reset(client);
            let error = relay.run(&mut a, &mut b).await.unwrap_err();
            assert_eq!((error.end(), error.counts()), (Some(RelayEnd::A), (50_000, 0)), "{error}");
            if is_reset {
                let again = relay.run(&mut a, &mut b).await.unwrap_err();
                assert!(again.is_disconnect(), "it stays said");
            }
            drop((a, b));
            let (got, end) = hears(server);
            assert_same(&got, &data);
            let kind = end.err().map(|error| error.kind());
            assert_eq!(kind, is_reset.then_some(ErrorKind::ConnectionReset));
        });
    }
}

/// The client floods until nothing fits, and resets. Its peer reads only then.
async fn floods(relay: &mut Relay, drops: bool) {
    let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
    client.set_nonblocking(true).unwrap();
    let chunk = data::bytes(1, 1 << 20);
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 20 {
        quiet += 1;
        while let Ok(n) = client.write(&chunk[sent % chunk.len()..]) {
            (sent, quiet) = (sent + n, 0);
        }
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sockets::reset(client);
    let hearing = tokio::task::spawn_blocking(|| hears(server));
    let error = loop {
        if !drops {
            break relay.run(&mut a, &mut b).await.unwrap_err();
        }
        match kit::poll_once(relay.run(&mut a, &mut b)).await {
            Some(outcome) => break outcome.unwrap_err(),
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    assert_eq!(error.end(), Some(RelayEnd::A), "{error}");
    // What was in flight by then has been delivered and counted, too.
    assert_eq!((relay.in_flight(), error.counts()), ((0, 0), relay.counts()));
    drop((a, b));
    let (got, end) = hearing.await.unwrap();
    assert_eq!(got.len() as u64, relay.counts().0);
    for (at, piece) in got.chunks(chunk.len()).enumerate() {
        assert!(piece == &chunk[..piece.len()], "mebibyte {at}");
    }
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_comes_after_what_was_in_flight() {
    for drops in [false, true] {
        kit::run(async move { floods(&mut Relay::with_options(passing_on()), drops).await });
    }
}

/// A copy of either kind.
enum Either {
    Relay(Box<Relay>),
    Copier(Box<Copier>),
}

impl Either {
    fn handle(&mut self) -> Handle {
        match self {
            Either::Relay(relay) => relay.handle(),
            Either::Copier(copier) => copier.handle(),
        }
    }

    async fn fails(&mut self, a: &mut TcpStream, b: &mut TcpStream) -> Error {
        match self {
            Either::Relay(relay) => relay.run(a, b).await.map(drop),
            Either::Copier(copier) => copier.run(a, b).await.map(drop),
        }
        .expect_err("the client has not ended")
    }
}

/// Writes until nothing more fits.
async fn fills(mut client: TcpStream) -> TcpStream {
    let chunk = data::bytes(1, 1 << 20);
    let patience = Duration::from_millis(50);
    while let Ok(written) = tokio::time::timeout(patience, client.write_all(&chunk)).await {
        written.unwrap();
    }
    client
}

/// The client has reset while nothing more fits, and the server reads nothing.
#[test]
fn an_abort_is_heard_while_a_reset_is_put_off() {
    let copies = [
        Either::Relay(Box::new(Relay::with_options(passing_on()))),
        Either::Copier(Box::new(Copier::with_options(passing_on()))),
    ];
    for mut copy in copies {
        kit::run(async move {
            let ((client, mut a), (server, mut b)) = (kit::tcp_tasks(), kit::tcp());
            let handle = copy.handle();
            let client = tokio::select! {
                error = copy.fails(&mut a, &mut b) => panic!("{error}"),
                client = fills(client) => client,
            };
            sockets::reset(client.into_std().unwrap());
            let stopping = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                handle.abort();
            };
            let (stopped, ()) = tokio::join!(copy.fails(&mut a, &mut b), stopping);
            assert_eq!(stopped.operation(), Operation::Abort);
            // It has been stopped once, and goes on to pass the reset on.
            let hearing = tokio::task::spawn_blocking(|| hears(server));
            let error = copy.fails(&mut a, &mut b).await;
            assert!(error.is_disconnect(), "{error}");
            drop((a, b));
            let (got, end) = hearing.await.unwrap();
            assert_eq!(got.len() as u64, error.counts().0);
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    }
}

/// Where both connections are lost there is no peer to wait for.
#[test]
fn a_peer_that_resets_too_puts_off_no_reset() {
    for is_full in [false, true] {
        kit::run(async move {
            let ((mut client, mut a), (server, mut b)) = (kit::tcp_tasks(), kit::tcp());
            let mut options = passing_on();
            options.write_timeout = Some(Duration::from_secs(3600));
            let mut relay = Relay::with_options(options);
            let (chunk, mut is_stuck) = (data::bytes(1, 1 << 16), false);
            // Until bytes wait in the socket, or do not fit there.
            while !is_stuck {
                let writing = tokio::time::timeout(Duration::from_millis(50), client.write(&chunk));
                let relaying =
                    tokio::time::timeout(Duration::from_millis(5), relay.run(&mut a, &mut b));
                let (written, relayed) = tokio::join!(writing, relaying);
                assert!(relayed.is_err(), "no one has ended");
                is_stuck = match is_full {
                    true => written.is_err(),
                    // More than for the moment that an acknowledgement takes.
                    false => zc_linux::fd::unsent(b.as_fd()).unwrap() > 500_000,
                };
            }
            sockets::reset(client.into_std().unwrap());
            let resetting = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                sockets::reset(server);
            };
            let (outcome, ()) = tokio::join!(relay.run(&mut a, &mut b), resetting);
            let error = outcome.unwrap_err();
            assert_eq!(error.end(), Some(RelayEnd::A), "{error}");
        });
    }
}

/// A peer that takes nothing puts the reset off for as long as a write may take, and no longer.
#[test]
fn a_peer_that_is_stuck_puts_a_reset_off_for_a_while() {
    kit::run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let mut options = passing_on();
        options.write_timeout = Some(Duration::from_secs(1));
        let mut relay = Relay::with_options(options);
        client.set_nonblocking(true).unwrap();
        let chunk = data::bytes(1, 1 << 20);
        // The clock begins with the first poll that finds the sink full, so everything is sent before that.
        let mut sent = 0;
        while let Ok(n) = client.write(&chunk[sent % chunk.len()..]) {
            sent += n;
        }
        sockets::reset(client);
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert!(error.is_disconnect() || error.is_timeout(), "{error}");
        if error.is_timeout() {
            return; // The sink was full before the reset came.
        }
        let counts = relay.counts().0;
        drop((a, b));
        let (got, end) = hears(server);
        assert!(got.len() as u64 <= counts);
        assert!(got.chunks(chunk.len()).all(|piece| piece == &chunk[..piece.len()]));
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// From either end, through layers, and after the other way has ended.
#[test]
fn a_reset_is_passed_on_from_either_end() {
    kit::run(async {
        let ((client, a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        server.write_all(b"answer").unwrap();
        let mut a = tokio::io::BufReader::new(tokio::io::BufWriter::new(a));
        let mut relay = Relay::with_options(passing_on());
        while relay.counts().1 < 6 {
            assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
            tokio::task::yield_now().await;
        }
        sockets::reset(server);
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert_eq!(error.end(), Some(RelayEnd::B), "{error}");
        drop((a, b));
        let (got, end) = hears(client);
        assert_eq!(got, b"answer");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// A relay that was restarted passes on proper ends again.
#[test]
fn after_a_restart_an_end_is_an_end() {
    kit::run(async {
        let mut relay = Relay::with_options(passing_on());
        floods(&mut relay, false).await;
        relay.rebind();
        let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let (talks, answers) = crate::relays::talk(client, b"hello".to_vec(), 5);
        let listens = Collector::start(server.try_clone().unwrap());
        let ending = tokio::task::spawn_blocking(move || {
            let got = listens.finish(); // … to a proper end
            drop(server);
            got
        });
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (5, 0));
        assert_eq!(ending.await.unwrap(), b"hello");
        drop((a, b));
        talks.finish().unwrap();
        assert_eq!(answers.finish(), b"");
    });
}

#[test]
fn a_copy_passes_a_reset_on_to_its_sink_and_its_source() {
    kit::run(async {
        let ((mut client, mut from), (server, mut to)) = (kit::tcp(), kit::tcp());
        let mut copier = Copier::with_options(passing_on());
        client.write_all(b"some").unwrap();
        while copier.count() < 4 {
            assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
            tokio::task::yield_now().await;
        }
        sockets::reset(client);
        let error = copier.run(&mut from, &mut to).await.unwrap_err();
        assert_eq!(error.side(), Some(Side::Source), "{error}");
        assert!(copier.run(&mut from, &mut to).await.is_err(), "it stays said");
        drop((from, to));
        let (got, end) = hears(server);
        assert_eq!(got, b"some");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);

        let ((client, mut from), (server, mut to)) = (kit::tcp(), kit::tcp());
        let mut copier = Copier::with_options(passing_on());
        assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
        sockets::reset(server);
        let error = copier.run(&mut from, &mut to).await.unwrap_err();
        assert_eq!(error.side(), Some(Side::Sink), "{error}");
        drop((from, to));
        assert_eq!(hears(client).1.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// A connection of another crate, while nothing more fits into the other one.
#[test]
fn a_reset_of_any_descriptor_is_noticed() {
    kit::run(async {
        let ((client, a), (_server, b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let of_elsewhere = |stream: TcpStream| {
            let stream = stream.into_std().unwrap();
            // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
            Fd::new(unsafe { AsyncFd::register(stream) }.unwrap()).unwrap()
        };
        let (mut a, mut b) = (of_elsewhere(a), of_elsewhere(b));
        let mut relay = Relay::new();
        let client = tokio::select! {
            _ = relay.run(&mut a, &mut b) => panic!("no one has ended"),
            client = fills(client) => client,
        };
        sockets::reset(client.into_std().unwrap());
        for _ in 0..2 {
            let error = relay.run(&mut a, &mut b).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.end()),
                (ErrorKind::ConnectionReset, Some(RelayEnd::A))
            );
        }
    });
}

/// Only a TCP connection can be reset. On others the error is reported, and no more.
#[test]
fn a_unix_stream_ends_as_ever() {
    kit::run(async {
        let ((client, mut a), (mut server, mut b)) = (kit::tcp(), kit::unix());
        let mut relay = Relay::with_options(passing_on());
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        sockets::reset(client);
        assert!(relay.run(&mut a, &mut b).await.unwrap_err().is_disconnect());
        drop((a, b));
        assert_eq!(server.read_to_end(&mut Vec::new()).unwrap(), 0);
    });
}

/// The kernel tells of a reset once, and what follows looks like an end. No run takes it for one.
#[test]
fn a_reset_that_is_reported_stays_one() {
    for copies in [false, true] {
        kit::run(async move {
            let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
            client.write_all(b"cut off").unwrap();
            sockets::reset(client);
            let (mut copier, mut relay) = (Copier::new(), Relay::new());
            for _ in 0..3 {
                let error = match copies {
                    true => copier.run(&mut a, &mut b).await.map(drop).unwrap_err(),
                    false => relay.run(&mut a, &mut b).await.map(drop).unwrap_err(),
                };
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                assert_eq!(error.end(), Some(RelayEnd::A), "{error}");
            }
            // The other peer has not seen an end either.
            server.set_nonblocking(true).unwrap();
            assert_eq!((&server).read(&mut [0; 10]).unwrap(), 7);
            let heard = (&server).read(&mut [0; 10]);
            assert_eq!(heard.unwrap_err().kind(), ErrorKind::WouldBlock);
            // With other ends the relay begins anew.
            let ((client, mut a), (_server, mut b)) = (kit::tcp(), kit::tcp());
            drop(client);
            copier.rebind();
            assert_eq!(copier.run(&mut a, &mut b).await.unwrap(), 0);
        });
    }
}

/// A `progress` that panics takes the answer of its poll with it, but not what the kernel tells once.
#[test]
fn a_reset_is_remembered_before_a_callback_runs() {
    for (copies, options) in
        [false, true].into_iter().flat_map(|n| [(n, Options::default()), (n, passing_on())])
    {
        kit::run(async move {
            let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
            client.write_all(b"cut off").unwrap();
            sockets::reset(client);
            // The bytes and the reset come in one poll.
            a.readable().await.unwrap();
            let mut calls = 0;
            let mut progress = move || {
                calls += 1;
                assert!(calls > 1, "the panic of the test");
            };
            let mut copier = Copier::with_options(options);
            let mut relay = Relay::with_options(options);
            match copies {
                true => {
                    copier = copier.on_progress(move |_| progress());
                    kit::panics(copier.run(&mut a, &mut b)).await;
                }
                false => {
                    relay = relay.on_progress(move |_, _| progress());
                    kit::panics(relay.run(&mut a, &mut b)).await;
                }
            }
            for _ in 0..2 {
                let error = match copies {
                    true => copier.run(&mut a, &mut b).await.map(drop).unwrap_err(),
                    false => relay.run(&mut a, &mut b).await.map(drop).unwrap_err(),
                };
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                assert_eq!((error.end(), error.counts()), (Some(RelayEnd::A), (7, 0)), "{error}");
            }
            drop(b);
            let (got, end) = hears(server);
            assert_eq!(got, b"cut off");
            let forwards = options.on_reset == ResetPolicy::Forward;
            assert_eq!(end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), forwards);
        });
    }
}

/// Fails once, and goes on.
struct Slow {
    is_late: bool,
    rest: &'static [u8],
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_late) {
            return Poll::Ready(Err(Errno::TIMEDOUT.into()));
        }
        Pin::new(&mut self.rest).poll_read(cx, buf)
    }
}

/// A file on another machine, which answers later.
struct SlowFile(Slow, std::fs::File);

impl AsyncRead for SlowFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Source<TokioIo> for SlowFile {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::fd(PollFd::stream(self.1.as_fd()))
    }
}

impl ReadReady for SlowFile {}

#[test]
fn only_a_connection_is_lost_for_good_by_a_timeout() {
    kit::run(async {
        let slow = || SlowFile(Slow { is_late: true, rest: b"at last" }, files::empty());
        let ((server, mut b), mut copier) = (kit::tcp(), Copier::new());
        let mut source = slow();
        let error = copier.run(&mut source, &mut b).await.unwrap_err();
        assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Source)));
        assert_eq!(copier.run(&mut source, &mut b).await.unwrap(), 7);
        let (mut a, mut relay) = (join(slow(), tokio::io::sink()), Relay::new());
        let mut b = join(tokio::io::empty(), b);
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (7, 0));
        drop(b);
        assert_same(&Collector::start(server).finish(), b"at lastat last");
    });
}

/// A write is told it once, and then a read of the same connection takes it for one that has ended.
#[test]
fn a_connection_that_is_lost_to_a_write_is_lost_to_the_other_direction_too() {
    kit::run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let mut relay = Relay::new();
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        client.write_all(b"lost").unwrap();
        let lost = hook::failing(Syscall::Write, Errno::TIMEDOUT.raw_os_error()).times(1).install();
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert_eq!(
            (error.end(), error.side(), lost.hits()),
            (Some(RelayEnd::B), Some(Side::Sink), 1)
        );
        assert_eq!(relay.take_residues().0, b"lost");
        drop(server);
        drop(client);
        for _ in 0..2 {
            let error = relay.run(&mut a, &mut b).await.unwrap_err();
            assert_eq!((error.kind(), error.end()), (ErrorKind::TimedOut, Some(RelayEnd::B)));
        }
    });
}

/// A file on another machine, which takes bytes later.
struct LateFile {
    is_late: bool,
    file: std::fs::File,
}

impl AsyncWrite for LateFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.is_late) {
            return Poll::Ready(Err(Errno::TIMEDOUT.into()));
        }
        Poll::Ready(self.file.write(buf))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Sink<TokioIo> for LateFile {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::fd(PollFd::stream(self.file.as_fd()))
    }
}

impl WriteReady for LateFile {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::file(&self.file).matching(fd)
    }
}

/// It is at one end with a connection, which is read from.
#[test]
fn a_file_that_is_late_is_written_to_again() {
    kit::run(async {
        let ((mut client, mut a), (server, b)) = (kit::tcp(), kit::tcp());
        let mut b = join(b, LateFile { is_late: true, file: files::empty() });
        let mut relay = Relay::new();
        client.write_all(b"at last").unwrap();
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert_eq!((error.kind(), error.end()), (ErrorKind::TimedOut, Some(RelayEnd::B)));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        drop(server);
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (7, 0));
        assert_same(&files::contents(&b.writer().file), b"at last");
    });
}

/// The halves of `tokio::io::split` and TLS streams do not show what they read from.
#[test]
fn also_one_that_hides_its_socket_never_looks_like_one_that_has_ended() {
    kit::run(async {
        let (mut lost, mut copier) = (Opaque(Slow { is_late: true, rest: b"" }), Copier::new());
        for _ in 0..3 {
            let error = copier.run(&mut lost, &mut tokio::io::sink()).await.unwrap_err();
            assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Source)));
        }
        // What follows it does not show either which of the two it was.
        let file = tokio::fs::File::from_std(files::holding(b"the rest"));
        let mut lost = Opaque(Slow { is_late: true, rest: b"" }).chain(file);
        let (mut to, mut copier) = (Vec::new(), Copier::new());
        for _ in 0..3 {
            let error = copier.run(&mut lost, &mut to).await.unwrap_err();
            assert_eq!((error.kind(), error.side()), (ErrorKind::TimedOut, Some(Side::Source)));
        }
        assert!(to.is_empty());
    });
}

/// A peer that is silent for too long, or out of reach. The kernel tells it once.
#[test]
fn a_connection_that_is_lost_never_looks_like_one_that_has_ended() {
    for (errno, kind) in [
        (Errno::TIMEDOUT, ErrorKind::TimedOut),
        (Errno::HOSTUNREACH, ErrorKind::HostUnreachable),
        (Errno::NETUNREACH, ErrorKind::NetworkUnreachable),
    ] {
        kit::run(async {
            let ((mut client, mut a), (_server, mut b)) = (kit::tcp(), kit::tcp());
            client.write_all(b"cut off").unwrap();
            let mut copier = Copier::new();
            let lost = hook::failing(Syscall::Read, errno.raw_os_error()).times(1).install();
            let error = copier.run(&mut a, &mut b).await.unwrap_err();
            assert_eq!((error.kind(), lost.hits()), (kind, 1));
            assert!(!error.is_timeout());
            drop(client);
            for _ in 0..2 {
                let error = copier.run(&mut a, &mut b).await.unwrap_err();
                assert_eq!((error.kind(), error.end()), (kind, Some(RelayEnd::A)));
            }
        });
    }
}
