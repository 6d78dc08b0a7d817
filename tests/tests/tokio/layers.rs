//! What lies between a copy and its descriptors.

use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, ReadBuf,
};
use tokio::net::UnixStream;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_tokio::{
    Copier, Mechanism, Opaque, Options, ReadReady, Registered, Relay, Rewind, Sink, Source,
    TokioIo, Upstream, WriteReady,
};

use crate::kit;

const LEN: usize = 1_500_000;

#[test]
fn a_limit_is_met_and_what_is_behind_it_stays() {
    kit::run(async {
        let ((mut client, from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let data = data::bytes(1, LEN);
        let sent = data.clone();
        let feeder = Feeder::run(move || client.write_all(&sent));
        let collector = Collector::start(to_peer);
        let mut source = from.take(1_000_000).take(u64::MAX);
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut source, &mut to).await.unwrap(), 1_000_000);
        assert!(copier.report().moved_by(Mechanism::Splice) > 0);
        assert_eq!(source.get_ref().limit(), 0);
        let mut rest = Vec::new();
        let mut from = source.into_inner().into_inner();
        from.read_to_end(&mut rest).await.unwrap();
        assert_same(&rest, &data[1_000_000..]);
        drop((to, feeder));
        assert_same(&collector.finish(), &data[..1_000_000]);
    });
}

#[test]
fn buffers_are_gone_past() {
    kit::run(async {
        let ((mut client, from), (to_peer, to)) = (kit::tcp(), kit::tcp());
        let data = data::bytes(2, LEN);
        let sent = data.clone();
        let feeder = Feeder::run(move || {
            client.write_all(b"header\n")?;
            client.write_all(&sent)
        });
        let collector = Collector::start(to_peer);
        let mut from = BufReader::new(from);
        let mut header = String::new();
        from.read_line(&mut header).await.unwrap(); // … reads ahead
        let mut to = BufWriter::new(to);
        to.write_all(b"HEADER\n").await.unwrap(); // … holds it back
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut from, &mut to).await.unwrap(), LEN as u64);
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 2);
        drop((to, feeder));
        let got = collector.finish();
        assert_eq!(&got[..7], b"HEADER\n");
        assert_same(&got[7..], &data);
    });
}

/// What a writer holds back does not wait for a source that has nothing (tokio-rs/tokio#4001).
#[test]
fn what_is_held_back_is_flushed_while_the_source_stalls() {
    kit::run(async {
        let ((mut client, mut from), (to_peer, to)) = (kit::tcp(), kit::tcp());
        let mut to = BufWriter::new(to);
        to.write_all(b"held back, ").await.unwrap();
        let (got, to_peer) = tokio::select! {
            _ = zc_tokio::copy(&mut from, &mut to) => panic!("the client has not ended"),
            got = hears(to_peer, 11) => got,
        };
        assert_eq!(got, b"held back, ");

        // The bytes of an opaque source go through the buffer.
        let (mut theirs, ours) = tokio::io::duplex(64);
        let mut ours = Opaque(ours);
        theirs.write_all(b"some").await.unwrap();
        let got = tokio::select! {
            _ = zc_tokio::copy(&mut ours, &mut to) => panic!("it has not ended"),
            got = hears(to_peer, 4) => got.0,
        };
        assert_eq!(got, b"some");
        client.write_all(b"!").unwrap();
    });
}

/// The next `n` bytes that a peer receives, and the peer.
async fn hears(mut peer: std::net::TcpStream, n: usize) -> (Vec<u8>, std::net::TcpStream) {
    tokio::task::spawn_blocking(move || {
        let mut got = vec![0; n];
        peer.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        peer.read_exact(&mut got).unwrap();
        (got, peer)
    })
    .await
    .unwrap()
}

