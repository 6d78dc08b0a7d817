use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::process::Command;

use rustix::process::Resource;
use zc_std::hook;
use zc_std::{Copier, FileAt, Progress, ReadSource};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::limits::set_soft;
use zc_testkit::raw;
use zc_testkit::{cli, fds, files};

/// How the copy writes to the end of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Another open file, in append mode.
    Append,
    /// Another open file, whose offset is the file's end.
    Standing,
}

const ENDS: [End; 2] = [End::Append, End::Standing];

/// Files may get no longer than this, so that a copy that chases its own tail ends.
const MOST: u64 = 2 << 20;

fn bounded() {
    raw::ignore(libc::SIGXFSZ).unwrap();
    set_soft(Resource::Fsize, Some(MOST));
}

impl End {
    fn open(self, name: &tempfile::NamedTempFile) -> File {
        match self {
            End::Append => OpenOptions::new().append(true).open(name.path()).unwrap(),
            End::Standing => {
                let mut file = OpenOptions::new().write(true).open(name.path()).unwrap();
                file.seek(SeekFrom::End(0)).unwrap();
                file
            }
        }
    }
}

/// Copies `source`, which begins with all of the file, to the end of the file. The file gets `want` once, as of the
/// beginning, or the copy is refused before the first byte.
#[track_caller]
fn check(
    mut source: impl ReadSource,
    end: End,
    adaptive: bool,
    name: &tempfile::NamedTempFile,
    want: &[u8],
) {
    let before = std::fs::read(name.path()).unwrap();
    let mut to = end.open(name);
    let outcome = Copier::new().adaptive(adaptive).copy(&mut source, &mut to);
    let len = std::fs::metadata(name.path()).unwrap().len();
    match outcome {
        Ok(report) => {
            let moved = report.moved();
            assert_eq!((moved, len), (want.len() as u64, (before.len() + want.len()) as u64));
            assert_same(&std::fs::read(name.path()).unwrap(), &[&before[..], want].concat());
        }
        Err(error) => {
            assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0), "{error}");
            assert_eq!(len, before.len() as u64, "{error}");
        }
    }
}

fn file_of(len: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
    let (name, data) = (tempfile::NamedTempFile::new().unwrap(), data::bytes(1, len));
    std::fs::write(name.path(), &data).unwrap();
    (name, data)
}

/// From less than a page to more than one read takes.
const LENS: [usize; 6] = [77, 1000, 65_536, 65_537, 200_000, 600_000];

/// The file is the first half of a chain, so it is read, and ends where it ended at the beginning.
#[test]
fn a_file_at_the_head_of_a_chain_ends() {
    apart(|| {
        bounded();
        each(pairs(&pairs(&LENS, &ENDS), &[true, false]), |&((len, end), adaptive)| {
            let _leaks = fds::no_leaks();
            let (name, data) = file_of(len);
            let open = || File::open(name.path()).unwrap();
            let want = [&data[..], b"!"].concat();
            check(open().chain(&b"!"[..]), end, adaptive, &name, &want);

            let (name, data) = file_of(len);
            let open = || File::open(name.path()).unwrap();
            let want = [&data[..], b"!"].concat();
            let meter = Progress::new(open(), |_| {});
            check(BufReader::new(meter).chain(&b"!"[..]), end, adaptive, &name, &want);

            // The file up to its length.
            let (name, data) = file_of(len);
            let open = || File::open(name.path()).unwrap();
            let head = open().take(len as u64).chain(&b"!"[..]);
            check(head, end, adaptive, &name, &[&data[..], b"!"].concat());
        });
    });
}

