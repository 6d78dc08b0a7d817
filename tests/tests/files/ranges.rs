use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixDatagram;
use std::thread;

use rustix::io::Errno;
use zc_std::hook::{self, Action};
use zc_std::{Copier, CopyError, Fd, FileAt, Mechanism, PageSharing, ReadFrom, Side};
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::{calls, fds, files, sockets};

const LEN: usize = 300_000;
/// The file's own offset, and where the range begins.
const STANDS: u64 = 17;
const AT: u64 = 70_001;

/// A file that is longer than every range in these tests.
fn full() -> File {
    let mut file = files::holding(&old());
    file.seek(SeekFrom::Start(STANDS)).unwrap();
    file
}

fn old() -> Vec<u8> {
    data::bytes(4, AT as usize + LEN + 1000)
}

/// Asserts that `new` is in the file from `AT` on, and that all else is as it was.
#[track_caller]
fn assert_only(file: &File, new: &[u8]) {
    let (all, old) = (files::contents(file), old());
    let end = AT as usize + new.len();
    assert_same(&all[..AT as usize], &old[..AT as usize]);
    assert_same(&all[AT as usize..end], new);
    assert_same(&all[end..], &old[end..]);
    assert_eq!(files::position(file), STANDS);
}

// ---- As a sink ----------------------------------------------------------------------------------

const FROM: [From; 7] =
    [From::File, From::Tcp4, From::Tcp6, From::Unix, From::Pipe, From::Fifo, From::Plain];

#[test]
fn no_byte_goes_past_its_end_and_none_is_lost() {
    for from in FROM {
        for fits in [0, 1, 1000, 70_000, LEN - 1] {
            for adaptive in [true, false] {
                let _leaks = fds::no_leaks();
                let mut giver = from.open(data::bytes(3, LEN));
                let file = full();
                let mut sink = FileAt::range(&file, AT..AT + fits as u64).unwrap();
                let mut source = (&mut giver.source).take(LEN as u64);
                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                let what = format!("{from:?}, {fits}, {adaptive}: {error}");
                assert_eq!((error.kind(), error.side()), (ErrorKind::WriteZero, Some(Side::Sink)));
                assert_eq!(
                    (error.moved(), error.syscall()),
                    (fits as u64, Some("write")),
                    "{what}"
                );
                assert!(what.contains("limit"), "{what}");
                assert_eq!(sink.offset(), sink.end().unwrap(), "{what}");
                // The one byte that was taken to find out that there is more.
                assert_eq!(copier.in_flight(), 1, "{what}");
                assert_eq!(source.limit(), (LEN - fits - 1) as u64, "{what}");
                assert_only(&file, &giver.data[..fits]);

                // The byte that was taken goes into the next range, before the rest.
                let mut next = FileAt::range(&file, AT + fits as u64..AT + LEN as u64).unwrap();
                let moved = copier.copy(&mut source, &mut next).unwrap().moved();
                assert_eq!(moved, (LEN - fits) as u64, "{what}");
                assert_only(&file, &giver.data);
                drop(giver);
            }
        }
    }
}

#[test]
fn its_bytes_are_moved_as_the_files_are() {
    let table = [
        (From::File, Mechanism::CopyFileRange),
        (From::Tcp4, Mechanism::Splice),
        (From::Unix, Mechanism::Splice),
        (From::Pipe, Mechanism::Splice),
        (From::Plain, Mechanism::ReadWrite),
    ];
    for (from, mechanism) in table {
        let _leaks = fds::no_leaks();
        let mut giver = from.open(data::bytes(3, LEN));
        let file = full();
        let mut sink = FileAt::range(&file, AT..AT + LEN as u64 - 1).unwrap();
        let mut copier = Copier::new().adaptive(false);
        copier.copy(&mut giver.source, &mut sink).unwrap_err();
        assert_eq!(copier.report().moved_by(mechanism), LEN as u64 - 1, "{from:?}");
        assert_only(&file, &giver.data[..LEN - 1]);
        drop(giver);
    }
}

#[test]
fn what_fits_is_no_error() {
    for from in FROM {
        for spare in [0, 1, 1000] {
            let _leaks = fds::no_leaks();
            let mut giver = from.open(data::bytes(3, LEN));
            let file = full();
            let mut sink = FileAt::range(&file, AT..AT + LEN as u64 + spare).unwrap();
            assert_eq!(zc_std::copy(&mut giver.source, &mut sink).unwrap(), LEN as u64);
            assert_eq!(sink.offset(), AT + LEN as u64);
            assert_only(&file, &giver.data);
            drop(giver);
        }
    }
}

