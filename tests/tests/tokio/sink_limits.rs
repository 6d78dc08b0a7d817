//! A sink with a limit: a quota, the length of an upload.

use std::io::{self, ErrorKind, Write};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_tokio::{
    AsyncSink, AsyncSource, Copier, Downstream, Opaque, Registered, Settling, Side, Sink, TokioIo,
    WriteReady,
};

use crate::kit;

const LEN: usize = 1_500_000;
const QUOTAS: [u64; 5] = [0, 1, 1000, 800_000, LEN as u64 - 1];

struct Quota<W> {
    inner: W,
    left: u64,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Quota<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        let outcome = Pin::new(&mut self.inner).poll_write(cx, &buf[..most]);
        if let Poll::Ready(Ok(n)) = outcome {
            self.left -= n as u64;
        }
        outcome
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<Io, W: Sink<Io>> Sink<Io> for Quota<W> {
    fn downstream(&mut self) -> Downstream<'_, Io> {
        Downstream::through(&mut self.inner).limit(self.left)
    }
    fn delivered(&mut self, n: u64) {
        self.left -= n;
    }
}

impl<W: WriteReady> WriteReady for Quota<W> {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.inner.write_ready(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.inner.settle_sink(cx, settling)
    }
}

/// Copies into `sink` up to the quota. Returns what was taken and did not fit.
async fn overfill(from: &mut impl AsyncSource, sink: &mut impl AsyncSink, quota: u64) -> Vec<u8> {
    let mut sink = Quota { inner: sink, left: quota };
    let mut copier = Copier::new();
    let error = copier.run(from, &mut sink).await.unwrap_err();
    assert_eq!((error.kind(), error.side()), (ErrorKind::WriteZero, Some(Side::Sink)));
    assert_eq!((copier.count(), sink.left), (quota, 0));
    copier.take_residue()
}

fn fed(data: &[u8]) -> (Feeder, tokio::net::TcpStream) {
    let (client, from) = kit::tcp();
    (Feeder::pieces(client, data.to_vec(), 1 << 20), from)
}

async fn rest(from: &mut (impl AsyncSource + ?Sized)) -> Vec<u8> {
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).await.unwrap();
    rest
}

#[test]
fn a_socket_gets_no_byte_more() {
    for quota in QUOTAS {
        kit::run(async {
            let data = data::bytes(1, LEN);
            let (feeder, mut from) = fed(&data);
            let (to_peer, mut to) = kit::tcp();
            let collector = Collector::start(to_peer);
            let left = overfill(&mut from, &mut to, quota).await;
            assert_eq!(left.len(), 1);
            let rest = rest(&mut from).await;
            drop((to, feeder));
            assert_same(&[collector.finish(), left, rest].concat(), &data);
        });
    }
}

#[test]
fn a_file_gets_no_byte_more() {
    for quota in QUOTAS {
        for held in [0, 100] {
            kit::run(async {
                let data = data::bytes(2, LEN);
                let (feeder, mut from) = fed(&data);
                let named = tempfile::NamedTempFile::new().unwrap();
                let file = File::from_std(named.reopen().unwrap());
                // What the sink holds goes first, and counts.
                let limited = Quota { inner: file, left: quota + held };
                let mut buffer = BufWriter::new(limited);
                buffer.write_all(&vec![9; held as usize]).await.unwrap();
                let mut copier = Copier::new();
                let error = copier.run(&mut from, &mut buffer).await.unwrap_err();
                assert_eq!((error.kind(), copier.count()), (ErrorKind::WriteZero, quota));
                assert_eq!((buffer.get_ref().left, copier.in_flight()), (0, 1));
                buffer.flush().await.unwrap();
                let file = std::fs::read(named.path()).unwrap();
                assert_eq!(file.len() as u64, quota + held);
                let left = copier.take_residue();
                let rest = rest(&mut from).await;
                drop(feeder);
                assert_same(&[file[held as usize..].to_vec(), left, rest].concat(), &data);
            });
        }
    }
}

