//! Copies between real file systems, mounted by the test: every ordered pair of the writable ones, every read-only
//! one into each, sockets to and from each.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use zc_std::{Copier, Mechanism, Report};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{contents, position};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::{or_skip, skip};
use zc_testkit::streams::Stream;

const FAR: u64 = 1 << 40;
/// No multiple of any block, and more than one pipe.
const LEN: usize = (1 << 20) + 4097;

fn create(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

/// One line on how a copy went.
fn describe(report: &Report) -> String {
    let mut line = String::new();
    for mechanism in Mechanism::ALL {
        let moved = report.moved_by(mechanism);
        if moved > 0 {
            line += &format!(" {mechanism} {moved}");
        }
        if let Some(errno) = report.refused(mechanism) {
            line += &format!(" ({mechanism} refused: errno {errno})");
        }
    }
    line
}

/// Copies from the middle of one file into the middle of another, up to a limit and to the end.
fn copy_between(name: &str, from: &Path, to: &Path, sent: &[u8]) {
    let mut source = File::open(from).unwrap();
    let mut sink = create(to);
    sink.write_all(b"before ").unwrap();
    let mut first = [0; 11];
    source.read_exact(&mut first).unwrap();

    // Two copies: the limit ends the first, the end of the file the second.
    let half = LEN as u64 / 2;
    let mut limited = (&source).take(half);
    let mut copier = Copier::new();
    let report = copier.copy(&mut limited, &mut sink).unwrap();
    assert_eq!((report.moved(), limited.limit()), (half, 0), "{name}");
    assert_eq!((position(&source), position(&sink)), (11 + half, 7 + half), "{name}");
    let mut limited = (&source).take(FAR);
    let report = copier.copy(&mut limited, &mut sink).unwrap();
    let rest = sent.len() as u64 - 11 - half;
    assert_eq!((report.moved(), FAR - limited.limit()), (rest, rest), "{name}");
    assert_eq!(position(&source), sent.len() as u64, "{name}");
    assert_joined(&contents(&sink), &[("before", b"before "), (name, &sent[11..])]);
    eprintln!("{name:>20}:{}", describe(&report));
}

#[test]
fn writable_file_systems_copy_to_each_other() {
    let _leaks = fds::no_leaks();
    let (mounts, sent) = (Mount::writable(), bytes(0, LEN));
    for from in &mounts {
        fs::write(from.path("source"), &sent).unwrap();
        for to in &mounts {
            let name = format!("{} to {}", from.kind(), to.kind());
            copy_between(&name, &from.path("source"), &to.path("copy"), &sent);
        }
    }
}

#[test]
fn sockets_fill_and_drain_every_file_system() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, LEN);
    for mount in &Mount::writable() {
        for kind in Stream::SOCKETS {
            for adaptive in [true, false] {
                let name = format!("{kind:?} to {}", mount.kind());
                let (ours, theirs) = kind.sockets();
                let feeder = Feeder::until_refused(theirs, sent.clone());
                let mut file = create(&mount.path("upload"));
                let mut source = ours.take(LEN as u64 - 1);
                let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut file).unwrap();
                assert_eq!((report.moved(), source.limit()), (LEN as u64 - 1, 0), "{name}");
                if !adaptive {
                    assert_eq!(report.mechanism(), Some(Mechanism::Splice), "{name}: {report:?}");
                }
                assert_joined(&sent[..LEN - 1], &[(&name, &contents(&file))]);
                let mut last = Vec::new();
                source.into_inner().read_to_end(&mut last).unwrap();
                assert_eq!(last, sent[LEN - 1..]);
                feeder.finish().unwrap();
                eprintln!("{name:>20}:{}", describe(&report));

                let name = format!("{} to {kind:?}", mount.kind());
                let (mut ours, theirs) = kind.sockets();
                let reader = Collector::start(theirs);
                file.seek(SeekFrom::Start(3)).unwrap();
                let mut source = (&file).take(FAR);
                let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut ours).unwrap();
                drop(ours);
                assert_eq!(FAR - source.limit(), LEN as u64 - 4, "{name}");
                assert_joined(&sent[3..LEN - 1], &[(&name, &reader.finish())]);
                assert_eq!(position(&file), LEN as u64 - 1);
                eprintln!("{name:>20}:{}", describe(&report));
            }
        }
    }
}

