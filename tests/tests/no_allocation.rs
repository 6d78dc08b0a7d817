//! Copies of a few bytes allocate nothing, except for the first on its thread.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use zc_benches::alloc::{Counting, count};
use zc_std::{Copier, ReadFrom};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files, sockets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PIECE: u64 = 64;
const PIECES: u64 = 20;

/// Copies a piece.
type Copy = fn(&TcpStream, &mut File) -> u64;

const COPIES: [(&str, Copy); 3] = [
    ("read_from", |from, to| to.read_from(from.take(PIECE)).unwrap()),
    ("copy", |from, to| zc_std::copy(&mut from.take(PIECE), to).unwrap()),
    ("Copier", |from, to| Copier::new().copy(&mut from.take(PIECE), to).unwrap().moved()),
];

#[test]
fn small_copies_share_one_buffer_per_thread() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(80, (PIECE * PIECES) as usize);
    for (name, copy) in COPIES {
        let (mut client, stream) = sockets::tcp_v4();
        client.write_all(&data).unwrap();
        let mut file = files::empty();
        // A new thread has copied nothing yet.
        let counts: Vec<_> = thread::scope(|scope| {
            let copies = scope.spawn(|| {
                let one = |_| {
                    let (moved, allocated) = count(|| copy(&stream, &mut file));
                    assert_eq!(moved, PIECE, "{name}");
                    allocated.calls
                };
                (0..PIECES).map(one).collect()
            });
            copies.join().unwrap()
        });
        assert!(
            counts[0] > 0,
            "the first of a thread has no buffer to find, or nothing is counted"
        );
        assert!(counts[1..].iter().all(|&n| n == 0), "{name}: {counts:?}");
        assert_same(&files::contents(&file), &data);
    }
}

/// A piece of which only a part has come by the first read is continued in the same buffer.
#[test]
fn a_piece_that_comes_in_parts_shares_the_buffer() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(82, PIECE as usize + PIECE as usize / 2);
    for (name, copy) in COPIES {
        let (mut client, stream) = sockets::tcp_v4();
        client.write_all(&data).unwrap();
        drop(client);
        let mut file = files::empty();
        assert_eq!(copy(&stream, &mut file), PIECE);
        let (moved, allocated) = count(|| copy(&stream, &mut file));
        assert_eq!((moved, allocated.calls), (PIECE / 2, 0), "{name}");
        assert_same(&files::contents(&file), &data);
    }
}

/// Copies of every kind share their thread's buffer.
#[test]
fn copies_of_every_kind_share_the_buffer() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(81, PIECE as usize * COPIES.len() * 2);
    let (mut client, stream) = sockets::tcp_v4();
    client.write_all(&data).unwrap();
    let mut file = files::empty();
    COPIES[0].1(&stream, &mut file);
    for (name, copy) in COPIES[1..].iter().chain(&COPIES) {
        let (_, allocated) = count(|| copy(&stream, &mut file));
        assert_eq!(allocated.calls, 0, "{name}");
    }
    assert_same(&files::contents(&file), &data);
}