/// Holds bytes back, and writes them at once when flushed, without a thread of the pool.
struct HoldsBack {
    file: File,
    same: std::fs::File,
    held: Vec<u8>,
    left: u64,
}

impl AsyncWrite for HoldsBack {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("the kernel bypasses it")
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = std::mem::take(&mut self.held);
        self.left -= held.len() as u64;
        Poll::Ready(self.same.write_all(&held))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(cx)
    }
}

impl Sink<TokioIo> for HoldsBack {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(&mut self.file).flush_first().limit(self.left)
    }
    fn delivered(&mut self, n: u64) {
        self.left -= n;
    }
}

impl WriteReady for HoldsBack {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.file.write_ready(fd)
    }
    /// tokio's file has done nothing yet, so the flush is in the copy's first step.
    fn settle_sink(&mut self, _: &mut Context<'_>, _: &mut Settling) -> Poll<io::Result<bool>> {
        Poll::Ready(Ok(true))
    }
}

/// What a flush writes counts against the limit of its step. No call waits here, so that one step flushes and takes
/// bytes.
#[test]
fn a_limit_is_looked_at_after_a_flush() {
    for quota in QUOTAS {
        kit::run(async {
            let data = data::bytes(6, LEN);
            let mut from = &data[..];
            let same = tempfile::tempfile().unwrap();
            let file = File::from_std(same.try_clone().unwrap());
            let held = vec![9; 100];
            let mut sink = HoldsBack { file, same, held, left: quota + 100 };
            let mut copier = Copier::new();
            let error = copier.run(&mut from, &mut sink).await.unwrap_err();
            assert_eq!((error.kind(), error.side()), (ErrorKind::WriteZero, Some(Side::Sink)));
            assert_eq!((copier.count(), sink.left, copier.in_flight()), (quota, 0, 1));
            let file = zc_testkit::files::contents(&sink.same);
            assert_same(&file[..100], &[9; 100]);
            assert_same(&[&file[100..], &copier.take_residue(), from].concat(), &data);
        });
    }
}

#[test]
fn a_file_gives_no_byte_more() {
    for quota in QUOTAS {
        kit::run(async {
            let data = data::bytes(3, LEN);
            let mut named = tempfile::NamedTempFile::new().unwrap();
            named.write_all(&data).unwrap();
            let mut from = File::from_std(named.reopen().unwrap());
            let (to_peer, mut to) = kit::unix();
            let collector = Collector::start(to_peer);
            let left = overfill(&mut from, &mut to, quota).await;
            assert_eq!(left.len(), 1);
            let rest = rest(&mut from).await;
            drop(to);
            assert_same(&[collector.finish(), left, rest].concat(), &data);
        });
    }
}

#[test]
fn nowhere_gets_no_byte_more() {
    for quota in QUOTAS {
        kit::run(async {
            let data = data::bytes(4, LEN);
            let (feeder, mut from) = fed(&data);
            let left = overfill(&mut from, &mut tokio::io::sink(), quota).await;
            assert_same(&[left, rest(&mut from).await].concat(), &data[quota as usize..]);
            drop(feeder);
        });
    }
}

/// From memory, from a reader's buffer, and from an end that is only read and written.
#[test]
fn other_ways_give_no_byte_more() {
    for quota in [0, 1, 99] {
        kit::run(async {
            let data = data::bytes(5, 100);
            let (to_peer, mut to) = kit::tcp();
            let collector = Collector::start(to_peer);
            let mut from = &data[..];
            assert_eq!(overfill(&mut from, &mut to, quota).await, b"");
            assert_same(from, &data[quota as usize..]);

            let mut from = Opaque(&data[..]);
            let left = overfill(&mut from, &mut to, quota).await;
            assert_eq!((left.len(), from.0.len()), (1, 99 - quota as usize));

            let mut from = BufReader::new(&data[..]);
            let mut out = Vec::new();
            let left = overfill(&mut from, &mut out, quota).await;
            assert_same(&[out, left, rest(&mut from).await].concat(), &data);
            drop(to);
            let twice = [&data[..quota as usize], &data[..quota as usize]].concat();
            assert_same(&collector.finish(), &twice);
        });
    }
}
