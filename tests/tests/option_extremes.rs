//! Options at the ends of their ranges.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism};
use zc_testkit::raw;

fn content(file: &mut File) -> Vec<u8> {
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn adaptive_off_with_any_number_of_poor_splices() {
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

/// Copies five small pieces, each sent once the one before has gone.
fn pieces_arrive(max_delay: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..5 {
            client.write_all(b"piece").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });

    let mut file = tempfile::tempfile().unwrap();
    let report = Copier::new().coalesce(max_delay).copy(&mut &stream, &mut file).unwrap();
    sender.join().unwrap();

    assert_eq!(report.moved(), 25);
    assert_eq!(content(&mut file), b"piecepiecepiecepiecepiece");
    assert_eq!(raw::low_water(&stream).unwrap(), 1);
}

#[test]
fn coalescing_for_ever_or_not_at_all() {
    pieces_arrive(Duration::MAX);
    pieces_arrive(Duration::from_secs(1 << 40));
    pieces_arrive(Duration::ZERO);
}

#[test]
fn pipes_of_any_size() {
    for size in [0, 1, 4096, 1 << 30, usize::MAX] {
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
