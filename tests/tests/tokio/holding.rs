//! What a relay holds, for how long, and how other tasks see and stop it.

use std::future::Future;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufWriter, ReadBuf, join};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files};
use zc_tokio::{Copier, Direction, Opaque, Operation, Options, Relay, pool};

use crate::kit;

#[test]
fn an_idle_relay_holds_nothing_but_its_ends() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let before = fds::census();
        let mut relay = Relay::new();
        let data = data::bytes(1, 1_000_000);
        let talking = async {
            let mut got = vec![0; data.len()];
            let (sent, heard) = tokio::join!(client.write_all(&data), server.read_exact(&mut got));
            sent.and(heard.map(drop)).unwrap();
            got
        };
        let got = tokio::select! {
            _ = relay.run(&mut a, &mut b) => panic!("no one has ended"),
            got = talking => got,
        };
        assert_same(&got, &data);
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        assert_eq!((pool::in_use(), relay.in_flight()), (0, (0, 0)));
        pool::clear();
        assert_eq!(fds::census(), before);
    });
}

/// Its owner may have closed it, or unlinked it to have its room back.
#[test]
fn a_copier_that_does_not_run_keeps_no_file_open() {
    kit::run(async {
        let (mut client, mut from) = kit::unix();
        client.write_all(b"hello").unwrap();
        let mut to = tokio::fs::File::from_std(files::empty());
        let before = fds::census();
        let mut copier = Copier::new();
        while copier.count() < 5 {
            let running = copier.run(&mut from, &mut to);
            let stopped = tokio::time::timeout(Duration::from_millis(10), running).await;
            assert!(stopped.is_err(), "the client has not ended");
        }
        assert_eq!(fds::census(), before, "its future is gone");
        let file = to.into_std().await;
        assert_eq!(files::contents(&file), b"hello");
    });
}

/// Gives a byte a time without end, and takes a part of what its task may do for each.
struct Drip;

impl AsyncRead for Drip {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let room = buf.initialize_unfilled_to(1);
        let mut byte = ReadBuf::new(room);
        ready!(Pin::new(&mut tokio::io::repeat(b'.')).poll_read(cx, &mut byte))?;
        buf.advance(1);
        Poll::Ready(Ok(()))
    }
}

/// It takes all that the task may do in each poll.
#[test]
fn a_busy_direction_leaves_the_other_one_its_share() {
    kit::run(async {
        for is_there in [true, false] {
            let ((mut peer, end), (_other_peer, other)) = (kit::unix(), kit::unix());
            let mut busy = join(Opaque(Drip), Opaque(other));
            let mut quiet = join(end, tokio::io::sink());
            peer.write_all(b"hello").unwrap();
            let mut relay = Relay::new();
            for _ in 0..10 {
                let polled = match is_there {
                    true => kit::poll_once(relay.run(&mut busy, &mut quiet)).await,
                    false => kit::poll_once(relay.run(&mut quiet, &mut busy)).await,
                };
                assert!(polled.is_none());
                tokio::task::yield_now().await;
            }
            let (there, back) = relay.counts();
            let (dripped, heard) = if is_there { (there, back) } else { (back, there) };
            assert!(dripped > 100 && heard == 5, "{dripped}, {heard}");
        }
    });
}