/// The connection stays open and nothing more comes. A call that waits for more would hang.
#[test]
fn a_source_that_says_where_it_ends_is_not_asked_for_more() {
    for len in [1000, LEN] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(3, len);
        let (mut client, mut server) = sockets::tcp_v4();
        let file = full();
        thread::scope(|scope| {
            scope.spawn(|| client.write_all(&data).unwrap());
            let mut range = FileAt::range(&file, AT..AT + len as u64).unwrap();
            assert_eq!(zc_std::copy_exact(&mut server, &mut range, len as u64).unwrap(), ());
        });
        assert_only(&file, &data);
    }
}

/// `copy` and `read_from` keep nothing, so their error has the residue.
#[test]
fn the_byte_too_many_is_in_the_residue() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, LEN);
    let (mut client, mut server) = sockets::unix();
    let file = full();
    thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&data).unwrap();
            drop(client);
        });
        let error = FileAt::range(&file, AT..=AT + 99).unwrap().read_from(&mut server).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        let failed = error.downcast::<CopyError>().unwrap();
        assert_eq!((failed.moved(), failed.residue()), (100, &data[100..101]));
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).unwrap();
        assert_same(&rest, &data[101..]);
    });
    assert_only(&file, &data[..100]);
}

/// The part of a message that is not taken is lost.
#[test]
fn a_message_is_taken_whole() {
    for fits in [0, 1, 50, 100, 130] {
        let _leaks = fds::no_leaks();
        let (one, other) = UnixDatagram::pair().unwrap();
        let (first, second) = (data::bytes(5, 100), data::bytes(6, 60));
        one.send(&first).unwrap();
        one.send(&second).unwrap();
        let file = full();
        let mut sink = FileAt::range(&file, AT..AT + fits as u64).unwrap();
        let (mut source, mut copier) = (Fd::new(&other).unwrap(), Copier::new());
        let error = copier.copy(&mut source, &mut sink).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, fits as u64), "{fits}");
        let both = [&first[..], &second].concat();
        assert_only(&file, &both[..fits]);
        let taken = if fits < 100 { 100 } else { 160 };
        assert_same(&copier.take_residue(), &both[fits..taken]);
    }
}

/// `write`, also through std's buffer, and with what the buffer holds when a copy begins.
#[test]
fn writes_keep_to_the_range() {
    let _leaks = fds::no_leaks();
    let file = full();
    let mut range = FileAt::range(&file, AT..AT + 10).unwrap();
    assert_eq!(range.write(&[1; 6]).unwrap(), 6);
    assert_eq!(range.write(&[2; 6]).unwrap(), 4);
    assert_eq!((range.write(&[3; 6]).unwrap(), range.write(&[]).unwrap()), (0, 0));
    assert_eq!(range.write_all(&[3]).unwrap_err().kind(), ErrorKind::WriteZero);
    assert_only(&file, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);

    let mut server = files::holding(&data::bytes(3, LEN));
    let mut range = FileAt::range(&file, AT..AT + 100_000).unwrap();
    let mut buffered = io::BufWriter::new(&mut range);
    buffered.write_all(&[7; 1000]).unwrap();
    let mut copier = Copier::new();
    let error = copier.copy(&mut server, &mut buffered).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, 99_000));
    assert!(buffered.buffer().is_empty());
    drop(buffered);
    assert_eq!((range.offset(), copier.in_flight()), (AT + 100_000, 1));
    assert_only(&file, &[&[7; 1000], &data::bytes(3, LEN)[..99_000]].concat());
}

/// Each of eight servers sends more than it was asked for.
#[test]
fn parts_of_a_download_keep_out_of_each_other() {
    const PARTS: usize = 8;
    let _leaks = fds::no_leaks();
    let data = data::bytes(8, PARTS * LEN);
    let file = files::empty();
    thread::scope(|scope| {
        for number in 0..PARTS {
            let (mut client, mut server) = sockets::tcp_v4();
            let (from, file) = (number * LEN, &file);
            let rest = &data[from..];
            // Nor does it mind the reset that follows.
            scope.spawn(move || drop(client.write_all(rest)));
            scope.spawn(move || {
                let mut part = FileAt::range(file, from as u64..(from + LEN) as u64).unwrap();
                let outcome = zc_std::copy(&mut server, &mut part);
                let moved = match outcome {
                    Ok(moved) => moved,
                    Err(error) => CopyError::from_io(&error).unwrap().moved(),
                };
                assert_eq!(moved, LEN as u64);
            });
        }
    });
    assert_same(&files::contents(&file), &data);
}

/// The source range is longer than the sink range of the same file, and does not touch it.
#[test]
fn a_range_is_copied_to_another_of_one_file() {
    let _leaks = fds::no_leaks();
    let file = full();
    let mut source = FileAt::range(&file, ..50_000).unwrap();
    let mut sink = FileAt::range(&file, AT..AT + 30_000).unwrap();
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, 30_000));
    assert_only(&file, &old()[..30_000]);
}

