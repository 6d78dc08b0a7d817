//! What a relay and a copy move, between every pair of streams.

use std::io::{Read, Write};
use std::net::Shutdown;

use tokio::io::AsyncReadExt;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_tokio::{AsyncStream, Copier, Mechanism, Relay};

use crate::kit;

const LEN: usize = 3_000_000;

/// A blocking peer, with both halves of its connection.
pub(crate) trait Peer: Read + Write + Send + 'static {
    fn again(&self) -> Self;
    fn shut(&self);
}

impl Peer for std::net::TcpStream {
    fn again(&self) -> Self {
        self.try_clone().unwrap()
    }
    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Peer for std::os::unix::net::UnixStream {
    fn again(&self) -> Self {
        self.try_clone().unwrap()
    }
    fn shut(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// A peer that writes and half-closes on one thread, and reads to the end on another.
pub(crate) fn talk<P: Peer>(peer: P, data: Vec<u8>, piece: usize) -> (Feeder, Collector) {
    let mut writer = peer.again();
    let feeder = Feeder::run(move || {
        for piece in data.chunks(piece) {
            writer.write_all(piece)?;
        }
        writer.shut();
        Ok(())
    });
    (feeder, Collector::start(peer))
}

async fn relays<P: Peer, Q: Peer>(
    (a_peer, mut a): (P, impl AsyncStream),
    (b_peer, mut b): (Q, impl AsyncStream),
    piece: usize,
) -> Relay {
    let (up, down) = (data::bytes(1, LEN), data::bytes(2, LEN / 2));
    let a_talks = talk(a_peer, up.clone(), piece);
    let b_talks = talk(b_peer, down.clone(), piece);
    let mut relay = Relay::new();
    let counts = relay.run(&mut a, &mut b).await.unwrap();
    assert_eq!(counts, (up.len() as u64, down.len() as u64));
    assert_eq!((relay.counts(), relay.in_flight()), (counts, (0, 0)));
    // Both ends were shut down: the peers see an end though nothing has been closed.
    assert_same(&b_talks.1.finish(), &up);
    assert_same(&a_talks.1.finish(), &down);
    relay
}

#[test]
fn every_pair_of_streams_is_relayed() {
    for piece in [700, 65_536, LEN] {
        kit::run(async { relays(kit::tcp(), kit::tcp(), piece).await });
        kit::run(async { relays(kit::tcp(), kit::unix(), piece).await });
        kit::run(async { relays(kit::unix(), kit::tcp(), piece).await });
        kit::run(async { relays(kit::unix(), kit::unix(), piece).await });
    }
}

#[test]
fn large_pieces_are_spliced() {
    let relay = kit::run(async { relays(kit::tcp(), kit::tcp(), LEN).await });
    let (up, down) = relay.reports();
    for report in [up, down] {
        assert!(report.moved_by(Mechanism::Splice) > report.moved() / 2, "{report:?}");
    }
}

#[test]
fn the_plain_calls_move_every_byte() {
    kit::run(async {
        let ((a_peer, mut a), (b_peer, mut b)) = (kit::tcp(), kit::unix());
        let (up, down) = (data::bytes(1, LEN), data::bytes(2, 10));
        let a_talks = talk(a_peer, up.clone(), 100_000);
        let b_talks = talk(b_peer, down.clone(), 1);
        let counts = zc_tokio::copy_bidirectional(&mut a, &mut b).await.unwrap();
        assert_eq!(counts, (LEN as u64, 10));
        assert_same(&b_talks.1.finish(), &up);
        assert_same(&a_talks.1.finish(), &down);

        let ((peer, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let feeder = Feeder::pieces(peer, up.clone(), 30_000);
        let collector = Collector::start(to_peer);
        assert_eq!(zc_tokio::copy(&mut from, &mut to).await.unwrap(), LEN as u64);
        drop((to, feeder));
        assert_same(&collector.finish(), &up);
    });
}

#[test]
fn a_copy_does_not_shut_its_sink_down() {
    kit::run(async {
        let ((mut to_peer, mut to), mut copier) = (kit::tcp(), Copier::new());
        for part in [&b"one, "[..], b"two"] {
            assert_eq!(copier.run(&mut &part[..], &mut to).await.unwrap(), part.len() as u64);
        }
        drop(to);
        let mut got = String::new();
        to_peer.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one, two");
    });
}

/// One peer sends all that it has, and hears the answer long after.
#[test]
fn a_half_close_is_passed_on_and_the_other_way_goes_on() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
        let serving = std::thread::spawn(move || {
            let mut question = String::new();
            server.read_to_string(&mut question).unwrap(); // … to its end
            server.write_all(question.to_uppercase().as_bytes()).unwrap();
        });
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(Relay::new().run(&mut a, &mut b).await.unwrap(), (8, 8));
        serving.join().unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "QUESTION");
    });
}

/// Both halves of a stream, owned and borrowed.
#[test]
fn halves_are_as_fast() {
    kit::run(async {
        let data = data::bytes(3, LEN);
        let ((peer, from), (to_peer, to)) = (kit::tcp(), kit::tcp());
        let feeder = Feeder::pieces(peer, data.clone(), LEN);
        let collector = Collector::start(to_peer);
        let ((mut from, kept), (kept_too, mut to)) = (from.into_split(), to.into_split());
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut from, &mut to).await.unwrap(), LEN as u64);
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 2);
        drop((from, kept, kept_too, to, feeder));
        assert_same(&collector.finish(), &data);

        let ((peer, mut from), (to_peer, mut to)) = (kit::unix(), kit::unix());
        let feeder = Feeder::pieces(peer, data.clone(), LEN);
        let collector = Collector::start(to_peer);
        let mut copier = Copier::new();
        copier.run(&mut from.split().0, &mut to.split().1).await.unwrap();
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 2);
        drop((to, feeder));
        assert_same(&collector.finish(), &data);
    });
}

/// A task may move to another thread of the runtime between two polls.
#[test]
fn a_relay_can_be_spawned() {
    kit::run(async {
        let ((mut a_peer, mut a), (mut b_peer, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let relaying = tokio::spawn(async move { Relay::new().run(&mut a, &mut b).await });
        tokio::io::AsyncWriteExt::write_all(&mut a_peer, b"there").await.unwrap();
        let mut got = [0; 5];
        b_peer.read_exact(&mut got).await.unwrap();
        drop((a_peer, b_peer));
        assert_eq!((relaying.await.unwrap().unwrap(), &got), ((5, 0), b"there"));
    });
}

/// Many relays at a time on several threads, short ones and long ones. Then no descriptor is left.
#[test]
fn many_short_relays_leave_no_descriptor() {
    use tokio::io::AsyncWriteExt;

    async fn one(number: usize) {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let data =
            data::bytes(number as u64, if number.is_multiple_of(10) { 400_000 } else { 900 });
        let relaying = tokio::spawn(async move { Relay::new().run(&mut a, &mut b).await });
        let echoing = tokio::spawn(async move {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            server.write_all(&all).await.unwrap();
        });
        client.write_all(&data).await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_same(&got, &data);
        echoing.await.unwrap();
        let len = data.len() as u64;
        assert_eq!(relaying.await.unwrap().unwrap(), (len, len));
    }

    let _leaks = zc_testkit::fds::no_leaks_with_tokio();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for number in 0..1000 {
            all.spawn(one(number));
            if all.len() >= 50 {
                all.join_next().await.unwrap().unwrap();
            }
        }
        all.join_all().await;
    });
}
