//! Rare sinks: behind `dyn`, of a fixed size, nowhere at all.

use std::io::{self, Cursor, Read, Write};

use zc_std::{CopyError, ReadFrom, ReadSource, WriteSink};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files, sockets};

/// A socket that yields 50,000 bytes, and what holds its other end.
fn source(data: &[u8]) -> impl ReadSource + use<> {
    let (mut client, stream) = sockets::unix();
    client.write_all(data).unwrap();
    stream
}

#[test]
fn a_sink_behind_dyn_reads_from_a_source() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 50_000);
    let file = files::empty();
    let mut sinks: Vec<Box<dyn WriteSink + Send>> = vec![
        Box::new(file.try_clone().unwrap()),
        Box::new(io::BufWriter::new(file.try_clone().unwrap())),
    ];
    for sink in &mut sinks {
        let mut limited = source(&data).take(50_000);
        assert_eq!(sink.read_from(&mut limited).unwrap(), 50_000);
        assert_eq!(limited.limit(), 0);
    }
    drop(sinks);
    let mut file = file;
    {
        let sink: &mut dyn WriteSink = &mut file;
        assert_eq!(sink.read_from(source(&data).take(1000)).unwrap(), 1000);
    }
    {
        let sink: Box<dyn WriteSink + Send + Sync + '_> = Box::new(&mut file);
        assert_eq!({ sink }.read_from(&b"end"[..]).unwrap(), 3);
    }
    let want = [&data[..], &data, &data[..1000], b"end"].concat();
    assert_same(&files::contents(&file), &want);
}

#[test]
fn a_cursor_over_an_array_takes_what_fits() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(2, 50_000);
    let mut cursor = Cursor::new([0; 10_000]);
    let error = cursor.read_from(source(&data).take(50_000)).unwrap_err();
    let error = error.downcast::<CopyError>().unwrap();
    assert_eq!((error.kind(), error.moved()), (io::ErrorKind::WriteZero, 10_000));
    assert_same(&[&cursor.get_ref()[..], error.residue()].concat(), &data);
}

#[test]
fn nowhere_takes_everything() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, 50_000);
    assert_eq!((&io::empty()).read_from(source(&data).take(50_000)).unwrap(), 50_000);
    assert_eq!((&io::sink()).read_from(source(&data).take(50_000)).unwrap(), 50_000);
}

/// The reason of an error is told once in its chain of sources, and the original error can be had.
#[test]
fn an_error_tells_its_reason_once() {
    let _leaks = fds::no_leaks();
    let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let error = full.read_from(&b"some bytes"[..]).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::StorageFull, None));
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        told += &next.to_string();
        cause = next.source();
    }
    assert_eq!(told.matches("No space left").count(), 1, "{told}");
    let error = error.downcast::<CopyError>().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(error.io_error().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(error.moved(), 0);
}