/// A task may wait for any number of copies: those that have nothing to do use up nothing of what it may do.
#[test]
fn idle_relays_leave_the_others_of_their_task_its_share() {
    kit::run(async {
        let mut ends: Vec<_> = (0..300).map(|_| (kit::unix(), kit::unix())).collect();
        let mut relays: Vec<_> = ends.iter().map(|_| Relay::new()).collect();
        let (mut peers, mut running) = (Vec::new(), Vec::new());
        for (relay, ((client, a), (server, b))) in relays.iter_mut().zip(&mut ends) {
            peers.push((client, server));
            running.push(Box::pin(relay.run(a, b)));
        }
        for at in [0, 150, 299] {
            let mut polls = 0;
            let mut got = [0; 5];
            peers[at].1.set_nonblocking(true).unwrap();
            while peers[at].1.read_exact(&mut got).is_err() {
                // So that all of them have begun to wait.
                if polls == 10 {
                    peers[at].0.write_all(b"hello").unwrap();
                }
                polls += 1;
                assert!(polls < 20, "{at} gets nothing");
                std::future::poll_fn(|cx| {
                    for relay in &mut running {
                        assert!(relay.as_mut().poll(cx).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
            }
        }
    });
}

/// A handle tells the counts of its copy, whenever it is made and whatever ends the copy has by then.
#[test]
fn a_handle_counts_as_its_copy_does() {
    kit::run_paused(async {
        let (mut client, mut from) = tokio::io::duplex(100);
        let mut from = Opaque(&mut from);
        let mut copier = Copier::new();
        client.write_all(b"hello").await.unwrap();
        assert!(kit::poll_once(copier.run(&mut from, &mut Vec::new())).await.is_none());
        let handle = copier.handle();
        assert_eq!((handle.counts(), copier.count()), ((5, 0), 5));

        let second = std::time::Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(handle.idle(), second);
        copier.rebind();
        assert_eq!((handle.counts(), handle.idle()), ((0, 0), std::time::Duration::ZERO));
        copier.run(&mut &b"bye"[..], &mut Vec::new()).await.unwrap();
        assert_eq!(handle.counts(), (3, 0));
        copier.run(&mut &b""[..], &mut Vec::new()).await.unwrap();
        assert_eq!((handle.counts(), copier.count()), ((0, 0), 0));
    });
}

#[test]
fn other_tasks_see_what_has_moved_and_stop_it() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay = Relay::new();
        let handle = relay.handle();
        let relaying = tokio::spawn(async move {
            let outcome = relay.run(&mut a, &mut b).await;
            (relay, a, b, outcome)
        });
        let mut byte = [0];
        for there in 1..=3 {
            client.write_all(b"c").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            server.write_all(b"ss").await.unwrap();
            client.read_exact(&mut [0; 2]).await.unwrap();
            while handle.counts() != (there, 2 * there) {
                tokio::task::yield_now().await;
            }
        }
        assert!(handle.idle() < std::time::Duration::from_secs(10));
        handle.clone().abort();
        let (mut relay, mut a, mut b, outcome) = relaying.await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!((error.operation(), error.counts()), (Operation::Abort, (3, 6)));
        assert!(!error.is_disconnect() && !error.is_timeout());

        // The relay has been stopped once, and goes on.
        drop((client, server));
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (3, 6));
    });
}

#[test]
fn progress_adds_up() {
    kit::run(async {
        let ((client, mut a), (server, mut b)) = (kit::tcp(), kit::tcp());
        let seen = Arc::new(Mutex::new((0, 0)));
        let tells = Arc::clone(&seen);
        let mut relay = Relay::new().on_progress(move |direction, bytes| {
            assert!(bytes > 0);
            let mut seen = tells.lock().unwrap();
            match direction {
                Direction::AToB => seen.0 += bytes,
                Direction::BToA => seen.1 += bytes,
            }
        });
        let talks = [
            crate::relays::talk(client, data::bytes(1, 700_000), 10_000),
            crate::relays::talk(server, data::bytes(2, 300_000), 10_000),
        ];
        let counts = relay.run(&mut a, &mut b).await.unwrap();
        assert_eq!((counts, *seen.lock().unwrap()), ((700_000, 300_000), (700_000, 300_000)));
        let [there, back] = talks.map(|(_, hears)| hears.finish().len());
        assert_eq!((there, back), (300_000, 700_000));
    });
}

/// One poll moves no more than a turn, and no more is in flight than the options allow.
#[test]
fn a_turn_and_the_most_in_flight_are_kept() {
    kit::run(async {
        let ((mut client, mut from), (_server, mut to)) = (kit::unix(), kit::unix());
        client.write_all(&[7; 150_000]).unwrap();
        let mut options = Options::default();
        options.budget = 10_000;
        let mut copier = Copier::with_options(options);
        let mut counts = vec![0];
        while copier.count() < 100_000 {
            assert!(kit::poll_once(copier.run(&mut from, &mut to)).await.is_none());
            counts.push(copier.count());
            tokio::task::yield_now().await;
        }
        assert!(counts.windows(2).all(|pair| pair[1] - pair[0] <= 10_000), "{counts:?}");

        let ((mut client, mut from), (_server, mut to)) = (kit::tcp(), kit::tcp());
        let feeding = std::thread::spawn(move || {
            client.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
            while client.write_all(&[7; 100_000]).is_ok() {}
        });
        let mut options = Options::default();
        options.max_in_flight = 5000;
        let mut copier = Copier::with_options(options);
        while !feeding.is_finished() {
            let _ = kit::poll_once(copier.run(&mut from, &mut to)).await;
            assert!(copier.in_flight() <= 5000);
            tokio::task::yield_now().await;
        }
        feeding.join().unwrap();
    });
}

