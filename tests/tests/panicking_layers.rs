//! A layer that panics when it is told of bytes keeps no other layer from being told.

use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zc_std::{Copier, Progress, Source};

/// Copies six bytes' worth of `source`, whose progress panics, under a limit of four.
fn four_of_six(source: impl Source) {
    let mut copier = Copier::new();
    let mut file = tempfile::tempfile().unwrap();
    let mut source = Progress::new(source, |_| panic!("on purpose")).take(4);
    let outcome = catch_unwind(AssertUnwindSafe(|| copier.copy(&mut source, &mut file)));
    assert!(outcome.is_err(), "nothing panicked");

    assert_eq!(source.limit(), 0);
    assert_eq!(copier.in_flight(), 0);
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"four");
}

#[test]
fn of_bytes_from_a_buffer() {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    let mut reader = BufReader::new(&stream);
    std::io::BufRead::fill_buf(&mut reader).unwrap();
    four_of_six(&mut reader);
    assert_eq!(reader.buffer(), b"six");
}

#[test]
fn of_bytes_from_a_descriptor() {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    four_of_six(&stream);
}

#[test]
fn on_the_other_side() {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    let file = tempfile::tempfile().unwrap();
    let mut given = 0;
    let mut source = Progress::new(&stream, |_| panic!("on purpose")).take(4);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        zc_std::copy(&mut source, &mut Progress::new(&file, |n| given += n))
    }));
    assert!(outcome.is_err(), "nothing panicked");
    assert_eq!((source.limit(), given), (0, 4));
}