/// The file in a chain in a chain, with a limit around both.
#[test]
fn a_file_at_the_head_of_chains_ends() {
    apart(|| {
        bounded();
        each(pairs(&pairs(&LENS, &ENDS), &[true, false]), |&((len, end), adaptive)| {
            for limit in [len as u64 + 2, 1 << 40] {
                let _leaks = fds::no_leaks();
                let (name, data) = file_of(len);
                let file = File::open(name.path()).unwrap();
                let source = file.chain(&b"!"[..]).chain(&b"?"[..]).take(limit);
                check(source, end, adaptive, &name, &[&data[..], b"!?"].concat());
            }
        });
    });
}

/// At the tail of a chain, and by itself.
#[test]
fn a_file_alone_and_at_the_tail_of_a_chain_ends() {
    apart(|| {
        bounded();
        each(pairs(&pairs(&LENS, &ENDS), &[true, false]), |&((len, end), adaptive)| {
            let _leaks = fds::no_leaks();
            let (name, data) = file_of(len);
            check(File::open(name.path()).unwrap(), end, adaptive, &name, &data);

            let (name, data) = file_of(len);
            let file = File::open(name.path()).unwrap();
            check(BufReader::new(file), end, adaptive, &name, &data);

            let (name, data) = file_of(len);
            let file = File::open(name.path()).unwrap();
            // Whether the byte written before counts as the file's is left open. The copy has to end.
            let mut to = end.open(&name);
            let mut source = (&b"!"[..]).chain(file);
            let outcome = Copier::new().adaptive(adaptive).copy(&mut source, &mut to);
            let moved = outcome.map_or(0, |report| report.moved());
            let right = [0, len as u64 + 1, len as u64 + 2];
            assert!(right.contains(&moved), "{moved} bytes of a file of {}", data.len());
        });
    });
}

/// Under a limit; small files are copied without a look at the two ends.
#[test]
fn a_file_under_a_limit_ends() {
    apart(|| {
        bounded();
        let limits = [10, 65_536, 100_000, 1 << 30];
        let cells = pairs(&pairs(&LENS, &limits), &pairs(&ENDS, &[true, false]));
        each(cells, |&((len, limit), (end, adaptive))| {
            let _leaks = fds::no_leaks();
            let (name, data) = file_of(len);
            let file = File::open(name.path()).unwrap();
            let want = &data[..data.len().min(usize::try_from(limit).unwrap())];
            check((&file).take(limit), end, adaptive, &name, want);

            // `copy`, which has a fast path for small ones.
            let (name, data) = file_of(len);
            let file = File::open(name.path()).unwrap();
            let mut to = end.open(&name);
            let outcome = zc_std::copy(&mut (&file).take(limit), &mut to);
            let got = std::fs::read(name.path()).unwrap();
            match outcome {
                Ok(_) => assert_same(&got, &[&data[..], want].concat()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                    assert_same(&got, &data);
                }
            }
        });
    });
}

/// One open file is both ends, in append mode: the copy is refused, or right.
#[test]
fn one_open_file_ends_or_is_refused() {
    apart(|| {
        bounded();
        each(pairs(&LENS, &[true, false]), |&(len, adaptive)| {
            for chained in [false, true] {
                let _leaks = fds::no_leaks();
                let (name, data) = file_of(len);
                let mut options = OpenOptions::new();
                let file = options.read(true).append(true).open(name.path()).unwrap();
                let mut copier = Copier::new().adaptive(adaptive);
                let outcome = if chained {
                    copier.copy(&mut (&file).chain(&b"!"[..]), &mut &file)
                } else {
                    copier.copy(&mut &file, &mut &file)
                };
                let tail: &[u8] = if chained { b"!" } else { b"" };
                let got = files::contents(&file);
                match outcome {
                    Ok(_) => assert_same(&got, &[&data[..], &data, tail].concat()),
                    Err(error) => {
                        assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0));
                        assert_same(&got, &data);
                    }
                }
            }
        });
    });
}