/// The most that one poll moves, by every mechanism.
#[test]
fn no_poll_moves_more_than_a_turn() {
    const TURN: u64 = 1 << 20;
    for case in 0..6 {
        kit::run(async move {
            let data = data::bytes(1, 8 << 20);
            let ((peer, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
            let ((unix_peer, mut unix), limit) = (kit::unix(), data.len() as u64);
            let collector = zc_testkit::collector::Collector::start(to_peer);
            let peer: Box<dyn Write + Send> =
                if case == 1 { Box::new(unix_peer) } else { Box::new(peer) };
            let feeder = (case < 4).then(|| {
                let data = data.clone();
                zc_testkit::feeder::Feeder::pieces(peer, data, 1 << 20)
            });
            let mut options = Options::default();
            options.budget = TURN;
            let mut copier = Copier::with_options(options);
            let mut memory = &data[..];
            let mut buffered = tokio::io::BufReader::with_capacity(8 << 20, &data[..]);
            if case == 5 {
                tokio::io::AsyncBufReadExt::fill_buf(&mut buffered).await.unwrap();
            }
            let mut most = 0;
            loop {
                let before = copier.count();
                let polled = match case {
                    0 => kit::poll_once(copier.run(&mut from, &mut to)).await,
                    1 => kit::poll_once(copier.run(&mut unix, &mut to)).await,
                    2 => kit::poll_once(copier.run(&mut Opaque(&mut from), &mut to)).await,
                    3 => kit::poll_once(copier.run(&mut from, &mut Opaque(&mut to))).await,
                    4 => kit::poll_once(copier.run(&mut memory, &mut to)).await,
                    _ => kit::poll_once(copier.run(&mut buffered, &mut Opaque(&mut to))).await,
                };
                most = most.max(copier.count() - before);
                if let Some(moved) = polled {
                    assert_eq!(moved.unwrap(), limit, "case {case}");
                    break;
                }
                tokio::task::yield_now().await;
            }
            assert!(most <= TURN, "case {case}: {most} bytes in one poll");
            drop((to, feeder));
            assert_same(&collector.finish(), &data);
        });
    }
}

/// A reader that works for a millisecond for each of its bytes, as decompression may.
struct Works {
    left: usize,
    reads: usize,
}

impl tokio::io::AsyncRead for Works {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let begin = thread_time();
        while thread_time() - begin < std::time::Duration::from_millis(1) {}
        let n = buf.remaining().min(self.left).min(8192);
        buf.initialize_unfilled_to(n).fill(7);
        buf.advance(n);
        self.left -= n;
        self.reads += 1;
        std::task::Poll::Ready(Ok(()))
    }
}

fn thread_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A poll gives way once it has used up its share of its thread's CPU time, however little it has moved. (Other load
/// on the machine makes no difference.)
#[test]
fn a_poll_gives_way_in_time() {
    kit::run(async {
        let ((peer, _from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let collector = zc_testkit::collector::Collector::start(to_peer);
        let (mut works, mut copier) = (Opaque(Works { left: 200_000, reads: 0 }), Copier::new());
        let mut most = 0;
        loop {
            let before = works.0.reads;
            let polled = kit::poll_once(copier.run(&mut works, &mut to)).await;
            most = most.max(works.0.reads - before);
            if let Some(moved) = polled {
                assert_eq!(moved.unwrap(), 200_000);
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(most <= 3, "{most} reads of a millisecond in one poll");
        drop((to, peer));
        assert_same(&collector.finish(), &[7; 200_000]);
    });
}

/// Stalled relays hold little, and a pipe only as long as there are some to spare.
#[test]
fn a_hundred_stalled_relays_hold_little() {
    kit::run(async {
        let mut relays = Vec::new();
        for _ in 0..100 {
            let ((mut client, a), (server, b)) = (kit::tcp(), kit::tcp());
            client.set_nonblocking(true).unwrap();
            while client.write(&[7; 1 << 20]).is_ok() {}
            relays.push((Relay::new(), client, a, server, b));
        }
        for _ in 0..200 {
            for (relay, client, a, _, b) in &mut relays {
                let _ = client.write(&[7; 1 << 16]);
                assert!(kit::poll_once(relay.run(a, b)).await.is_none());
            }
            tokio::task::yield_now().await;
        }
        let most = relays.iter().map(|(relay, ..)| relay.in_flight().0).max().unwrap();
        assert!(0 < most && most <= 64 * 1024, "{most} bytes");
        assert!(pool::in_use() <= pool::MAX_IN_USE / 2 + 1, "{} pipes", pool::in_use());
    });
}

/// A message is one read, which shows that nothing is behind it, and one write. So is an answer, although it would be
/// spliced if more came with it.
#[test]
fn a_message_takes_two_calls() {
    let mut timed = Options::default();
    timed.idle_timeout = Some(std::time::Duration::from_secs(60));
    for options in [Options::default(), timed] {
        kit::run(takes_two_calls(options));
    }
}

async fn takes_two_calls(options: Options) {
    const TIMES: u64 = 200;
    let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
    let mut relay = Relay::with_options(options);
    let (question, mut answer) = ([7; 1024], [7; 16 * 1024]);
    let talking = async {
        for _ in 0..TIMES {
            client.write_all(&question).await.unwrap();
            server.read_exact(&mut [0; 1024]).await.unwrap();
            server.write_all(&answer).await.unwrap();
            client.read_exact(&mut answer).await.unwrap();
        }
    };
    tokio::select! {
        _ = relay.run(&mut a, &mut b) => panic!("no one has ended"),
        () = talking => {}
    }
    let (there, back) = relay.reports();
    let calls = there.calls() + back.calls();
    // Now and then the relay looks for more, or a part of an answer comes by itself.
    assert!((4 * TIMES..5 * TIMES).contains(&calls), "{calls} calls for {TIMES} requests");
}

/// A sink that stalls again and again, after it had room for much or for little, and a source that is always ahead of
/// it: no stall holds more than 64 KiB. Pieces of 100 bytes take up most of the kernel's memory around them.
#[test]
fn no_stall_holds_more_than_64_kib() {
    fn goes_on(mut client: impl Write, relay: &Relay, piece: usize) {
        let bytes = vec![7; piece];
        while client.write(&bytes).is_ok() {}
        let (held, _) = relay.in_flight();
        assert!(held <= 64 * 1024, "{held} bytes, of pieces of {piece}");
    }
    async fn stalls(
        (client, a): (std::net::TcpStream, tokio::net::TcpStream),
        (mut server, mut b): (impl Read, impl zc_tokio::AsyncSource + zc_tokio::AsyncSink),
        piece: usize,
    ) {
        client.set_nonblocking(true).unwrap();
        client.set_nodelay(true).unwrap();
        let (mut a, mut relay) = (a, Relay::new());
        let mut got = vec![0; 3 << 20];
        for round in 0..300 {
            goes_on(&client, &relay, piece);
            assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
            // Now and then the reader takes a sip, or nearly all that there is.
            if round % 10 == 0 {
                let most = got.len() >> (round / 10 % 8);
                let mut read = 0;
                while let Ok(n) = server.read(&mut got[read..most]) {
                    read += n;
                    if read == most {
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }
    kit::run(async {
        for piece in [100, 1 << 20] {
            let (server, b) = kit::tcp();
            server.set_nonblocking(true).unwrap();
            stalls(kit::tcp(), (server, b), piece).await;
            let (server, b) = kit::unix();
            server.set_nonblocking(true).unwrap();
            stalls(kit::tcp(), (server, b), piece).await;
        }
    });
}

/// It is read in any case, so there is no question about its ends: a read, a write, and the read that finds the end.
#[test]
fn a_short_upload_asks_nothing_about_its_ends() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let data = data::bytes(1, 16 * 1024);
        client.write_all(&data).await.unwrap();
        client.shutdown().await.unwrap();
        server.shutdown().await.unwrap();
        let mut relay = Relay::new();
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (16 * 1024, 0));
        let calls = relay.reports().0.calls();
        drop((a, b));
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_same(&got, &data);
        // The end may come a moment later than the bytes.
        assert!((3..=5).contains(&calls), "{calls} calls");
    });
}

/// A spawned future has to be `Send`, also over streams that are not `Sync`.
#[test]
fn relays_of_trait_objects_can_be_spawned() {
    trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
    impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}
    kit::run(async {
        let ((mut client, a), (mut server, mut b)) = (tokio::io::duplex(100), kit::tcp_tasks());
        let a: Box<dyn Stream> = Box::new(a);
        let relaying =
            tokio::spawn(async move { Relay::new().run(&mut zc_tokio::Opaque(a), &mut b).await });
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = String::new();
        server.read_to_string(&mut got).await.unwrap();
        drop(server);
        assert_eq!(relaying.await.unwrap().unwrap(), (5, 0));
        assert_eq!(got, "hello");
    });
}

/// The memory of an idle connection: about 3 KiB, tokio's own share included.
#[test]
fn the_future_is_small() {
    kit::run(async {
        let ((_client, mut a), (_server, mut b)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let mut relay = Relay::new();
        let future = size_of_val(&relay.run(&mut a, &mut b));
        let size = size_of::<Relay>() + future;
        assert!(size <= 1536, "{} + {future} bytes", size_of::<Relay>());
    });
}

/// A sink that holds bytes back is flushed before others bypass it, in each turn: that alone must not use it up.
#[test]
fn the_smallest_budget_is_enough_to_flush_and_go_on() {
    kit::run(async {
        let (client, mut from) = kit::tcp();
        let (to_peer, to) = kit::tcp();
        let collector = Collector::start(to_peer);
        let data = data::bytes(2, 10_000);
        let feeder = Feeder::pieces(client, data.clone(), 10_000);
        let mut options = Options::default();
        options.budget = 0;
        let mut to = BufWriter::new(to);
        to.write_all(b"held back").await.unwrap();
        let moved = Copier::with_options(options).run(&mut from, &mut to).await.unwrap();
        assert_eq!(moved, data.len() as u64);
        drop((to, feeder));
        assert_same(&collector.finish(), &[b"held back", &data[..]].concat());
    });
}
