//! A relay waits until more bytes of a bulk sender have come, and for nothing else.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_tokio::{Copier, Opaque, Options, Relay};

use crate::kit;
use crate::relays::talk;

fn options(delay: Duration) -> Options {
    let mut options = Options::default();
    options.coalesce = Some(delay);
    options
}

#[test]
fn every_byte_arrives_dropped_or_not() {
    for drops in [false, true] {
        kit::run(async move {
            let data = data::bytes(1, 6_000_000);
            let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
            let (fed, answered) = talk(client, data.clone(), 64 * 1024);
            let (_, hears) = talk(server, b"answer".to_vec(), 6);
            let mut relay = Relay::with_options(options(Duration::from_millis(1)));
            let counts = loop {
                if !drops {
                    break relay.run(&mut a, &mut b).await.unwrap();
                }
                let mut run = Box::pin(relay.run(&mut a, &mut b));
                if let Some(outcome) = kit::poll_once(run.as_mut()).await {
                    break outcome.unwrap();
                }
                tokio::task::yield_now().await;
                drop(run);
                for end in [&a, &b] {
                    assert_eq!(zc_linux::fd::low_water(end.as_fd()).unwrap(), 1);
                }
            };
            assert_eq!(counts, (data.len() as u64, 6));
            assert_same(&hears.finish(), &data);
            assert_eq!(answered.finish(), b"answer");
            drop(fed);
        });
    }
}

/// The tail of a bulk, fewer bytes than are waited for, arrives all the same.
#[test]
fn a_tail_does_not_wait_for_ever() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
        let data = data::bytes(2, 300_000);
        let sent = data.clone();
        let talking = tokio::task::spawn_blocking(move || {
            let mut got = vec![0; 300_000];
            server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.write_all(&sent[..200_000]).unwrap();
            server.read_exact(&mut got[..200_000]).unwrap();
            client.write_all(&sent[200_000..]).unwrap();
            server.read_exact(&mut got[200_000..]).unwrap();
            // … and a single byte.
            client.write_all(b"!").unwrap();
            server.read_exact(&mut [0]).unwrap();
            (got, client, server)
        });
        let mut relay = Relay::with_options(options(Duration::from_millis(20)));
        let (got, client, server) = tokio::select! {
            _ = relay.run(&mut a, &mut b) => panic!("no one has ended"),
            done = talking => done.unwrap(),
        };
        assert_same(&got, &data);
        drop(client);
        let collector = Collector::start(server.try_clone().unwrap());
        drop(server);
        let _ = relay.run(&mut a, &mut b).await;
        drop(b);
        assert_eq!(collector.finish(), b"");
    });
}

/// Too few bytes to wake the task wait for the delay, by the runtime's clock, and no longer.
#[test]
fn a_little_more_waits_for_the_delay() {
    const DELAY: Duration = Duration::from_millis(20);
    kit::run_paused(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        // In a task of its own, which only its own timer and readiness wake.
        let relaying =
            tokio::spawn(
                async move { Relay::with_options(options(DELAY)).run(&mut a, &mut b).await },
            );
        let (mut got, mut longest) = (vec![0; 100_000], Duration::ZERO);
        for _ in 0..10 {
            client.write_all(&[1; 100_000]).await.unwrap();
            // The relay has delivered this, and waits for more bytes together.
            server.read_exact(&mut got).await.unwrap();
            let begun = Instant::now();
            client.write_all(&[2; 1000]).await.unwrap();
            server.read_exact(&mut got[..1000]).await.unwrap();
            longest = longest.max(begun.elapsed());
        }
        drop((client, server));
        let _ended = relaying.await.unwrap();
        // A timer may be a millisecond late.
        assert!(DELAY <= longest && longest <= DELAY + Duration::from_millis(2), "{longest:?}");
    });
}

/// Gives all that it has at once, and then nothing for good.
struct Quiet {
    left: usize,
    polls: usize,
}

impl AsyncRead for Quiet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.polls += 1;
        if self.left == 0 {
            return Poll::Pending;
        }
        let n = self.left.min(buf.remaining());
        buf.put_slice(&vec![7; n]);
        self.left -= n;
        Poll::Ready(Ok(()))
    }
}

/// It says by itself when it has more.
#[test]
fn an_end_that_is_only_read_is_not_looked_at_again_and_again() {
    kit::run_paused(async {
        let mut source = Opaque(Quiet { left: 200_000, polls: 0 });
        let mut copier = Copier::with_options(options(Duration::from_millis(1)));
        let mut got = Vec::new();
        let copying = copier.run(&mut source, &mut got);
        let outcome = tokio::time::timeout(Duration::from_secs(10), copying).await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(got.len(), 200_000);
        assert!(source.0.polls < 100, "{} polls", source.0.polls);
    });
}
