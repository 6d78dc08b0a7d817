//! Sources and sinks in memory.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "references are sources and sinks, too"
)]

use std::collections::VecDeque;
use std::io::{self, BufWriter, Cursor, Read, Seek};
use std::os::fd::AsRawFd;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, CopyError, Mechanism, Opaque, ReadFrom, ReadSource, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, sockets};

const LEN: usize = 100_000;

fn data() -> Vec<u8> {
    data::bytes(90, LEN)
}

/// Copies a part into a file and the rest into memory.
#[track_caller]
fn gives(mut source: impl ReadSource, want: &[u8]) {
    let _leaks = fds::no_leaks();
    let part = want.len() / 3;
    let mut file = files::empty();
    let mut limited = (&mut source).take(part as u64);
    assert_eq!(zc_std::copy(&mut limited, &mut file).unwrap(), part as u64);
    assert_eq!(limited.limit(), 0);
    let mut rest = Vec::new();
    assert_eq!(zc_std::copy(&mut source, &mut rest).unwrap(), (want.len() - part) as u64);
    assert_same(&[files::contents(&file), rest].concat(), want);
    assert_eq!(zc_std::copy(&mut source, &mut file).unwrap(), 0, "it has ended");
}

#[test]
fn sources_in_memory_give_every_byte() {
    let data = data();
    gives(&data[..], &data);
    gives(&mut &data[..], &data);
    gives(Box::new(&data[..]), &data);
    gives(Cursor::new(&data), &data);
    gives(Cursor::new(data.clone()), &data);
    gives(Cursor::new(data.clone().into_boxed_slice()), &data);
    gives(Cursor::new([1, 2, 3, 4]), &[1, 2, 3, 4]);
    gives(Cursor::new("text"), b"text");
    gives(VecDeque::from(data.clone()), &data);
    gives(Opaque(&data[..]), &data);
    gives(io::empty(), b"");
    gives(io::repeat(7).take(LEN as u64), &[7; LEN]);
    // A ring buffer whose bytes are in two runs.
    let mut ring = VecDeque::with_capacity(LEN);
    ring.extend(&data[..LEN / 2]);
    ring.rotate_left(LEN / 4);
    ring.extend(&data[LEN / 2..]);
    let want: Vec<u8> = ring.iter().copied().collect();
    gives(ring, &want);
    // A cursor in the middle, at the end, and far beyond it.
    for at in [10, LEN as u64, u64::MAX] {
        let mut cursor = Cursor::new(&data[..]);
        cursor.set_position(at);
        gives(cursor, &data[usize::try_from(at).unwrap().min(LEN)..]);
    }
}

/// One write, without a copy in between.
#[test]
fn bytes_in_memory_are_written_from_where_they_are() {
    let _leaks = fds::no_leaks();
    let data = data();
    let mut file = files::empty();
    let recorder = hook::record();
    let report = Copier::new().copy(&mut &data[..], &mut file).unwrap();
    let calls = recorder.calls();
    assert_eq!((calls.len(), report.calls()), (1, 1), "{calls:?}");
    assert_eq!((calls[0].call.syscall, calls[0].call.to), (Syscall::Write, Some(file.as_raw_fd())));
    assert_eq!(calls[0].result, Ok(LEN));
    assert_eq!(report.mechanism(), Some(Mechanism::ReadWrite));
    assert_same(&files::contents(&file), &data);
}

#[test]
fn memory_is_written_to_a_socket() {
    let _leaks = fds::no_leaks();
    let data = data();
    let (mut to, from) = sockets::tcp_v4();
    let collector = Collector::start(from);
    assert_eq!(to.read_from(Cursor::new(&data)).unwrap(), LEN as u64);
    drop(to);
    assert_same(&collector.finish(), &data);
}

/// Copies all of [`data`] from a stream into `sink`. `look` says what the sink then holds.
#[track_caller]
fn holds<S: WriteSink>(mut sink: S, look: impl FnOnce(S) -> Vec<u8>) {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let (client, server) = sockets::unix();
        let feeder = Feeder::pieces(client, data(), 40_000);
        let mut limited = (&server).take(LEN as u64 / 2);
        let mut copier = Copier::new().adaptive(adaptive);
        if adaptive {
            assert_eq!(copier.copy(&mut limited, &mut sink).unwrap().moved(), LEN as u64 / 2);
            assert_eq!(limited.limit(), 0);
            io::copy(&mut &server, &mut io::sink()).unwrap();
        } else {
            (&server).take(LEN as u64 / 2).read_to_end(&mut Vec::new()).unwrap();
            let report = copier.copy(&mut &server, &mut sink).unwrap();
            assert_eq!(report.moved(), LEN as u64 / 2);
            assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64 / 2);
        }
        feeder.finish().unwrap();
    }
    assert_same(&look(sink), &data());
}

