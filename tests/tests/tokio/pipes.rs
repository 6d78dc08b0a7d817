//! Pipes, children and other descriptors.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use rustix::net::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::running::start;
use zc_tokio::{
    Copier, Downstream, Fd, Mechanism, Options, PollFd, Registered, Relay, Sink, TokioIo,
    WriteReady,
};

use crate::kit;

const LEN: usize = 2_000_000;

#[test]
fn pipes_and_sockets_copy_to_each_other() {
    kit::run(async {
        let data = data::bytes(1, LEN);
        // A socket into a pipe, this pipe into another one, and that into a socket, all at once.
        let ((peer, mut socket), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let feeder = Feeder::pieces(peer, data.clone(), 50_000);
        let collector = Collector::start(to_peer);
        let ((mut tx, mut rx), (mut second_tx, mut second_rx)) =
            (pipe::pipe().unwrap(), pipe::pipe().unwrap());
        let first = async move {
            let mut copier = Copier::new();
            let moved = copier.run(&mut socket, &mut tx).await.unwrap();
            (moved, copier)
        };
        let second = async move {
            let mut copier = Copier::new();
            let moved = copier.run(&mut rx, &mut second_tx).await.unwrap();
            (moved, copier)
        };
        let third = async move {
            let mut copier = Copier::new();
            let moved = copier.run(&mut second_rx, &mut to).await.unwrap();
            (moved, copier)
        };
        let (first, second, third) = tokio::join!(first, second, third);
        for (moved, copier) in [first, second, third] {
            assert_eq!(moved, LEN as u64);
            let report = copier.report();
            assert!(report.moved_by(Mechanism::Splice) > 0, "{report:?}");
        }
        drop(feeder);
        assert_same(&collector.finish(), &data);
    });
}

#[test]
fn a_closed_pipe_is_a_disconnect() {
    kit::run(async {
        let (mut tx, rx) = pipe::pipe().unwrap();
        drop(rx);
        let error = Copier::new().run(&mut &b"hello"[..], &mut tx).await.unwrap_err();
        assert!(error.is_disconnect(), "{error}");
    });
}

#[test]
fn bytes_pass_through_a_child() {
    kit::run(async {
        let data = data::bytes(2, LEN);
        let mut cat = std::process::Command::new("cat");
        let mut cat = start(cat.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let stdin = OwnedFd::from(cat.stdin.take().unwrap());
        let stdout = OwnedFd::from(cat.stdout.take().unwrap());
        let mut stdin = pipe::Sender::from_owned_fd(stdin).unwrap();
        let mut stdout = pipe::Receiver::from_owned_fd(stdout).unwrap();
        let ((peer, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let feeder = Feeder::pieces(peer, data.clone(), 50_000);
        let collector = Collector::start(to_peer);
        let into = async {
            let moved = zc_tokio::copy(&mut from, &mut stdin).await;
            drop(stdin);
            moved.unwrap()
        };
        let (sent, got) = tokio::join!(into, zc_tokio::copy(&mut stdout, &mut to));
        assert_eq!((sent, got.unwrap()), (LEN as u64, LEN as u64));
        cat.wait().unwrap();
        drop((to, feeder, from));
        assert_same(&collector.finish(), &data);
    });
}

/// Each peer ends only once it has heard the other's end.
#[test]
fn a_relay_passes_the_end_of_any_connection_on() {
    for is_tcp in [false, true] {
        kit::run(async {
            let known = |ours: OwnedFd| {
                rustix::io::ioctl_fionbio(&ours, true).unwrap();
                // SAFETY: it keeps its descriptor open, and the same one, for as long as it lives.
                Fd::new(unsafe { AsyncFd::register(ours) }.unwrap()).unwrap()
            };
            let pair = || match is_tcp {
                true => {
                    let (theirs, ours) = zc_testkit::sockets::tcp_v4();
                    (OwnedFd::from(theirs), known(ours.into()))
                }
                false => {
                    let (theirs, ours) = zc_testkit::sockets::unix();
                    (OwnedFd::from(theirs), known(ours.into()))
                }
            };
            let ((client, mut a), (server, mut b)) = (pair(), pair());
            let relaying = async { Relay::new().run(&mut a, &mut b).await.unwrap() };
            let talking = tokio::task::spawn_blocking(move || {
                let (mut client, mut server) =
                    (std::fs::File::from(client), std::fs::File::from(server));
                let (mut asked, mut answered) = (Vec::new(), Vec::new());
                client.write_all(b"question").unwrap();
                shutdown(&client, Shutdown::Write).unwrap();
                server.read_to_end(&mut asked).unwrap();
                server.write_all(b"answer").unwrap();
                drop(server);
                client.read_to_end(&mut answered).unwrap();
                (asked, answered)
            });
            let (counts, talked) = tokio::join!(relaying, talking);
            assert_eq!(counts, (8, 6));
            assert_eq!(talked.unwrap(), (b"question".to_vec(), b"answer".to_vec()));
        });
    }
}

#[test]
fn any_descriptor_may_be_registered() {
    kit::run(async {
        let data = data::bytes(3, LEN);
        let (theirs, ours) = zc_testkit::sockets::unix();
        ours.set_nonblocking(true).unwrap();
        let feeder = Feeder::pieces(theirs, data.clone(), 50_000);
        // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
        let ours = unsafe { AsyncFd::register(ours) }.unwrap();
        let mut from = Fd::new(ours).unwrap();
        let (to_peer, mut to) = kit::unix();
        let collector = Collector::start(to_peer);
        let mut copier = Copier::new();
        let mut polls = 0;
        let moved = loop {
            polls += 1;
            match kit::poll_once(copier.run(&mut from, &mut to)).await {
                Some(outcome) => break outcome.unwrap(),
                None => tokio::task::yield_now().await,
            }
        };
        assert!(polls > 1);
        assert_eq!(moved, LEN as u64);
        assert!(copier.report().moved_by(Mechanism::Splice) > LEN as u64 / 2);
        drop((to, feeder));
        assert_same(&collector.finish(), &data);
    });
}

/// A pipe that hides how it is waited for.
struct Hidden(pipe::Sender);

impl AsyncWrite for Hidden {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Sink<TokioIo> for Hidden {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(&mut self.0)
    }
}

impl WriteReady for Hidden {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        Registered::hidden(PollFd::stream(self.0.as_fd())).matching(fd)
    }
}

/// What a step took counts also if the sink's owner has to wait with it.
#[test]
fn no_byte_beyond_the_limit_goes_into_a_full_pipe() {
    const LIMIT: u64 = 300_000;
    kit::run(async {
        let data = data::bytes(4, LEN);
        let (peer, mut from) = kit::tcp();
        let feeder = Feeder::pieces(peer, data.clone(), 50_000);
        let (tx, mut rx) = pipe::pipe().unwrap();
        let mut options = Options::default();
        options.limits.0 = LIMIT;
        let (mut copier, mut to) = (Copier::with_options(options), Hidden(tx));
        while copier.count() < 65_536 || copier.in_flight() == 0 {
            let moved = kit::poll_once(copier.run(&mut from, &mut to)).await;
            assert!(moved.is_none(), "{moved:?}");
            tokio::task::yield_now().await;
        }
        let into = async {
            let moved = copier.run(&mut from, &mut to).await;
            drop(to);
            moved.unwrap()
        };
        let mut got = Vec::new();
        let (moved, read) = tokio::join!(into, rx.read_to_end(&mut got));
        assert_eq!((moved, read.unwrap() as u64), (LIMIT, LIMIT));
        assert_same(&got, &data[..LIMIT as usize]);
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.unwrap();
        assert_same(&rest, &data[LIMIT as usize..]);
        feeder.finish().unwrap();
    });
}

/// Its owner has to wait for it: to ask the pipe again and again would take all of a processor.
#[test]
fn bytes_of_a_buffer_wait_for_room_in_a_pipe_that_hides() {
    kit::run(async {
        let data = data::bytes(6, 200_000);
        let (tx, mut rx) = pipe::pipe().unwrap();
        let mut to = Hidden(tx);
        let (mut source, mut got) = (&data[..], Vec::new());
        {
            let mut copying = tokio_test::task::spawn(zc_tokio::copy(&mut source, &mut to));
            assert!(copying.poll().is_pending());
            assert!(!copying.is_woken(), "the pipe is full");
            // Reads all that is there, without the copy.
            got.resize(65_536, 0);
            rx.read_exact(&mut got).await.unwrap();
            while !copying.is_woken() {
                tokio::task::yield_now().await;
            }
        }
        let into = async {
            zc_tokio::copy(&mut source, &mut to).await.unwrap();
            drop(to);
        };
        let ((), read) = tokio::join!(into, rx.read_to_end(&mut got));
        read.unwrap();
        assert_same(&got, &data);
    });
}