#[test]
fn links_of_a_chain_come_one_after_the_other() {
    kit::run(async {
        let (data, (to_peer, mut to)) = (data::bytes(3, LEN), kit::unix());
        let ((first_peer, first), (second_peer, second)) = (kit::tcp(), kit::unix());
        let feeders = (
            Feeder::pieces(first_peer, data[..LEN / 2].to_vec(), 300_000),
            Feeder::pieces(second_peer, data[LEN / 2..].to_vec(), 300_000),
        );
        let collector = Collector::start(to_peer);
        let mut source =
            AsyncReadExt::chain(&b"header"[..], first).chain(second).chain(&b"trailer"[..]);
        let mut copier = Copier::new();
        let mut random = fastrand::Rng::with_seed(3);
        let moved = loop {
            let mut run = std::pin::pin!(copier.run(&mut source, &mut to));
            if let Some(outcome) = kit::poll_once(run.as_mut()).await {
                break outcome.unwrap();
            }
            if random.bool() {
                tokio::task::yield_now().await;
                if let Some(outcome) = kit::poll_once(run.as_mut()).await {
                    break outcome.unwrap();
                }
            }
        };
        assert_eq!(moved, LEN as u64 + 13);
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 4);
        drop((to, feeders));
        let got = collector.finish();
        assert_eq!((&got[..6], &got[LEN + 6..]), (&b"header"[..], &b"trailer"[..]));
        assert_same(&got[6..LEN + 6], &data);
    });
}

#[test]
fn bytes_read_ahead_go_first() {
    kit::run(async {
        let ((client, a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let data = data::bytes(4, LEN);
        let (fed, answered) = crate::relays::talk(client, data[1000..].to_vec(), 100_000);
        let (_, hears) = crate::relays::talk(server, b"answer".to_vec(), 6);
        let mut a = Rewind::new(&data[..1000], a);
        let mut relay = Relay::new();
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (LEN as u64, 6));
        assert!(relay.reports().0.moved_by(Mechanism::Splice) > LEN as u64 / 2);
        assert_eq!(a.ahead(), b"");
        assert_same(&hears.finish(), &data);
        assert_eq!(answered.finish(), b"answer");
        drop(fed);

        let mut rewind = Rewind::new("ahead", &b", behind"[..]);
        let mut two = [0; 2];
        rewind.read_exact(&mut two).await.unwrap();
        assert_eq!((&two, rewind.ahead()), (b"ah", &b"ead"[..]));
        let mut out = Vec::new();
        zc_tokio::copy(&mut rewind, &mut out).await.unwrap();
        assert_eq!(out, b"ead, behind");
    });
}

/// A user's wrapper, which says "through" for all kinds of I/O.
struct Metered<S> {
    inner: S,
    taken: u64,
    given: u64,
}

impl<Io, S: Source<Io>> Source<Io> for Metered<S> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        Upstream::through(&mut self.inner)
    }
    fn taken(&mut self, n: u64) {
        self.taken += n;
    }
}

impl<Io, S: Sink<Io>> Sink<Io> for Metered<S> {
    fn downstream(&mut self) -> zc_tokio::Downstream<'_, Io> {
        zc_tokio::Downstream::through(&mut self.inner)
    }
    fn delivered(&mut self, n: u64) {
        self.given += n;
    }
}

impl<S: ReadReady> ReadReady for Metered<S> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.inner.read_ready(fd)
    }
}

impl<S: WriteReady> WriteReady for Metered<S> {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.inner.write_ready(fd)
    }
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.taken += (buf.filled().len() - before) as u64;
        outcome
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = outcome {
            self.given += n as u64;
        }
        outcome
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Its descriptor is not found: it does not say how to wait for it.
struct Forgetful(UnixStream);

impl<Io> Source<Io> for Forgetful
where
    UnixStream: Source<Io>,
{
    fn upstream(&mut self) -> Upstream<'_, Io> {
        Upstream::through(&mut self.0)
    }
}

impl ReadReady for Forgetful {}

