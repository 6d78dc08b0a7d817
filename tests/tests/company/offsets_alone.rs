use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use zc_std::Side;
use zc_std::hook::{self, Action};
use zc_std::{Copier, Fd};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::feeder::Feeder;
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;
use zc_testkit::streams::{Plain, Stream, narrow, nonblocking};
use zc_testkit::{fds, files, tool};

const LEN: usize = (1 << 20) + 1001;
/// The offset of every file at the beginning.
const START: u64 = 12_345;

/// A file of zeros up to `START`, where it stands.
fn begun() -> File {
    let mut file = files::on_disk(&[0; START as usize]);
    file.seek(SeekFrom::Start(START)).unwrap();
    file
}

/// The streams, and `None` for a file.
const ENDS: [Option<Stream>; 5] =
    [Some(Stream::Tcp), Some(Stream::Unix), Some(Stream::Pipe), Some(Stream::Fifo), None];

/// A source that yields `data`; a file yields it from `START` on.
fn source(from: Option<Stream>, data: &[u8]) -> (Fd<File>, Option<Feeder>) {
    match from {
        Some(stream) => {
            let (to, from) = stream.open();
            let feeder = Feeder::pieces(Plain(to), data.to_vec(), 40_000);
            (Fd::new(from.into()).unwrap(), Some(feeder))
        }
        None => {
            let mut file = files::on_disk(&[&[0; START as usize], data].concat());
            file.seek(SeekFrom::Start(START)).unwrap();
            (Fd::new(file).unwrap(), None)
        }
    }
}

#[test]
fn a_copy_into_a_file_ends_where_its_bytes_do() {
    apart(|| {
        each(pairs(&ENDS, &[true, false]), |&(from, adaptive)| {
            for limit in [u64::MAX, 100, 70_000, 600_000] {
                let _leaks = fds::no_leaks();
                let data = data::bytes(1, LEN);
                let file = begun();
                let (mut source, feeder) = source(from, &data);
                let mut limited = Read::take(&mut source, limit);
                let report =
                    Copier::new().adaptive(adaptive).copy(&mut limited, &mut &file).unwrap();
                let moved = limit.min(LEN as u64);
                assert_eq!((report.moved(), limit - limited.limit()), (moved, moved));
                assert_eq!(files::position(&file), START + moved, "the destination's");
                if from.is_none() {
                    assert_eq!(files::position(source.get_ref()), START + moved, "the source's");
                }
                assert_same(&files::contents(&file)[START as usize..], &data[..moved as usize]);
                drop(source);
                drop(feeder);
            }
        });
    });
}

/// Every byte that is counted is in the file, and the offset is behind it. Once there is room the copy completes.
#[test]
fn a_full_disk_leaves_the_offset_behind_the_last_byte() {
    apart(|| {
        let Some(disk) = or_skip(Mount::tmpfs(1024)) else { return };
        each(pairs(&ENDS, &[true, false]), |&(from, adaptive)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(2, 3 << 20);
            let (ballast, path) = (disk.path("ballast"), disk.path("file"));
            std::fs::write(&ballast, vec![1; 300_000]).unwrap();
            let mut options = OpenOptions::new();
            let mut file = options.read(true).write(true).create(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(START)).unwrap();
            let (mut source, feeder) = source(from, &data);
            let mut limited = Read::take(&mut source, 900_000);

            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut limited, &mut &file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            let moved = error.moved();
            assert_eq!(files::position(&file), START + moved, "the destination's");
            let taken = moved + copier.in_flight() as u64;
            assert_eq!(900_000 - limited.limit(), taken);
            if from.is_none() {
                assert_eq!(
                    files::position(limited.get_ref().get_ref()),
                    START + taken,
                    "the source's"
                );
            }

            std::fs::remove_file(&ballast).unwrap();
            let report = copier.copy(&mut limited, &mut &file).unwrap();
            assert_eq!(moved + report.moved(), 900_000);
            assert_eq!(files::position(&file), START + 900_000, "the destination's, at the end");
            assert_same(&files::contents(&file)[START as usize..], &data[..900_000]);
            std::fs::remove_file(&path).unwrap();
            drop(source);
            drop(feeder);
        });
    });
}

/// The source has nothing now. The file's offset is behind what has come.
#[test]
fn half_way_into_a_file_the_offset_is_behind_what_came() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let file = begun();
            let (to, from) = stream.open();
            let mut source = Fd::new(nonblocking(from)).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let mut at = START;
            for len in [10, 50_000, 1] {
                let piece = data::bytes(at, len);
                assert_eq!(rustix::io::write(&to, &piece), Ok(len));
                let mut left = len as u64;
                while left > 0 {
                    let error = copier.copy(&mut source, &mut &file).unwrap_err();
                    assert_eq!(error.waits_for(), Some(Side::Source), "{error}");
                    left -= error.moved();
                }
                at += len as u64;
                assert_eq!((files::position(&file), copier.in_flight()), (at, 0));
                assert_same(&files::contents(&file)[at as usize - len..], &piece);
            }
        });
    });
}

