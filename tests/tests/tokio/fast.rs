//! The kernel moves the bytes of every type that it can, as the recorder sees it: the calls are from the type's
//! descriptor, or to it.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Stdio;

use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, BufReader, BufStream, BufWriter};
use tokio::net::unix::pipe;
use tokio::process::Command;
use zc_linux::hook::{self, Recorder, Syscall};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::sockets;
use zc_tokio::{AsyncSink, AsyncSource, Copier, Fd, Options, Rewind};

use crate::kit;

const LEN: usize = 2_000_000;

/// How many bytes were spliced or sent from one descriptor, and how many to another.
fn passed(recorder: &Recorder, from: Option<RawFd>, to: Option<RawFd>) -> (usize, usize) {
    let all = [recorder.calls_to(Syscall::Splice), recorder.calls_to(Syscall::Sendfile)].concat();
    let sum = |is: &dyn Fn(&hook::Record) -> bool| {
        all.iter().filter(|call| is(call)).map(hook::Record::moved).sum()
    };
    (sum(&|call| call.call.from == from), sum(&|call| call.call.to == to))
}

/// Copies, and asserts that the kernel moved most bytes at both ends.
async fn is_bypassed(
    what: &str,
    (source, from): (&mut dyn AsyncSource, Option<RawFd>),
    (sink, to): (&mut dyn AsyncSink, Option<RawFd>),
) {
    let recorder = hook::record();
    // However slow the peers and small the pieces are.
    let mut options = Options::default();
    options.adaptive = false;
    let moved = Copier::with_options(options).run(source, sink).await.unwrap();
    assert_eq!(moved, LEN as u64, "{what}");
    let (out, into) = passed(&recorder, from, to);
    // `None`: not looked at, or moved on another thread, or no descriptor.
    assert!(from.is_none() || out > LEN / 2, "{what}: {out} bytes were spliced from there");
    // What a full sink does not take is written, and a pipe is soon full.
    assert!(to.is_none() || into > LEN / 8, "{what}: {into} bytes were spliced to there");
}

fn fed(peer: impl Write + Send + 'static) -> (Vec<u8>, Feeder) {
    let data = data::bytes(1, LEN);
    let feeder = Feeder::pieces(peer, data.clone(), 200_000);
    (data, feeder)
}

#[test]
fn the_kernel_bypasses_every_source() {
    for case in 0..13 {
        kit::run(async move {
            let (to_peer, mut to) = kit::tcp();
            let collector = Collector::start(to_peer);
            let to_fd = Some(to.as_raw_fd());
            let (peer, tcp) = kit::tcp();
            let from = Some(tcp.as_raw_fd());
            let sink = &mut to;
            let data = match case {
                0 => {
                    let (data, _feeder) = fed(peer);
                    let mut tcp = tcp;
                    is_bypassed("TcpStream", (&mut tcp, from), (sink, to_fd)).await;
                    data
                }
                1 => {
                    let (data, _feeder) = fed(peer);
                    let (mut half, _other) = tcp.into_split();
                    is_bypassed("OwnedReadHalf", (&mut half, from), (sink, to_fd)).await;
                    data
                }
                2 => {
                    let (data, _feeder) = fed(peer);
                    let mut tcp = tcp;
                    is_bypassed("ReadHalf", (&mut tcp.split().0, from), (sink, to_fd)).await;
                    data
                }
                3 => {
                    let (data, _feeder) = fed(peer);
                    let mut take = tcp.take(LEN as u64);
                    is_bypassed("Take", (&mut take, from), (sink, to_fd)).await;
                    data
                }
                4 => {
                    let (data, _feeder) = fed(peer);
                    let mut chain = AsyncReadExt::chain(tokio::io::empty(), tcp);
                    is_bypassed("Chain", (&mut chain, from), (sink, to_fd)).await;
                    data
                }
                5 => {
                    let (data, _feeder) = fed(peer);
                    let mut buffered = BufReader::new(tcp);
                    is_bypassed("BufReader", (&mut buffered, from), (sink, to_fd)).await;
                    data
                }
                6 => {
                    let (data, _feeder) = fed(peer);
                    let mut both = BufReader::new(BufWriter::new(tcp));
                    is_bypassed("BufReader<BufWriter>", (&mut both, from), (sink, to_fd)).await;
                    data
                }
                7 => {
                    let (data, _feeder) = fed(peer);
                    let mut rewind = Rewind::new("", tcp);
                    is_bypassed("Rewind", (&mut rewind, from), (sink, to_fd)).await;
                    data
                }
                8 => {
                    let (reader, writer) = std::io::pipe().unwrap();
                    let (data, _feeder) = fed(writer);
                    let mut pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap();
                    let from = Some(pipe.as_raw_fd());
                    is_bypassed("pipe::Receiver", (&mut pipe, from), (sink, to_fd)).await;
                    data
                }
                9 => {
                    let (peer, ours) = sockets::tcp_v4();
                    let (data, _feeder) = fed(peer);
                    let from = Some(ours.as_raw_fd());
                    ours.set_nonblocking(true).unwrap();
                    // SAFETY: the stream keeps its descriptor open, and the same one, for as long as it lives.
                    let mut fd = Fd::new(unsafe { AsyncFd::register(ours) }.unwrap()).unwrap();
                    is_bypassed("Fd", (&mut fd, from), (sink, to_fd)).await;
                    data
                }
                10 => {
                    let mut cat = cat();
                    let stdin: OwnedFd = cat.stdin.take().unwrap().into_owned_fd().unwrap();
                    // A blocking thread feeds the child.
                    rustix::io::ioctl_fionbio(&stdin, false).unwrap();
                    let (data, _feeder) = fed(std::fs::File::from(stdin));
                    let mut stdout = cat.stdout.take().unwrap();
                    let from = Some(stdout.as_raw_fd());
                    is_bypassed("ChildStdout", (&mut stdout, from), (sink, to_fd)).await;
                    cat.wait().await.unwrap();
                    data
                }
                11 => {
                    let data = data::bytes(1, LEN);
                    let mut file = tempfile::tempfile().unwrap();
                    file.write_all(&data).unwrap();
                    std::io::Seek::rewind(&mut file).unwrap();
                    // The file's half is made on another thread. The recorder sees the socket's.
                    let mut file = File::from_std(file);
                    is_bypassed("File", (&mut file, None), (sink, to_fd)).await;
                    data
                }
                _ => {
                    let (peer, mut unix) = kit::unix();
                    let (data, _feeder) = fed(peer);
                    let (second_peer, mut second) = kit::unix();
                    let second_collector = Collector::start(second_peer);
                    let (from, second_fd) = (Some(unix.as_raw_fd()), Some(second.as_raw_fd()));
                    is_bypassed("UnixStream", (&mut unix, from), (&mut second, second_fd)).await;
                    drop(second);
                    let got = second_collector.finish();
                    assert_same(&got, &data);
                    drop(to);
                    collector.finish();
                    return;
                }
            };
            drop(to);
            assert_same(&collector.finish(), &data);
        });
    }
}