#[test]
fn read_only_file_systems_copy_to_every_writable_one() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, LEN);
    let content = tempfile::tempdir().unwrap();
    fs::write(content.path().join("source"), &sent).unwrap();
    let sources = [Mount::squashfs(content.path()), Mount::squashfuse(content.path())];
    let writable = Mount::writable();
    for from in sources.into_iter().filter_map(or_skip) {
        for to in &writable {
            let name = format!("{} to {}", from.kind(), to.kind());
            copy_between(&name, &from.path("source"), &to.path("copy"), &sent);
        }
        let (mut ours, theirs) = Stream::Tcp.sockets();
        let reader = Collector::start(theirs);
        let mut source = File::open(from.path("source")).unwrap();
        let report = Copier::new().copy(&mut source, &mut ours).unwrap();
        drop(ours);
        assert_joined(&sent, &[(from.kind(), &reader.finish())]);
        eprintln!("{:>20}:{}", format!("{} to Tcp", from.kind()), describe(&report));
    }
}

/// These files claim to be empty. copy_file_range may believe that and answer 0; only a read finds the bytes.
#[test]
fn procfs_and_sysfs_copy_to_every_writable_file_system() {
    let _leaks = fds::no_leaks();
    // None of these changes between two reads.
    let stable = [
        "/proc/filesystems",
        "/proc/version",
        "/proc/cmdline",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/devices/system/cpu/possible",
    ];
    let writable = Mount::writable();
    for path in stable {
        let Ok(want) = fs::read(path) else {
            skip(&format!("{path} is not here"));
            continue;
        };
        assert!(!want.is_empty());
        for to in &writable {
            let name = format!("{path} to {}", to.kind());
            for limit in [FAR, 1 << 20, 5] {
                let source = File::open(path).unwrap();
                let mut file = create(&to.path("copy"));
                let mut limited = (&source).take(limit);
                let report = Copier::new().copy(&mut limited, &mut file).unwrap();
                let wanted = &want[..want.len().min(usize::try_from(limit).unwrap())];
                assert_joined(wanted, &[(&name, &contents(&file))]);
                assert_eq!(limit - limited.limit(), wanted.len() as u64, "{name}");
                assert_eq!(position(&source), wanted.len() as u64, "{name}");
                assert_eq!(report.moved(), wanted.len() as u64);
            }
        }
        for kind in Stream::SOCKETS {
            let (mut ours, theirs) = kind.sockets();
            let reader = Collector::start(theirs);
            let report = Copier::new().copy(&mut File::open(path).unwrap(), &mut ours).unwrap();
            drop(ours);
            assert_joined(&want, &[(path, &reader.finish())]);
            eprintln!("{path} to {kind:?}:{}", describe(&report));
        }
    }
}

/// A large procfs file, longer than any buffer, which the kernel generates while it is read.
#[test]
fn a_procfs_file_longer_than_a_page_arrives_whole() {
    const PATH: &str = "/proc/kallsyms";
    let _leaks = fds::no_leaks();
    let read = || fs::read(PATH).map_err(|error| format!("{PATH}: {error}"));
    // A module may be loaded or unloaded meanwhile. The content is known if two reads agree.
    for _ in 0..20 {
        let Some(before) = or_skip(read()) else { return };
        if before.len() <= 1 << 20 {
            return skip(&format!("{PATH} has {} bytes, which a buffer can hold", before.len()));
        }
        let (mut from, mut to) = (File::open(PATH).unwrap(), tempfile::tempfile().unwrap());
        let report = Copier::new().copy(&mut from, &mut to).unwrap();
        if read().unwrap() == before {
            assert_joined(&before, &[(PATH, &contents(&to))]);
            assert_eq!(report.moved(), before.len() as u64);
            assert_eq!(position(&from), before.len() as u64);
            return;
        }
    }
    panic!("{PATH} is another each time it is read");
}
