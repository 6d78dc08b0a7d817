//! What tokio's own tests ask of its `copy`, `copy_buf` and `copy_bidirectional`, asked of zc-tokio's.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use zc_tokio::{Opaque, Sink, TokioIo, WriteReady, copy, copy_bidirectional};

use crate::kit;

fn scripted() -> tokio_test::io::Builder {
    tokio_test::io::Builder::new()
}

#[test]
fn all_is_copied_and_counted() {
    kit::run(async {
        let (mut reader, mut out) = (Opaque(scripted().read(b"hello world").build()), Vec::new());
        assert_eq!(copy(&mut reader, &mut out).await.unwrap(), 11);
        assert_eq!(out, b"hello world");
    });
}

/// A writer that holds everything back until it is flushed.
struct Hoard {
    bytes: Vec<u8>,
    writer: DuplexStream,
}

impl Sink<TokioIo> for Hoard {}
impl WriteReady for Hoard {}

impl AsyncWrite for Hoard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.bytes.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        while !this.bytes.is_empty() {
            let n = ready!(Pin::new(&mut this.writer).poll_write(cx, &this.bytes))?;
            this.bytes.drain(..n);
        }
        Pin::new(&mut this.writer).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// A reader whose next bytes are what the writer was given last.
#[test]
fn a_proxy_is_flushed_when_its_reader_stalls() {
    kit::run(async {
        for buffered in [false, true] {
            let (reader, writer) = tokio::io::duplex(1024);
            let mut writer = Hoard { bytes: Vec::new(), writer };
            writer.write_all(&[0x42; 512]).await.unwrap();
            writer.flush().await.unwrap();
            let copied = if buffered {
                copy(&mut BufReader::new(reader).take(1024), &mut writer).await
            } else {
                copy(&mut reader.take(1024), &mut writer).await
            };
            assert_eq!(copied.unwrap(), 1024);
        }
    });
}

#[test]
fn copies_are_cooperative() {
    kit::run(async {
        tokio::select! {
            biased;
            () = async { loop {
                let _ = copy(&mut &b"hello"[..], &mut Vec::new()).await;
            } } => {}
            () = tokio::task::yield_now() => {}
        }
        tokio::select! {
            biased;
            () = async { loop {
                let payload = b"here, take this";
                let mut a = Opaque(scripted().read(payload).write(payload).build());
                let mut b = Opaque(scripted().read(payload).write(payload).build());
                let _ = copy_bidirectional(&mut a, &mut b).await;
            } } => {}
            () = tokio::task::yield_now() => {}
        }
        // The same for a single copy without an end.
        let (mut endless, mut sink) = (tokio::io::repeat(1), tokio::io::sink());
        tokio::select! {
            biased;
            _ = copy(&mut endless, &mut sink) => {}
            () = tokio::task::yield_now() => {}
        }
    });
}

#[test]
fn interrupted_calls_are_made_again() {
    kit::run(async {
        let interrupted = || ErrorKind::Interrupted.into();
        let reader = || {
            let mut script = scripted();
            script.read_error(interrupted()).read(b"ab").read_error(interrupted()).read(b"cd");
            Opaque(script.build())
        };
        let writer = || {
            let mut script = scripted();
            script.write_error(interrupted()).write(b"ab").write_error(interrupted()).write(b"cd");
            Opaque(script.build())
        };
        assert_eq!(copy(&mut reader(), &mut writer()).await.unwrap(), 4);

        let mut out = Vec::new();
        let mut buffered = BufReader::with_capacity(2, reader());
        assert_eq!(copy(&mut buffered, &mut out).await.unwrap(), 4);
        assert_eq!(out, b"abcd");

        let end = |read: &'static [u8], write: &'static [u8]| {
            Opaque(tokio::io::join(
                scripted().read_error(interrupted()).read(read).build(),
                scripted().write_error(interrupted()).write(write).build(),
            ))
        };
        let (mut a, mut b) = (end(b"ab", b"cd"), end(b"cd", b"ab"));
        assert_eq!(copy_bidirectional(&mut a, &mut b).await.unwrap(), (2, 2));
    });
}

async fn fill(stream: &mut TcpStream) -> usize {
    let mut copied = 0;
    while let Ok(wrote) =
        tokio::time::timeout(Duration::from_millis(50), stream.write(&[0; 2048])).await
    {
        copied += wrote.unwrap();
    }
    copied
}

/// Runs a test twice, with the two ends in either order.
async fn both_ways<F: Future<Output = ()>>(
    test: impl Fn(JoinHandle<std::io::Result<(u64, u64)>>, TcpStream, TcpStream) -> F,
) {
    for turned in [false, true] {
        let ((a, mut a_too), (b, mut b_too)) = (kit::tcp_tasks(), kit::tcp_tasks());
        let relaying = async move { copy_bidirectional(&mut a_too, &mut b_too).await };
        let relaying = tokio::spawn(relaying);
        if turned { test(relaying, b, a).await } else { test(relaying, a, b).await }
    }
}

#[test]
fn both_ways_transfer() {
    kit::run(both_ways(|_relaying, mut a, mut b| async move {
        a.write_all(b"test").await.unwrap();
        let mut got = [0; 4];
        b.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"test");
    }));
}

#[test]
fn a_half_close_leaves_the_other_way_open() {
    kit::run(both_ways(|relaying, mut a, mut b| async move {
        a.shutdown().await.unwrap();
        b.read_to_end(&mut Vec::new()).await.unwrap();
        b.write_all(b"quux").await.unwrap();
        let mut got = [0; 4];
        a.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"quux");
        drop(b);
        let (there, back) = relaying.await.unwrap().unwrap();
        assert_eq!((there + back, there * back), (4, 0));
    }));
}

#[test]
fn one_blocked_way_does_not_block_the_other() {
    kit::run(both_ways(|relaying, mut a, mut b| async move {
        let filled = fill(&mut a).await;
        b.write_all(b"quux").await.unwrap();
        let mut got = [0; 4];
        a.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"quux");
        a.shutdown().await.unwrap();
        let mut all = Vec::new();
        b.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), filled);
        drop(b);
        let (there, back) = relaying.await.unwrap().unwrap();
        assert_eq!(there + back, filled as u64 + 4);
    }));
}

#[test]
fn an_error_ends_a_relay_at_once() {
    kit::run(async {
        let payload = b"here, take this";
        let refuses = || {
            let no = std::io::Error::other("no thanks!");
            Opaque(scripted().read(payload).write_error(no).build())
        };
        let error = copy_bidirectional(&mut refuses(), &mut refuses()).await.unwrap_err();
        let error = zc_tokio::Error::from_io(&error).unwrap();
        assert_eq!(error.io_error().to_string(), "no thanks!");
        // The bytes in flight are not lost.
        assert_eq!(error.residues().0, payload);

        let fails = || {
            let nothing = std::io::Error::other("got nothing!");
            Opaque(scripted().read_error(nothing).build())
        };
        assert!(copy_bidirectional(&mut fails(), &mut fails()).await.is_err());
    });
}
