//! Files opened with `O_DIRECT`: read and written in whole blocks, from and to aligned memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use tempfile::TempDir;
use zc_std::{Copier, CopyError, ReadSource};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files, sockets};

/// A directory with a file of `data` on disk, into which the copy goes.
fn on_disk(data: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("from"), data).unwrap();
    dir
}

fn open(dir: &TempDir, direct_from: bool, direct_to: bool) -> (File, File) {
    let flags = |direct| if direct { libc::O_DIRECT } else { 0 };
    let mut reading = File::options();
    let from = reading.read(true).custom_flags(flags(direct_from)).open(dir.path().join("from"));
    let mut writing = File::options();
    let to = writing.write(true).create(true).truncate(true).custom_flags(flags(direct_to));
    (from.unwrap(), to.open(dir.path().join("to")).unwrap())
}

/// Whole blocks and parts of blocks, on each side of the size of one read and of what counts as small.
const SIZES: [usize; 8] = [1, 512, 4096, 5000, 65_536, 100_000, 262_144, (5 << 20) + 77];

/// Copies by `copy`, or by a copier, adaptive or not.
fn copied(
    adaptive: Option<bool>,
    from: &mut impl ReadSource,
    to: &mut File,
) -> Result<u64, (ErrorKind, u64, Vec<u8>)> {
    let Some(adaptive) = adaptive else {
        return zc_std::copy(from, to).map_err(|error| {
            let error = error.downcast::<CopyError>().unwrap();
            (error.kind(), error.moved(), error.into_residue())
        });
    };
    let mut copier = Copier::new().adaptive(adaptive);
    match copier.copy(from, to) {
        Ok(report) => Ok(report.moved()),
        Err(error) => Err((error.kind(), error.moved(), copier.take_residue())),
    }
}

const WAYS: [Option<bool>; 3] = [None, Some(true), Some(false)];

#[test]
fn files_are_copied_whole() {
    for len in SIZES {
        for way in WAYS {
            let _leaks = fds::no_leaks();
            let data = data::bytes(1, len);
            let dir = on_disk(&data);
            let (mut from, mut to) = open(&dir, true, false);
            let mut limited = (&mut from).take(1 << 40);
            let moved = copied(way, &mut limited, &mut to)
                .unwrap_or_else(|error| panic!("{len} bytes, {way:?}: {error:?}"));
            assert_eq!((moved, limited.limit()), (len as u64, (1 << 40) - moved), "{way:?}");
            assert_eq!((files::position(&from), files::position(&to)), (moved, moved), "{way:?}");
            assert_same(&std::fs::read(dir.path().join("to")).unwrap(), &data);
        }
    }
}

/// The kernel writes no part of a block to such a file, by any mechanism. What is left over is not lost.
#[test]
fn whole_blocks_are_written() {
    for len in SIZES {
        for direct_from in [true, false] {
            for way in WAYS {
                let _leaks = fds::no_leaks();
                let data = data::bytes(2, len);
                let dir = on_disk(&data);
                let (mut from, mut to) = open(&dir, direct_from, true);
                let (moved, residue) = match copied(way, &mut from, &mut to) {
                    Ok(moved) => (moved, Vec::new()),
                    Err((ErrorKind::InvalidInput, moved, residue)) => (moved, residue),
                    Err(other) => panic!("{len} bytes, {way:?}: {other:?}"),
                };
                assert!(len % 4096 != 0 || moved == len as u64, "{moved} of {len}, {way:?}");
                assert_eq!(files::position(&to), moved, "{way:?}");
                assert_eq!(files::position(&from), moved + residue.len() as u64, "{way:?}");
                let written = std::fs::read(dir.path().join("to")).unwrap();
                let taken = usize::try_from(moved).unwrap() + residue.len();
                assert_same(&[written, residue].concat(), &data[..taken]);
            }
        }
    }
}

/// The kernel reads no part of a block from such a file, by any mechanism: a limit that is no multiple of a block is
/// an error.
#[test]
fn whole_blocks_are_read() {
    for limit in [4096, 61_440, 262_144, 299_008, 5000, 60_001] {
        for way in WAYS {
            let _leaks = fds::no_leaks();
            let data = data::bytes(3, 400_000);
            let dir = on_disk(&data);
            let (mut from, mut to) = open(&dir, true, false);
            let mut limited = (&mut from).take(limit);
            let moved = match copied(way, &mut limited, &mut to) {
                Err((ErrorKind::InvalidInput, moved, residue)) if limit % 4096 != 0 => {
                    assert!(residue.is_empty());
                    moved
                }
                outcome => {
                    assert_eq!(outcome, Ok(limit), "{way:?}");
                    limit
                }
            };
            assert_eq!(limited.limit(), limit - moved);
            assert_eq!((files::position(&from), files::position(&to)), (moved, moved));
            let want = &data[..usize::try_from(moved).unwrap()];
            assert_same(&std::fs::read(dir.path().join("to")).unwrap(), want);
        }
    }
}

#[test]
fn files_are_sent_whole() {
    for len in SIZES {
        let _leaks = fds::no_leaks();
        let data = data::bytes(4, len);
        let dir = on_disk(&data);
        let (mut sink, drain) = sockets::tcp_v4();
        let (mut from, _) = open(&dir, true, false);
        let drain = Collector::start(drain);
        let moved = zc_std::copy(&mut from, &mut sink).unwrap();
        assert_eq!((moved, files::position(&from)), (len as u64, len as u64));
        drop(sink);
        assert_same(&drain.finish(), &data);
    }
}