#[test]
fn sinks_in_memory_take_every_byte() {
    holds(Vec::new(), |v| v);
    holds(&mut Vec::new(), |v| v.clone());
    holds(Box::new(Vec::new()), |v| *v);
    holds(VecDeque::new(), |v| v.into());
    holds(Cursor::new(Vec::new()), Cursor::into_inner);
    holds(Cursor::new(&mut Vec::new()), |c| c.into_inner().clone());
    holds(Cursor::new(&mut [0; LEN][..]), |c| c.into_inner().to_vec());
    holds(Cursor::new(vec![0; LEN].into_boxed_slice()), |c| c.into_inner().into_vec());
    holds(Cursor::new([0; LEN]), |c| c.into_inner().to_vec());
    holds(Opaque(Vec::new()), |o| o.0);
    holds(BufWriter::new(Vec::new()), |b| b.into_inner().unwrap());
    let mut array = [0; LEN];
    holds(&mut array[..], |left| [&*left, &data()].concat());
    assert_same(&array, &data());
}

/// Sinks that keep nothing take and count every byte, and leave none in the source.
#[test]
fn sinks_of_nothing_take_everything() {
    let (mut null, mut null2, mut empty) = (io::sink(), &io::sink(), io::empty());
    let sinks: [&mut dyn WriteSink; 3] = [&mut null, &mut null2, &mut empty];
    for sink in sinks {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let (client, server) = sockets::unix();
            let feeder = Feeder::pieces(client, data(), 40_000);
            let mut limited = (&server).take(LEN as u64 / 2);
            let report = Copier::new().adaptive(adaptive).copy(&mut limited, sink).unwrap();
            assert_eq!((report.moved(), limited.limit()), (LEN as u64 / 2, 0));
            assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64 / 2);
            let mut rest = Vec::new();
            (&server).read_to_end(&mut rest).unwrap();
            assert_same(&rest, &data()[LEN / 2..]);
            feeder.finish().unwrap();
        }
    }
}

/// `Opaque` passes on vectored reads and writes, in one call each.
#[test]
fn opaque_passes_vectored_calls_on() {
    use io::{IoSlice, IoSliceMut, Write};

    let data = data();
    let (a, b) = data.split_at(10);
    let mut source = Opaque(&data[..]);
    let (mut head, mut tail) = ([0; 10], vec![0; LEN - 10]);
    let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
    assert_eq!(source.read_vectored(&mut bufs).unwrap(), LEN);
    assert_same(&[&head[..], &tail].concat(), &data);
    assert!(source.0.is_empty());

    let mut sink = Opaque(Vec::new());
    assert_eq!(sink.write_vectored(&[IoSlice::new(a), IoSlice::new(b)]).unwrap(), LEN);
    assert_same(&sink.0, &data);
}

/// What has no room in the sink is in the error, or still in the source.
#[test]
fn a_sink_that_is_full_loses_nothing() {
    let data = data();
    // From memory no byte is taken that does not fit.
    let (mut room, mut source) = ([0; 1000], &data[..]);
    let error = zc_std::copy(&mut source, &mut &mut room[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    let copy = CopyError::from_io(&error).unwrap();
    assert_eq!((copy.moved(), copy.residue().len(), source.len()), (1000, 0, LEN - 1000));
    assert_same(&[&room, source].concat(), &data);

    // From a file the bytes have been read already.
    let _leaks = fds::no_leaks();
    let file = files::holding(&data);
    let (mut room, mut limited) = ([0; 1000], (&file).take(50_000));
    let error = zc_std::copy(&mut limited, &mut Cursor::new(&mut room[..])).unwrap_err();
    let copy = CopyError::from_io(&error).unwrap();
    assert_eq!((copy.kind(), copy.moved()), (io::ErrorKind::WriteZero, 1000));
    let taken = 50_000 - limited.limit();
    assert_eq!(taken, 1000 + copy.residue().len() as u64);
    assert_eq!(files::position(&file), taken);
    assert_same(&[&room, copy.residue()].concat(), &data[..taken as usize]);

    // A copier keeps them for a sink with more room.
    (&file).rewind().unwrap();
    let (mut room, mut copier) = ([0; 1000], Copier::new());
    let mut limited = (&file).take(50_000);
    copier.copy(&mut limited, &mut &mut room[..]).unwrap_err();
    let mut more = Vec::new();
    copier.copy(&mut limited, &mut more).unwrap();
    assert_eq!(limited.limit(), 0);
    assert_same(&[&room[..], &more].concat(), &data[..50_000]);
}

/// A sink that claims to have taken too much is not believed.
#[test]
fn a_writer_that_claims_too_much_is_an_error() {
    struct Liar;
    impl io::Write for Liar {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len() + 1)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl io::Read for Liar {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            Ok(buf.len() + 1)
        }
    }
    let error = zc_std::copy(&mut &b"ten bytes."[..], &mut Opaque(Liar)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let error = zc_std::copy(&mut Opaque(&b"ten bytes."[..]), &mut Opaque(Liar)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(CopyError::from_io(&error).unwrap().residue(), b"ten bytes.");
    let mut out = Vec::new();
    let error = zc_std::copy(&mut Opaque(Liar), &mut out).unwrap_err();
    assert_eq!((error.kind(), out.len()), (io::ErrorKind::InvalidData, 0));
}