impl tokio::io::AsyncRead for Forgetful {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

#[test]
fn a_user_s_wrappers_are_told_and_keep_the_speed() {
    kit::run(async {
        let data = data::bytes(5, LEN);
        let ((peer, from), (to_peer, to)) = (kit::tcp(), kit::tcp());
        let feeder = Feeder::pieces(peer, data.clone(), 100_000);
        let collector = Collector::start(to_peer);
        let mut from = Metered { inner: BufReader::new(from), taken: 0, given: 0 };
        let mut to = Metered { inner: BufWriter::new(to), taken: 0, given: 0 };
        let mut copier = Copier::new();
        copier.run(&mut from, &mut to).await.unwrap();
        assert_eq!((from.taken, to.given), (LEN as u64, LEN as u64));
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 2);
        drop((to, feeder));
        assert_same(&collector.finish(), &data);
    });
}

#[test]
fn a_descriptor_that_cannot_be_waited_for_is_read() {
    kit::run(async {
        let data = data::bytes(6, LEN);
        let ((peer, from), (to_peer, mut to)) = (kit::unix(), kit::tcp());
        let feeder = Feeder::pieces(peer, data.clone(), 100_000);
        let collector = Collector::start(to_peer);
        let mut copier = Copier::new();
        copier.run(&mut Forgetful(from), &mut to).await.unwrap();
        assert_eq!(copier.report().moved_by(Mechanism::ReadWrite), LEN as u64);
        drop((to, feeder));
        assert_same(&collector.finish(), &data);
    });
}

/// `Opaque` on one side, on the other and on both, dropped after every poll.
#[test]
fn opaque_ends_lose_nothing_either() {
    kit::run(async {
        let data = data::bytes(7, LEN);
        for (opaque_source, opaque_sink) in [(true, false), (false, true), (true, true)] {
            let ((peer, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
            let feeder = Feeder::pieces(peer, data.clone(), 100_000);
            let collector = Collector::start(to_peer);
            let mut copier = Copier::new();
            let moved = loop {
                let polled = match (opaque_source, opaque_sink) {
                    (true, false) => {
                        kit::poll_once(copier.run(&mut Opaque(&mut from), &mut to)).await
                    }
                    (false, true) => {
                        kit::poll_once(copier.run(&mut from, &mut Opaque(&mut to))).await
                    }
                    _ => {
                        let (mut from, mut to) = (Opaque(&mut from), Opaque(&mut to));
                        kit::poll_once(copier.run(&mut from, &mut to)).await
                    }
                };
                match polled {
                    Some(outcome) => break outcome.unwrap(),
                    None => tokio::task::yield_now().await,
                }
            };
            assert_eq!(moved, LEN as u64);
            drop((to, feeder));
            assert_same(&collector.finish(), &data);
        }
    });
}

#[test]
fn trait_objects_and_boxes_are_copied() {
    kit::run(async {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let mut source: Box<dyn zc_tokio::AsyncSource + Send> = Box::new(&b"boxed"[..]);
        let sink: &mut dyn zc_tokio::AsyncSink = &mut ours;
        assert_eq!(zc_tokio::copy(&mut source, sink).await.unwrap(), 5);
        let mut got = [0; 5];
        theirs.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"boxed");
    });
}

/// A chain that drops its first half once a read has found its end.
struct Dropping<A, B> {
    first: Option<A>,
    second: B,
}

impl<A, B> tokio::io::AsyncRead for Dropping<A, B>
where
    A: tokio::io::AsyncRead + Unpin,
    B: tokio::io::AsyncRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        if let Some(first) = &mut self.first {
            match Pin::new(first).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == before => self.first = None,
                outcome => return outcome,
            }
        }
        Pin::new(&mut self.second).poll_read(cx, buf)
    }
}

impl<Io, A: Source<Io>, B: Source<Io>> Source<Io> for Dropping<A, B> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        match &mut self.first {
            Some(first) => Upstream::then(first, &mut self.second),
            None => Upstream::through(&mut self.second),
        }
    }
}

impl<A: ReadReady, B: ReadReady> ReadReady for Dropping<A, B> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        let first = self.first.as_ref().and_then(|first| first.read_ready(fd));
        first.or_else(|| self.second.read_ready(fd))
    }
}

