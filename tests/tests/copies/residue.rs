//! What a copy that failed hands back: the bytes that were taken and not delivered.

use std::io::{self, ErrorKind, Read, Write};

use zc_core::generic;
use zc_std::{CopyError, Opaque, ReadFrom};
use zc_testkit::data::{self, assert_same};
use zc_testkit::fds;

const LEN: usize = 100_000;
const ROOM: usize = 30_001;

/// Takes [`ROOM`] bytes, in pieces, and no more.
#[derive(Default)]
struct Full(Vec<u8>);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(ROOM - self.0.len()).min(7_000);
        if n == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(&buf[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asserts that the sink's bytes, the residue and what the source has left are all of `data`.
fn adds_up(error: CopyError, sink: &Full, rest: &[u8], data: &[u8]) {
    assert_eq!((error.kind(), error.syscall()), (ErrorKind::StorageFull, Some("write")));
    assert_eq!((error.moved(), sink.0.len()), (ROOM as u64, ROOM));
    let residue = error.residue().to_vec();
    assert!(!residue.is_empty());
    let into_residue = error.into_residue();
    assert_same(&into_residue, &residue);
    assert_same(&[&sink.0[..], &into_residue, rest].concat(), data);
}

#[test]
fn the_generic_copy_hands_the_residue_over() {
    let data = data::bytes(82, LEN);
    // Without a limit around the source, and with one.
    for limit in [u64::MAX, LEN as u64 - 10] {
        let mut sink = Opaque(Full::default());
        let mut source = Opaque(&data[..]).take(limit);
        let error = generic::copy(&mut source, &mut sink).unwrap_err();
        let taken = error.moved() + error.residue().len() as u64;
        assert_eq!(limit - source.limit(), taken);
        let rest = source.into_inner().0;
        adds_up(error, &sink.0, rest, &data);
    }
    // It moves everything where nothing fails.
    let mut out = Opaque(Vec::new());
    assert_eq!(generic::copy(&mut Opaque(&data[..]), &mut out).unwrap(), LEN as u64);
    assert_same(&out.0, &data);
}

/// The plain calls return an `io::Error`, which gives the copy's own error.
#[test]
fn an_io_error_has_the_residue_by_value() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(83, LEN);
    let copy: fn(&mut Opaque<&[u8]>, &mut Opaque<Full>) -> io::Result<u64> =
        |source, sink| zc_std::copy(source, sink);
    let read_from: fn(&mut Opaque<&[u8]>, &mut Opaque<Full>) -> io::Result<u64> =
        |source, sink| sink.read_from(source);
    for copy in [copy, read_from] {
        let (mut sink, mut source) = (Opaque(Full::default()), Opaque(&data[..]));
        let error = copy(&mut source, &mut sink).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let error = error.downcast::<CopyError>().unwrap();
        adds_up(error, &sink.0, source.0, &data);
    }
    // Errors from elsewhere stay as they are.
    let other = io::Error::other("something else");
    assert!(CopyError::from_io(&other).is_none());
    assert_eq!(other.downcast::<CopyError>().unwrap_err().to_string(), "something else");
}
