//! An upload server whose disk fills up. It says how much it has, and goes on from there: on the same connection once
//! there is room again, or on the next one.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use zc_std::hook;
use zc_std::{Copier, CopyError, FileAt};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};

const LEN: usize = 2_000_000;
const ROOM: u64 = 700_001;

/// Stores an upload of `size` bytes behind the first `has`. Waits for room each time the disk is full.
fn receive(
    stream: &mut TcpStream,
    file: &File,
    has: u64,
    size: u64,
    mut make_room: impl FnMut(&CopyError) -> bool,
) -> Result<u64, CopyError> {
    let mut source = stream.take(size - has);
    let mut place = FileAt::new(file, has).map_err(CopyError::new)?;
    let mut copier = Copier::new()
        .deadline(Instant::now() + Duration::from_secs(600))
        .min_rate(1, Duration::from_secs(300));
    let mut outcome = copier.copy(&mut source, &mut place);
    while let Err(error) = &outcome
        && error.kind() == ErrorKind::StorageFull
        && make_room(error)
    {
        outcome = copier.resume(&mut source, &mut place);
    }
    outcome.map(|_| place.offset())
}

/// A client that goes on from where the server is.
fn send(server: std::net::SocketAddr, upload: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    let mut has = [0; 8];
    stream.read_exact(&mut has)?;
    let rest = &upload[u64::from_be_bytes(has) as usize..];
    // A server that has given up closes the connection.
    let _ = stream.write_all(rest);
    Ok(stream)
}

#[test]
fn goes_on_when_there_is_room_again() {
    let _leaks = fds::no_leaks();
    let upload = data::bytes(1, LEN);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(|| send(address, &upload).unwrap());
        let file = files::empty();
        let disk = hook::full_disk(&file, ROOM).install();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&0_u64.to_be_bytes()).unwrap();
        let mut times = 0;
        let stored = receive(&mut stream, &file, 0, LEN as u64, |error| {
            times += 1;
            assert!(error.residue().is_empty(), "the copier keeps it");
            disk.make_room(500_000);
            true
        });
        assert_eq!(stored.unwrap(), LEN as u64);
        assert_eq!(times, 3, "700001, 1200001, 1700001");
        assert_same(&files::contents(&file), &upload);
        drop(client.join().unwrap());
    });
}

#[test]
fn goes_on_with_the_next_connection() {
    let _leaks = fds::no_leaks();
    let upload = data::bytes(2, LEN);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let file = files::empty();
    thread::scope(|scope| {
        let mut has = 0_u64;
        for room in [Some(ROOM), None] {
            let client = scope.spawn(|| send(address, &upload).unwrap());
            let disk = room.map(|room| hook::full_disk(&file, room).install());
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&has.to_be_bytes()).unwrap();
            match receive(&mut stream, &file, has, LEN as u64, |_| false) {
                Ok(end) => has = end,
                Err(error) => has += error.moved(),
            }
            assert_eq!(has, room.unwrap_or(LEN as u64));
            drop((stream, disk));
            drop(client.join().unwrap());
        }
    });
    assert_same(&files::contents(&file), &upload);
}

/// The server gives up on a client that falls silent, and keeps what came.
#[test]
fn gives_up_on_a_client_that_stalls() {
    let _leaks = fds::no_leaks();
    let upload = data::bytes(3, 50_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(&upload).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let file = files::empty();
    let mut copier = Copier::new().min_rate(1, Duration::from_millis(100));
    let error = copier.copy(&mut stream, &mut &file).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::TimedOut, 50_000));
    assert_same(&files::contents(&file), &upload);
}