#[test]
fn a_half_that_a_read_drops_is_not_taken_for_the_next_one() {
    kit::run(async {
        let data = data::bytes(9, LEN);
        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        let ends = Dropping { first: Some(Opaque(&data[..])), second: &b"tail"[..] };
        let mut source = Dropping { first: Some(&b"head"[..]), second: ends };
        let moved = Copier::new().run(&mut source, &mut to).await.unwrap();
        assert_eq!(moved, LEN as u64 + 8);
        drop(to);
        assert_same(&collector.finish(), &[b"head", &data[..], b"tail"].concat());
    });
}

/// A chain that forgets its first half once that has ended, and a second one that panics when it is first read.
struct Forgets {
    first: Option<&'static [u8]>,
    rest: tokio::io::Chain<Opaque<Panics>, &'static [u8]>,
}

impl AsyncRead for Forgets {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(first) = &mut self.first {
            if !first.is_empty() {
                return Pin::new(first).poll_read(cx, buf);
            }
            self.first = None;
        }
        Pin::new(&mut self.rest).poll_read(cx, buf)
    }
}

impl Source<TokioIo> for Forgets {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        match &mut self.first {
            Some(first) => Upstream::then(first, &mut self.rest),
            None => Upstream::through(&mut self.rest),
        }
    }
}

impl ReadReady for Forgets {
    fn read_ready(&self, _: RawFd) -> Option<Registered<'_>> {
        None
    }
}

struct Panics {
    panics: bool,
    rest: &'static [u8],
}

impl AsyncRead for Panics {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        assert!(!std::mem::take(&mut self.panics), "the panic of the test");
        Pin::new(&mut self.rest).poll_read(cx, buf)
    }
}

/// Which half a copy is at then, it has to find out anew.
#[test]
fn a_half_that_is_dropped_by_a_read_that_panics_is_not_counted() {
    kit::run(async {
        let second = Panics { panics: true, rest: b"two " };
        let rest = Opaque(second).chain(&b"three"[..]);
        let (mut source, mut sink) = (Forgets { first: Some(b"one "), rest }, Vec::new());
        let mut copier = Copier::new();
        kit::panics(copier.run(&mut source, &mut sink)).await;
        assert_eq!(copier.run(&mut source, &mut sink).await.unwrap(), 13);
        assert_same(&sink, b"one two three");
    });
}

/// A layer that panics when it is told of bytes, once.
struct Touchy<S> {
    inner: S,
    is_touchy: bool,
}

impl<S> Touchy<S> {
    fn new(inner: S) -> Self {
        Touchy { inner, is_touchy: true }
    }
    fn told(&mut self) {
        assert!(!std::mem::take(&mut self.is_touchy), "the panic of the test");
    }
}

impl AsyncRead for Touchy<UnixStream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl Source<TokioIo> for Touchy<UnixStream> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::through(&mut self.inner)
    }
    fn taken(&mut self, _: u64) {
        self.told();
    }
}

impl ReadReady for Touchy<UnixStream> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.inner.read_ready(fd)
    }
}

/// The bytes have moved. They are in the count, and the limit has fallen by them.
#[test]
fn what_a_layer_panics_about_is_counted() {
    kit::run(async {
        let ((mut client, from), (to_peer, mut to)) = (kit::unix(), kit::unix());
        client.write_all(b"hello").unwrap();
        let (mut source, mut options) = (Touchy::new(from), Options::default());
        options.limits.0 = 8;
        let mut copier = Copier::with_options(options);
        kit::panics(copier.run(&mut source, &mut to)).await;
        assert_eq!((copier.count(), copier.in_flight()), (5, 0));
        client.write_all(b" and more").unwrap();
        assert_eq!(copier.run(&mut source, &mut to).await.unwrap(), 8);
        drop(to);
        assert_same(&Collector::start(to_peer).finish(), b"hello an");
    });
}