/// What is in flight is delivered first, and is then part of the file.
#[test]
fn bytes_in_flight_end() {
    apart(|| {
        bounded();
        each(pairs(&LENS, &ENDS), |&(len, end)| {
            let _leaks = fds::no_leaks();
            let (name, _) = file_of(len);
            let mut file = File::open(name.path()).unwrap();
            let mut to = end.open(&name);
            let mut copier = Copier::with_residue(b"held".to_vec());
            match copier.copy(&mut file, &mut to) {
                Ok(report) => assert!(report.moved() <= len as u64 + 8, "{}", report.moved()),
                Err(error) => assert!(error.moved() <= 4, "{error}"),
            }
            to.flush().unwrap();
        });
    });
}

/// The tool, as in a shell's `zc cp - - < file >> file`: the copy is refused, or right.
/// A sink that has room for exactly the file. To know that nothing is left, the copy reads on.
#[test]
fn a_sink_with_room_for_the_file_gets_no_more() {
    for (len, adaptive) in [(10, true), (10, false), (200_000, true), (200_000, false)] {
        for at_offset in [false, true] {
            let _leaks = fds::no_leaks();
            let (name, data) = file_of(len);
            let file = OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
            let (mut plain, mut ranged) = (&file, FileAt::new(&file, 0).unwrap());
            let source: &mut dyn ReadSource = if at_offset { &mut ranged } else { &mut plain };
            let len = len as u64;
            let mut sink = FileAt::range(&file, len..2 * len).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            assert_eq!(copier.copy(source, &mut sink).unwrap().moved(), len);
            assert_eq!(copier.in_flight(), 0);
            assert_same(&files::contents(&file), &data.repeat(2));

            // Without room for all of it the copy fails, and has the first byte too many.
            let (mut whole, target) = (FileAt::new(&file, 0).unwrap(), 2 * len..4 * len - 1);
            let error = copier.copy(&mut whole, &mut FileAt::range(&file, target).unwrap());
            let error = error.unwrap_err();
            assert_eq!((error.kind(), error.moved()), (ErrorKind::WriteZero, 2 * len - 1));
            assert_eq!(copier.take_residue(), data[data.len() - 1..]);
        }
    }
}

#[test]
fn the_tool_ends_or_refuses() {
    apart_with_the_tool(|| {
        bounded();
        each(pairs(&LENS, &["cp - -", "cp - - --limit 40K"]), |&(len, arguments)| {
            let _leaks = fds::no_leaks();
            let (name, data) = file_of(len);
            let script = format!("$ZC {arguments} < $1 >> $1 2>/dev/null || echo refused");
            let path = name.path().display().to_string();
            let said = Command::new("/bin/sh")
                .args(["-euc", &script, "sh", &path])
                .env("ZC", cli::binary())
                .output()
                .unwrap();
            let limit = if arguments.contains("limit") { 40 << 10 } else { usize::MAX };
            let want: &[u8] =
                if said.stdout == b"refused\n" { b"" } else { &data[..len.min(limit)] };
            assert_same(&std::fs::read(&path).unwrap(), &[&data[..], want].concat());
        });
    });
}

/// The write that follows the one read of a small copy takes only some of it: what it has written is no more of the
/// source than what the rest is.
#[test]
fn a_short_write_does_not_make_the_file_longer_for_the_copy() {
    apart(|| {
        bounded();
        each(pairs(&[77, 1000, 8000], &ENDS), |&(len, end)| {
            for most in [1, 60, len - 1] {
                let _leaks = fds::no_leaks();
                let (name, data) = file_of(len);
                let mut to = end.open(&name);
                let short = hook::short(most).at(&to).times(1).install();
                let mut from = File::open(name.path()).unwrap().take(20_000);
                let moved = zc_std::copy(&mut from, &mut to).unwrap();
                assert_eq!((moved, from.limit(), short.hits()), (len as u64, 20_000 - moved, 1));
                drop(short);
                assert_same(&std::fs::read(name.path()).unwrap(), &[&data[..], &data[..]].concat());
            }
        });
    });
}
