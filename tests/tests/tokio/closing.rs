//! What is there when the other direction ends is delivered before both ends are shut down.

use std::future::Future;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncReadExt, Interest, ReadBuf};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::{files, pipes};
use zc_tokio::{AsyncSource, AsyncStream, EndPolicy, Opaque, Options, Relay};

use crate::kit;

fn closing() -> Options {
    let mut options = Options::default();
    options.on_end = EndPolicy::Close;
    options
}

/// With a timeout short reads are taken for the last ones, for a while.
#[test]
fn also_behind_an_urgent_byte() {
    for idle_timeout in [None, Some(Duration::from_secs(60))] {
        kit::run(async {
            let ((mut client, mut a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
            let mut options = closing();
            options.idle_timeout = idle_timeout;
            let mut relay = Relay::with_options(options);
            server.write_all(b"before").unwrap();
            send(&server, b"!", SendFlags::OOB).unwrap();
            server.write_all(b"behind").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            b.ready(Interest::READABLE).await.unwrap();
            a.ready(Interest::READABLE).await.unwrap();
            assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (0, 12));
            drop(a);
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap();
            assert_eq!(got, "beforebehind");
        });
    }
}

/// The server's answer came before the end was passed on to it, and after the runtime last looked.
#[test]
fn also_what_the_runtime_has_not_seen() {
    kit::run(async {
        let ((mut client, mut a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
        let mut relay = Relay::with_options(closing());
        assert!(kit::poll_once(relay.run(&mut a, &mut b)).await.is_none());
        client.shutdown(Shutdown::Write).unwrap();
        a.ready(Interest::READABLE).await.unwrap();
        server.write_all(b"answer").unwrap();
        assert_eq!(relay.run(&mut a, &mut b).await.unwrap(), (0, 6));
        drop(a);
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "answer");
    });
}

/// Uses up all but `rest` of what a task may do before others have their turn.
fn leave_of_the_share(rest: usize, cx: &mut Context<'_>) {
    const SHARE: usize = 128;
    for _ in rest..SHARE {
        let mut nothing = tokio::io::empty();
        let _ = Pin::new(&mut nothing).poll_read(cx, &mut ReadBuf::new(&mut []));
    }
}

/// Then tokio says that nothing is ready, whatever there is.
#[test]
fn also_if_the_task_has_had_its_share() {
    kit::run(async {
        for (rest, hides) in (0..20).flat_map(|rest| [(rest, false), (rest, true)]) {
            let ((mut client, mut a), (mut server, mut b)) = (kit::tcp(), kit::tcp());
            let mut relay = Relay::with_options(closing());
            server.write_all(b"down").unwrap();
            client.write_all(b"up").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            b.ready(Interest::READABLE).await.unwrap();
            a.ready(Interest::READABLE).await.unwrap();
            let mut hidden = Opaque(&mut b);
            let b: &mut dyn AsyncStream = if hides { &mut hidden } else { hidden.0 };
            let mut running = pin!(relay.run(&mut a, b));
            let mut is_first = true;
            let outcome = std::future::poll_fn(|cx| {
                if std::mem::take(&mut is_first) {
                    leave_of_the_share(rest, cx);
                }
                running.as_mut().poll(cx)
            });
            assert_eq!(outcome.await.unwrap(), (2, 4), "with {rest} left, {hides}");
        }
    });
}

/// Closes with `source` at the other end, and delivers `want` before.
async fn delivers(source: impl AsyncSource, want: &[u8]) {
    let (client, mut a) = kit::tcp();
    client.shutdown(Shutdown::Write).unwrap();
    let collector = Collector::start(client);
    let mut b = tokio::io::join(source, tokio::io::sink());
    let counts = Relay::with_options(closing()).run(&mut a, &mut b).await.unwrap();
    assert_eq!(counts, (0, want.len() as u64));
    drop(a);
    assert_same(&collector.finish(), want);
}

/// A file is always ready, however long its disk takes.
#[test]
fn also_all_of_a_file() {
    kit::run(async {
        let data = data::bytes(1, 3_000_000);
        delivers(tokio::fs::File::from_std(files::holding(&data)), &data).await;
    });
}

/// The chain reads it by itself.
#[test]
fn also_all_of_a_file_that_heads_a_chain() {
    kit::run(async {
        let data = data::bytes(2, 3_000_000);
        let file = tokio::fs::File::from_std(files::holding(&data));
        delivers(file.chain(&b"tail"[..]), &[&data[..], b"tail"].concat()).await;
    });
}

/// It is read as a file is, by a thread that waits for it.
#[test]
fn in_front_of_a_fifo_that_has_nothing() {
    kit::run(async {
        let (client, mut a) = kit::tcp();
        client.shutdown(Shutdown::Write).unwrap();
        let (reader, mut writer) = pipes::fifo();
        let file = tokio::fs::File::from_std(reader);
        let mut b = tokio::io::join(file, tokio::io::sink());
        let counts = Relay::with_options(closing()).run(&mut a, &mut b).await.unwrap();
        assert_eq!(counts, (0, 0));
        // That thread may have begun.
        writer.write_all(b"!").unwrap();
    });
}