/// The sink takes no more. The file's offset is behind what was taken from it.
#[test]
fn half_way_out_of_a_file_the_offset_is_behind_what_was_taken() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(3, 3 << 20);
            let (mut source, _) = source(None, &data);
            let (to, from) = stream.open();
            narrow(&to);
            let mut sink = Fd::new(nonblocking(to)).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut sink).unwrap_err();
            assert_eq!(error.waits_for(), Some(Side::Sink), "{error}");
            let taken = error.moved() + copier.in_flight() as u64;
            assert_eq!(files::position(source.get_ref()), START + taken, "delivered and in flight");

            let collector = Collector::start(Plain(from));
            sink = Fd::new({
                let to = sink.into_inner();
                rustix::io::ioctl_fionbio(&to, false).unwrap();
                to
            })
            .unwrap();
            let report = copier.copy(&mut source, &mut sink).unwrap();
            drop(sink);
            assert_eq!(error.moved() + report.moved(), data.len() as u64);
            assert_eq!(files::position(source.get_ref()), START + data.len() as u64);
            assert_same(&collector.finish(), &data);
        });
    });
}

/// The peer goes away. What was taken from the file is what was delivered and what is in flight.
#[test]
fn a_peer_that_has_gone_leaves_the_offset_right() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(4, 3 << 20);
            let (mut source, _) = source(None, &data);
            let (to, from) = stream.open();
            narrow(&to);
            let reader = std::thread::spawn(move || {
                Plain(from).read_exact(&mut vec![0; 300_000]).unwrap();
            });
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut Fd::new(to).unwrap()).unwrap_err();
            let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(gone.contains(&error.kind()), "{error}");
            reader.join().unwrap();
            assert!(error.moved() >= 300_000, "{error}");
            let taken = error.moved() + copier.in_flight() as u64;
            assert_eq!(files::position(source.get_ref()), START + taken, "delivered and in flight");
        });
    });
}

/// Each call of a copy in turn fails, or moves less than it was asked to.
#[test]
fn every_call_that_fails_or_falls_short_leaves_the_offsets_right() {
    apart(|| {
        let faults = [Action::Fail(28), Action::Fail(5), Action::Fail(11), Action::Limit(1)];
        each(pairs(&ENDS, &[true, false]), |&(from, adaptive)| {
            for (fault, nth) in pairs(&faults, &[0, 1, 2, 4, 7]) {
                let _leaks = fds::no_leaks();
                let data = data::bytes(5, 300_000);
                let file = begun();
                let (mut source, feeder) = source(from, &data);
                let mut limited = Read::take(&mut source, 250_000);
                let mut copier = Copier::new().adaptive(adaptive);
                let mut calls = 0;
                let guard = hook::replace(move |call| {
                    calls += usize::from(call.len > 0);
                    if call.len > 0 && calls == nth + 1 { fault } else { Action::Proceed }
                });
                let mut moved = 0;
                for _ in 0..10 {
                    let outcome = copier.copy(&mut limited, &mut &file);
                    moved += copier.report().moved();
                    let taken = moved + copier.in_flight() as u64;
                    assert_eq!(
                        files::position(&file),
                        START + moved,
                        "{fault:?} of {nth}: the destination's"
                    );
                    assert_eq!(250_000 - limited.limit(), taken, "{fault:?} of {nth}: the limit");
                    if from.is_none() {
                        let at = files::position(limited.get_ref().get_ref());
                        assert_eq!(at, START + taken, "{fault:?} of {nth}: the source's");
                    }
                    if outcome.is_ok() {
                        break;
                    }
                }
                drop(guard);
                assert_eq!(moved, 250_000, "{fault:?} of {nth}");
                assert_same(&files::contents(&file)[START as usize..], &data[..250_000]);
                drop(source);
                drop(feeder);
            }
        });
    });
}

/// A copy that is killed gives no claim back. Others lose what lies between its last write and its offsets: a MiB at
/// most, where the file system shares no blocks.
#[test]
fn a_copy_that_was_killed_leaves_little_behind_its_offset() {
    const MOST: u64 = 1 << 20;
    // No zeros: the tool would leave holes.
    let all = vec![b'a'; 96 << 20];
    apart_with_the_tool(|| {
        let ends = [files::empty as fn() -> File, || files::on_disk(b"")];
        each(pairs(&ends, &[4_u64, 5, 6, 7]), |(empty, mib)| {
            let _leaks = fds::no_leaks();
            let (source, sink) = (empty(), empty());
            source.write_all_at(&all, 0).unwrap();
            let written = || sink.metadata().unwrap().len();
            let tool = tool::copies(source.try_clone().unwrap(), sink.try_clone().unwrap());
            while written() < mib << 20 {
                std::thread::yield_now();
            }
            drop(tool);
            for file in [&source, &sink] {
                let beyond = files::position(file) - written();
                assert!(beyond <= MOST, "{beyond} bytes beyond {}", written());
            }
            assert_same(&files::contents(&sink), &all[..written() as usize]);
        });
    });
}
