//! Sockets that keep the boundaries of messages: what does not fit a read, the kernel drops.

use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::each;
use zc_tokio::{AsyncSink, AsyncStream, Copier, Fd, Options, Relay};

use crate::kit;

/// Types that such a socket can be made into. All but one take it for a stream.
#[derive(Clone, Copy, Debug)]
enum As {
    Fd,
    UnixStream,
    TcpStream,
}

impl As {
    fn stream(self, fd: OwnedFd) -> Box<dyn AsyncStream> {
        match self {
            // SAFETY: it keeps its descriptor open, and the same one, for as long as it lives.
            As::Fd => Box::new(Fd::new(unsafe { AsyncFd::register(fd) }.unwrap()).unwrap()),
            As::UnixStream => Box::new(UnixStream::from_std(StdUnixStream::from(fd)).unwrap()),
            As::TcpStream => Box::new(TcpStream::from_std(StdTcpStream::from(fd)).unwrap()),
        }
    }
}

/// A socket with these messages in it, and then the end.
fn holding(messages: &[Vec<u8>]) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (tx, rx) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size_force(&tx, 4 << 20).unwrap();
    for message in messages {
        assert_eq!(send(&tx, message, SendFlags::empty()), Ok(message.len()));
    }
    rx
}

/// Large ones, and small ones in a row: a read that looks behind the first must not cut the second.
fn messages() -> Vec<Vec<u8>> {
    let sizes = [100_000, 1, 5000, 300, 300, 66_000, 200_000, 40_000, 7, 262_144];
    (0..).zip(sizes).map(|(seed, size)| data::bytes(seed, size)).collect()
}

fn cells() -> impl Iterator<Item = (As, Options)> {
    let types = [As::Fd, As::UnixStream, As::TcpStream];
    types.into_iter().flat_map(|made| {
        [1000, Options::default().budget, 8 << 20].into_iter().flat_map(move |budget| {
            [false, true].into_iter().map(move |is_timed| {
                let mut options = Options::default();
                options.budget = budget;
                // A copy with a timer takes a short read for the last one, and one without looks behind it.
                options.idle_timeout = is_timed.then_some(std::time::Duration::from_secs(60));
                (made, options)
            })
        })
    })
}

async fn moved(from: &mut dyn AsyncStream, to: &mut dyn AsyncSink, options: Options) -> u64 {
    Copier::with_options(options).run(from, to).await.unwrap()
}

#[test]
fn messages_arrive_whole_whatever_type_they_come_from_and_whatever_the_sink() {
    let sent = messages();
    let all = sent.concat();
    each(cells(), |&(made, options)| {
        kit::run(async {
            // Into memory, by its own `poll_write`.
            let mut got = Vec::new();
            let n = moved(&mut *made.stream(holding(&sent)), &mut got, options).await;
            assert_eq!(n, all.len() as u64);
            assert_same(&got, &all);
            // Into a stream.
            let (peer, mut to) = kit::unix();
            let collector = Collector::start(peer);
            let n = moved(&mut *made.stream(holding(&sent)), &mut to, options).await;
            assert_eq!(n, all.len() as u64);
            drop(to);
            assert_same(&collector.finish(), &all);
            // Nowhere.
            let mut nowhere = tokio::io::sink();
            let n = moved(&mut *made.stream(holding(&sent)), &mut nowhere, options).await;
            assert_eq!(n, all.len() as u64);
        });
    });
}

#[test]
fn a_relay_takes_messages_whole() {
    let sent = messages();
    let all = sent.concat();
    each(cells(), |&(made, options)| {
        kit::run(async {
            let (peer, mut stream) = kit::tcp();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let collector = Collector::start(peer);
            let mut relay = Relay::with_options(options);
            let mut messages = made.stream(holding(&sent));
            // The sender has closed, so that nothing can go back; nothing does.
            let counts = relay.run(&mut *messages, &mut stream).await.unwrap();
            assert_eq!((counts, relay.in_flight()), ((all.len() as u64, 0), (0, 0)));
            drop(stream);
            assert_same(&collector.finish(), &all);
        });
    });
}

/// Of a longer one the kernel drops the end. That is not passed over in silence.
#[test]
fn a_message_that_is_too_long_for_a_read_is_an_error() {
    const MOST: usize = 256 << 10;
    let sent = [data::bytes(1, 10), data::bytes(2, MOST + 1), data::bytes(3, 10)];
    each(cells(), |&(made, options)| {
        kit::run(async {
            let mut from = made.stream(holding(&sent));
            let (mut copier, mut got) = (Copier::with_options(options), Vec::new());
            let error = copier.run(&mut *from, &mut got).await.unwrap_err();
            assert_eq!(error.io_error().raw_os_error(), Some(libc::EMSGSIZE), "{error}");
            assert_eq!((error.counts().0, copier.in_flight()), (10, MOST));
            // What is left of it goes first.
            let n = copier.run(&mut *from, &mut got).await.unwrap();
            assert_eq!((n, copier.in_flight()), ((10 + MOST + 10) as u64, 0));
            let left = [&sent[0][..], &sent[1][..MOST], &sent[2]].concat();
            assert_same(&got, &left);
        });
    });
}
