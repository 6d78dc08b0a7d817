//! Copies into nowhere.

use std::io::Write;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::time::timeout;
use zc_linux::hook::{self, Recorder, Syscall};
use zc_testkit::calls;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_tokio::{AsyncSource, Copier};

use crate::kit;

const LEN: usize = 3_000_000;

fn discarded(recorder: &Recorder) -> u64 {
    calls::moved_by(&recorder.calls(), Syscall::Discard)
}

#[test]
fn what_a_socket_has_is_counted_and_dropped() {
    kit::run(async {
        let recorder = hook::record();
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data::bytes(1, LEN), 50_000);
        let moved = zc_tokio::copy(&mut from, &mut tokio::io::sink()).await.unwrap();
        assert_eq!(moved, LEN as u64);
        // Only what came before the copy made its plan is read.
        assert!(discarded(&recorder) > LEN as u64 / 2, "{}", discarded(&recorder));
        assert!(recorder.calls_to(Syscall::Write).is_empty());
        feeder.finish().unwrap();

        let (client, mut from) = kit::unix();
        let feeder = Feeder::pieces(client, data::bytes(2, LEN), 50_000);
        recorder.clear();
        let moved = zc_tokio::copy(&mut from, &mut tokio::io::sink()).await.unwrap();
        assert_eq!((moved, discarded(&recorder)), (LEN as u64, 0));
        feeder.finish().unwrap();
    });
}

/// No byte beyond the limit is dropped. What a reader has read ahead goes first, and so do bytes that a layer of the
/// sink holds.
#[test]
fn no_byte_beyond_a_limit_is_dropped() {
    async fn check(mut from: impl AsyncSource, data: &[u8], into_layers: bool) -> Vec<u8> {
        let limit = data.len() as u64 - 1000;
        let mut limited = (&mut from).take(limit);
        let moved = if into_layers {
            let mut sink = BufWriter::new(tokio::io::sink());
            sink.write_all(b"held back").await.unwrap();
            // The bytes that the sink held are no part of the copy.
            zc_tokio::copy(&mut limited, &mut sink).await.unwrap()
        } else {
            zc_tokio::copy(&mut limited, &mut tokio::io::empty()).await.unwrap()
        };
        assert_eq!((moved, limited.limit()), (limit, 0));
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.unwrap();
        rest
    }
    for into_layers in [false, true] {
        kit::run(async {
            let data = data::bytes(3, LEN);
            let (client, from) = kit::tcp();
            let feeder = Feeder::pieces(client, data.clone(), 50_000);
            let mut from = BufReader::new(from);
            assert!(!tokio::io::AsyncBufReadExt::fill_buf(&mut from).await.unwrap().is_empty());
            let rest = check(from, &data, into_layers).await;
            assert_same(&rest, &data[data.len() - 1000..]);
            feeder.finish().unwrap();
        });
    }
}

/// A copy waits for a source that has nothing now, and ends with it.
#[test]
fn a_source_that_waits_is_waited_for() {
    kit::run(async {
        let (mut client, mut from) = kit::tcp();
        let (done, is_done) = std::sync::mpsc::channel();
        let feeder = Feeder::run(move || {
            for _ in 0..20 {
                client.write_all(&[7; 30_000])?;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            done.send(()).map_err(std::io::Error::other)
        });
        let moved = zc_tokio::copy(&mut from, &mut tokio::io::sink()).await.unwrap();
        assert_eq!(moved, 600_000);
        is_done.recv().unwrap();
        feeder.finish().unwrap();
    });
}

/// It shortens a call, and no edge follows for what lies behind it.
#[test]
fn an_urgent_byte_holds_nothing_back() {
    kit::run(async {
        let (mut client, mut from) = kit::tcp();
        let mut copier = Copier::new();
        let handle = copier.handle();
        let mut nowhere = tokio::io::sink();
        for round in 1..=5 {
            client.write_all(b"some").unwrap();
            send(&client, b"!", SendFlags::OOB).unwrap();
            client.write_all(b"more").unwrap();
            let arriving = async {
                while handle.counts().0 < round * 8 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                outcome = copier.run(&mut from, &mut nowhere) => panic!("{outcome:?}"),
                arrived = timeout(Duration::from_secs(10), arriving) => arrived.expect("it hangs"),
            }
        }
    });
}