#[test]
fn holes_end_at_the_end_of_the_range() {
    let _leaks = fds::no_leaks();
    let mut source = files::empty();
    source.set_len(LEN as u64).unwrap();
    let file = files::empty();
    let mut sink = FileAt::range(&file, AT..AT + 200_000).unwrap();
    let mut copier = Copier::new().keep_holes(true).adaptive(false);
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, 200_000));
    assert_eq!(file.metadata().unwrap().len(), AT + 200_000);
}

/// The Nth call that moves bytes fails, for every N; the others are short.
#[test]
fn after_an_error_the_range_still_ends_where_it_did() {
    for errno in [Errno::NOSPC, Errno::INVAL, Errno::INTR, Errno::AGAIN] {
        for from in [From::File, From::Unix, From::Pipe] {
            for nth in 0.. {
                let _leaks = fds::no_leaks();
                let mut giver = from.open(data::bytes(9, LEN));
                let file = full();
                let fits = 250_000;
                let mut sink = FileAt::range(&file, AT..AT + fits).unwrap();
                let mut source = (&mut giver.source).take(LEN as u64);
                let mut copier = Copier::new();
                let (mut count, mut was_met) = (0, false);
                let fault = hook::replace(move |call| {
                    if !calls::MOVERS.contains(&call.syscall) {
                        return Action::Proceed;
                    }
                    count += 1;
                    match count - 1 {
                        n if n == nth => Action::Fail(errno.raw_os_error()),
                        _ => Action::Limit(70_000),
                    }
                });
                let recorder = hook::record();
                let (mut moved, mut outcome) = (0, copier.copy(&mut source, &mut sink));
                was_met |= recorder.calls().iter().any(|record| record.result.is_err());
                drop((fault, recorder));
                // The first error is the fault, the second the end of the range.
                for _ in 0..2 {
                    let error = outcome.unwrap_err();
                    moved += error.moved();
                    assert_eq!(sink.offset(), AT + moved);
                    let taken = LEN as u64 - source.limit();
                    assert_eq!(taken, moved + copier.in_flight() as u64, "{errno:?} at {nth}");
                    assert_only(&file, &giver.data[..moved as usize]);
                    outcome = copier.resume(&mut source, &mut sink);
                }
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WriteZero);
                assert_eq!((moved, copier.in_flight()), (fits, 1), "{errno:?} at {nth}");
                drop(giver);
                if !was_met && nth > 0 {
                    break;
                }
            }
        }
    }
}

// ---- As a source --------------------------------------------------------------------------------

#[test]
fn a_source_ends_where_its_range_does() {
    for to in [To::File, To::Tcp4, To::Unix, To::Pipe, To::Plain] {
        for sharing in [PageSharing::Never, PageSharing::Sockets, PageSharing::Always] {
            for len in [0, 1, 1000, LEN] {
                let _leaks = fds::no_leaks();
                let (file, mut taker) = (full(), to.open());
                let mut source = FileAt::range(&file, AT..AT + len as u64).unwrap();
                let mut copier = Copier::new().page_sharing(sharing);
                let moved = copier.copy(&mut source, &mut taker.sink).unwrap().moved();
                assert_eq!((moved, source.offset()), (len as u64, AT + len as u64), "{to:?}");
                assert_same(&taker.finish().unwrap(), &old()[AT as usize..][..len]);
                assert_eq!(files::position(&file), STANDS);
                let mut more = Vec::new();
                assert_eq!(source.read_to_end(&mut more).unwrap(), 0);
            }
        }
    }
}

#[test]
fn bounds_are_those_of_the_range() {
    let _leaks = fds::no_leaks();
    let file = full();
    let bounds = |range: io::Result<FileAt<&File>>| {
        let range = range.unwrap();
        (range.offset(), range.end())
    };
    assert_eq!(bounds(FileAt::range(&file, 3..5)), (3, Some(5)));
    assert_eq!(bounds(FileAt::range(&file, 3..=5)), (3, Some(6)));
    assert_eq!(bounds(FileAt::range(&file, 3..)), (3, None));
    assert_eq!(bounds(FileAt::range(&file, ..5)), (0, Some(5)));
    assert_eq!(bounds(FileAt::range(&file, ..)), (0, None));
    assert_eq!(bounds(FileAt::range(&file, 3..3)), (3, Some(3)));
    assert_eq!(bounds(FileAt::new(&file, 3)), (3, None));
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = FileAt::range(&file, 5..3).unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::InvalidInput);

    // Behind its end a range has neither bytes nor room.
    let mut range = FileAt::range(&file, 3..5).unwrap();
    range.set_offset(7);
    assert_eq!((range.read(&mut [0; 9]).unwrap(), range.write(&[0; 9]).unwrap()), (0, 0));
    range.set_offset(4);
    assert_eq!(range.read(&mut [0; 9]).unwrap(), 1);
}
