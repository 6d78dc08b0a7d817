//! What `{:?}` prints of copiers and errors is short, and shows none of the data.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixStream;

use zc_std::{Copier, CopyError, ReadFrom};
use zc_testkit::fds;

const BYTE: u8 = 0xa7; // 167

#[test]
fn an_error_prints_how_long_its_residue_is() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&[BYTE; 30_000]).unwrap();
    drop(client);
    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();

    let error = full.read_from(&stream).unwrap_err();
    assert_eq!(CopyError::from_io(&error).unwrap().residue(), [BYTE; 30_000]);
    let printed = format!("{error:?} {error}");
    assert!(printed.contains("30000 bytes"), "{printed}");
    assert!(!printed.contains("167, 167"));
    assert!(printed.len() < 500);
}

#[test]
fn a_copier_does_not_print_its_buffer() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&[BYTE; 30_000]).unwrap();
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();

        let mut copier = Copier::new().adaptive(adaptive);
        copier.copy(&mut &stream, &mut full).unwrap_err();
        assert_eq!(copier.in_flight(), 30_000);
        let printed = format!("{copier:?}");
        assert!(!printed.contains("167, 167"));
        assert!(printed.len() < 1500, "{printed}");
        assert_eq!(copier.take_residue(), [BYTE; 30_000]);
    }
}
