//! Options at the ends of their ranges do what they say.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, raw, sockets};

fn content(file: &mut File) -> Vec<u8> {
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn without_adaptive_every_splice_may_be_poor() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&[b'x'; 600]).unwrap();
    drop(client);
    let mut file = tempfile::tempfile().unwrap();

    let guard = hook::replace(|call| match call.syscall {
        Syscall::Splice => Action::Limit(1),
        _ => Action::Proceed,
    });
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut file).unwrap();
    drop(guard);

    assert_eq!((report.moved(), report.moved_by(Mechanism::Splice)), (600, 600));
    assert_eq!(content(&mut file), [b'x'; 600]);
}

/// Copies five small pieces, the last four of which are sent once the first has gone. Returns how many bytes each
/// read brought.
fn pieces_arrive(max_delay: Duration) -> Vec<usize> {
    let (mut client, stream) = sockets::tcp_v4();
    let (go, gone) = mpsc::channel();
    let sender = Feeder::run(move || {
        client.write_all(b"piece")?;
        gone.recv().unwrap();
        (1..5).try_for_each(|_| client.write_all(b"piece"))
    });

    let mut file = tempfile::tempfile().unwrap();
    let recorder = hook::record();
    let waits = hook::replace(move |call| {
        if call.syscall == Syscall::Poll {
            // The sender has ended when the last wait begins.
            let _ = go.send(());
        }
        Action::Proceed
    });
    let report = Copier::new().coalesce(max_delay).copy(&mut &stream, &mut file).unwrap();
    drop(waits);
    sender.finish().unwrap();

    assert_eq!(report.moved(), 25);
    assert_eq!(content(&mut file), b"piecepiecepiecepiecepiece");
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
    recorder.calls_to(Syscall::Read).iter().map(|read| read.result.unwrap()).collect()
}

#[test]
fn coalesce_waits_for_ever_or_not_at_all() {
    let _leaks = fds::no_leaks();
    assert_eq!(pieces_arrive(Duration::MAX), [5, 20, 0]);
    assert_eq!(pieces_arrive(Duration::from_secs(1 << 40)), [5, 20, 0]);
    pieces_arrive(Duration::ZERO);
}

#[test]
fn pipes_of_every_size_are_used() {
    for size in [0, 1, 4096, 1 << 30, usize::MAX] {
        let _leaks = fds::no_leaks();
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&[b'x'; 60_000]).unwrap();
        drop(client);
        let mut file = tempfile::tempfile().unwrap();
        let mut copier = Copier::new().adaptive(false).pipe_size(size);
        let report = copier.copy(&mut &stream, &mut file).unwrap();
        assert_eq!(report.moved(), 60_000, "pipe size {size}");
        assert!(content(&mut file) == [b'x'; 60_000]);
    }
}