fn cat() -> tokio::process::Child {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

fn collect(from: impl Read + Send + 'static) -> Collector {
    Collector::start(from)
}

#[test]
fn the_kernel_bypasses_every_sink() {
    for case in 0..9 {
        kit::run(async move {
            let (peer, mut from) = kit::tcp();
            let (data, feeder) = fed(peer);
            let from_fd = Some(from.as_raw_fd());
            let source = &mut from;
            let (to_peer, tcp) = kit::tcp();
            let to = Some(tcp.as_raw_fd());
            let collector = match case {
                0 => {
                    let collector = collect(to_peer);
                    let (other, mut half) = tcp.into_split();
                    is_bypassed("OwnedWriteHalf", (source, from_fd), (&mut half, to)).await;
                    drop((half, other));
                    collector
                }
                1 => {
                    let collector = collect(to_peer);
                    let mut tcp = tcp;
                    is_bypassed("WriteHalf", (source, from_fd), (&mut tcp.split().1, to)).await;
                    collector
                }
                2 => {
                    let collector = collect(to_peer);
                    let mut buffered = BufWriter::new(tcp);
                    is_bypassed("BufWriter", (source, from_fd), (&mut buffered, to)).await;
                    collector
                }
                3 => {
                    let collector = collect(to_peer);
                    let mut both = BufReader::new(BufWriter::new(tcp));
                    is_bypassed("BufReader<BufWriter>", (source, from_fd), (&mut both, to)).await;
                    collector
                }
                4 => {
                    let collector = collect(to_peer);
                    let mut stream = BufStream::new(tcp);
                    is_bypassed("BufStream", (source, from_fd), (&mut stream, to)).await;
                    collector
                }
                5 => {
                    let (reader, writer) = std::io::pipe().unwrap();
                    let collector = collect(reader);
                    let mut pipe = pipe::Sender::from_owned_fd(OwnedFd::from(writer)).unwrap();
                    let to = Some(pipe.as_raw_fd());
                    is_bypassed("pipe::Sender", (source, from_fd), (&mut pipe, to)).await;
                    collector
                }
                6 => {
                    let mut cat = cat();
                    let stdout = cat.stdout.take().unwrap().into_owned_fd().unwrap();
                    rustix::io::ioctl_fionbio(&stdout, false).unwrap();
                    let collector = collect(std::fs::File::from(stdout));
                    let mut stdin = cat.stdin.take().unwrap();
                    let to = Some(stdin.as_raw_fd());
                    is_bypassed("ChildStdin", (source, from_fd), (&mut stdin, to)).await;
                    drop(stdin);
                    cat.wait().await.unwrap();
                    collector
                }
                7 => {
                    let named = tempfile::NamedTempFile::new().unwrap();
                    // The file's half is made on another thread. The recorder sees the socket's.
                    let mut file = File::from_std(named.reopen().unwrap());
                    is_bypassed("File", (source, from_fd), (&mut file, None)).await;
                    collect(std::io::Cursor::new(std::fs::read(named.path()).unwrap()))
                }
                _ => {
                    let (to_peer, mut unix) = kit::unix();
                    let collector = collect(to_peer);
                    let to = Some(unix.as_raw_fd());
                    is_bypassed("UnixStream", (source, from_fd), (&mut unix, to)).await;
                    collector
                }
            };
            assert_same(&collector.finish(), &data);
            drop(feeder);
        });
    }
}

/// A slow child: the copies wait for it, and are dropped after every poll.
#[test]
fn bytes_pass_through_a_child_of_tokio_s() {
    kit::run(async {
        let mut cat = cat();
        let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let ((peer, mut from), (to_peer, mut to)) = (kit::tcp(), kit::tcp());
        let (data, feeder) = fed(peer);
        let collector = Collector::start(to_peer);
        let (mut first, mut second) = (Copier::new(), Copier::new());
        let into = async {
            while kit::poll_once(first.run(&mut from, &mut stdin)).await.is_none() {
                tokio::task::yield_now().await;
            }
            drop(stdin);
        };
        let out = async {
            while kit::poll_once(second.run(&mut stdout, &mut to)).await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(into, out);
        assert_eq!((first.count(), second.count()), (LEN as u64, LEN as u64));
        cat.wait().await.unwrap();
        drop((to, feeder));
        assert_same(&collector.finish(), &data);
    });
}
