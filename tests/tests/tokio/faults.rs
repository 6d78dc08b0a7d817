//! Cases that break other relays.

use std::io::{Read, Write};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::sockets;
use zc_tokio::{Direction, Operation, Options, Relay, RelayEnd, Side};

use crate::kit;

/// tokio-splice2, Go and HAProxy with splice never deliver what comes after an urgent byte.
#[test]
fn an_urgent_byte_holds_nothing_back() {
    for options in [Options::default(), with_a_timer()] {
        gets_past_an_urgent_byte(options);
    }
}

/// With a timeout short reads are taken for the last ones, for a while.
fn with_a_timer() -> Options {
    let mut options = Options::default();
    options.idle_timeout = Some(Duration::from_secs(60));
    options
}

fn gets_past_an_urgent_byte(options: Options) {
    const SIDE: usize = 100_000;
    kit::run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let data = data::bytes(1, 2 * SIDE);
        client.write_all(&data[..SIDE]).unwrap();
        assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
        client.write_all(&data[SIDE..]).unwrap();
        let mut relay = Relay::with_options(options);
        let mut got = vec![0; data.len()];
        let reading = tokio::task::spawn_blocking(move || {
            (&server).read_exact(&mut got).unwrap();
            (got, server)
        });
        // The client does not close: only the bytes themselves wake the relay.
        let (got, server) = tokio::select! {
            _ = relay.run(&mut a, &mut b) => panic!("no one has closed"),
            got = reading => got.unwrap(),
        };
        assert_same(&got, &data);
        drop((client, server));
        relay.run(&mut a, &mut b).await.unwrap();
    });
}

/// A short message with an urgent byte in it, and then silence, as a Telnet client sends it (RFC 854).
#[test]
fn an_urgent_byte_in_a_short_message_holds_nothing_back() {
    for options in [Options::default(), with_a_timer()] {
        gets_past_one_in_a_short_message(options);
    }
}

fn gets_past_one_in_a_short_message(options: Options) {
    const TIMES: usize = 4;
    kit::run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let server = std::sync::Arc::new(server);
        let mut relay = Relay::with_options(options);
        // From the second on the client is known for a sender of messages.
        for _ in 0..TIMES {
            client.write_all(b"be").unwrap();
            assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
            client.write_all(b"fore").unwrap();
            let peer = std::sync::Arc::clone(&server);
            let reading = tokio::task::spawn_blocking(move || {
                let mut got = [0; 6];
                (&*peer).read_exact(&mut got).unwrap();
                got
            });
            let got = tokio::select! {
                _ = relay.run(&mut a, &mut b) => panic!("no one has closed"),
                got = reading => got.unwrap(),
            };
            assert_eq!(&got, b"before");
        }
        drop((client, server));
        relay.run(&mut a, &mut b).await.unwrap();
    });
}

/// tokio-splice2 hangs.
#[test]
fn a_reset_while_idle_is_noticed() {
    kit::run(async {
        let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let mut relay = Relay::new();
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        sockets::reset(server);
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        assert!(error.is_disconnect(), "{error}");
        assert_eq!((error.direction(), error.side()), (Some(Direction::BToA), Some(Side::Source)));
        assert_eq!((error.end(), error.operation()), (Some(RelayEnd::B), Operation::Read));
        drop(client);
    });
}

/// Only a wait for the error itself tells of such a reset.
#[test]
fn a_reset_while_the_sink_is_full_is_noticed() {
    kit::run(async {
        let ((mut client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let feeding = std::thread::spawn(move || {
            let chunk = data::bytes(1, 1 << 20);
            client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            while client.write_all(&chunk).is_ok() {}
            client
        });
        let mut relay = Relay::new();
        let resetting = tokio::task::spawn_blocking(|| sockets::reset(feeding.join().unwrap()));
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        resetting.await.unwrap();
        assert!(error.is_disconnect(), "{error}");
        assert_eq!((error.end(), error.operation()), (Some(RelayEnd::A), Operation::Read));
        // What was taken and not delivered can be had, and the error stays.
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap_err().end(), Some(RelayEnd::A));
        let (counts, in_flight) = (relay.counts().0, relay.in_flight().0);
        let collector = Collector::start(server);
        let residue = relay.take_residues().0;
        assert_eq!(residue.len(), in_flight);
        drop(b);
        let mut got = collector.finish();
        assert_eq!(got.len() as u64, counts);
        got.extend(residue);
        let all = data::bytes(1, 1 << 20);
        for (at, chunk) in got.chunks(1 << 20).enumerate() {
            assert!(chunk == &all[..chunk.len()], "chunk {at}");
        }
    });
}

/// The client has half-closed and hears the answer. It resets while the server is silent.
#[test]
fn a_reset_of_a_half_closed_end_is_noticed() {
    kit::run(async {
        let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut relay = Relay::new();
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        let resetting = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(50));
            sockets::reset(client);
        });
        let error = relay.run(&mut a, &mut b).await.unwrap_err();
        resetting.await.unwrap();
        assert_eq!(error.end(), Some(RelayEnd::A), "{error}");
        drop(server);
    });
}

/// tokio-splice2 delivered 2,368,917 of 4,194,304 bytes and returned `Ok`.
#[test]
fn a_target_length_is_met() {
    const LEN: usize = 4 << 20;
    for piece in [1000, 1 << 20] {
        kit::run(async {
            let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
            let data = data::bytes(1, LEN + 500_000);
            let (talks, hears) = crate::relays::talk(client, data.clone(), piece);
            let listens = Collector::start(server.try_clone().unwrap());
            let mut options = Options::default();
            options.limits.0 = LEN as u64;
            let relaying = async {
                let mut relay = Relay::with_options(options);
                let counts = relay.run(&mut a, &mut b).await;
                (counts, a, b)
            };
            let ending = tokio::task::spawn_blocking(move || {
                let got = listens.finish();
                drop(server);
                got
            });
            let ((counts, a, _), got) = tokio::join!(relaying, ending);
            assert_eq!(counts.unwrap(), (LEN as u64, 0));
            assert_same(&got.unwrap(), &data[..LEN]);
            drop(a);
            let _ = talks.finish();
            assert_eq!(hears.finish(), b"");
        });
    }
}

/// The sink's peer is gone while the source is silent.
#[test]
fn a_copy_hears_of_its_sinks_reset() {
    kit::run(async {
        let ((client, mut from), (server, mut to)) = (kit::tcp(), kit::tcp());
        let mut copier = zc_tokio::Copier::new();
        assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
        sockets::reset(server);
        let error = copier.run(&mut from, &mut to).await.unwrap_err();
        assert!(error.is_disconnect(), "{error}");
        assert_eq!((error.side(), error.operation()), (Some(Side::Sink), Operation::Write));
        drop(client);
    });
}
