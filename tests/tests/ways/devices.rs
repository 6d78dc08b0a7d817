//! Files that are not what they seem: procfs, sysfs, devices. And what sharing pages means.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use zc_std::hook::{self, Syscall};
use zc_std::{Copier, CopyError, FileAt, Mechanism, PageSharing};
use zc_testkit::data::{self, assert_same};
use zc_testkit::ends::{From, To};
use zc_testkit::serial::serial;
use zc_testkit::skip::skip;
use zc_testkit::{calls, fds, files, pipes, sockets};

const SOURCES: [From; 8] = [
    From::File,
    From::Tcp4,
    From::Tcp6,
    From::Unix,
    From::Pipe,
    From::Fifo,
    From::Tty,
    From::Plain,
];

const SINKS: [To; 10] = [
    To::File,
    To::Tcp4,
    To::Tcp6,
    To::Unix,
    To::Pipe,
    To::Fifo,
    To::Null,
    To::Sink,
    To::Tty,
    To::Plain,
];

/// A file of procfs or sysfs claims a length of 0 or of a page. Neither is true.
#[test]
fn pseudo_files_reach_every_sink_whole() {
    let sysfs = "/sys/kernel/mm/transparent_hugepage/enabled";
    for path in ["/proc/self/cmdline", "/proc/version", "/proc/filesystems", sysfs] {
        let alone = serial();
        let Ok(want) = std::fs::read(path) else {
            skip(&format!("{path}: this system has none"));
            continue;
        };
        drop(alone);
        for to in SINKS {
            for limit in [u64::MAX, want.len() as u64 - 1] {
                let _leaks = fds::no_leaks();
                let file = File::open(path).unwrap();
                let mut limited = (&file).take(limit);
                let mut taker = to.open();

                let report = Copier::new().copy(&mut limited, &mut taker.sink).unwrap();

                let moved = limit.min(want.len() as u64);
                assert_eq!(report.moved(), moved, "{path} to {to:?}");
                assert_eq!(limited.limit(), limit - moved, "{path} to {to:?}");
                assert_eq!(files::position(&file), moved, "{path} to {to:?}");
                if let Some(got) = taker.finish() {
                    assert_same(&got, &want[..moved as usize]);
                }
            }
        }
    }
}

#[test]
fn a_device_without_end_is_taken_up_to_the_limit() {
    for to in SINKS {
        for len in [1, 4096, 300_000] {
            let _leaks = fds::no_leaks();
            let zero = File::open("/dev/zero").unwrap();
            let mut limited = (&zero).take(len);
            let mut taker = to.open();
            let recorder = hook::record();

            let report = Copier::new().copy(&mut limited, &mut taker.sink).unwrap();

            assert_eq!((report.moved(), limited.limit()), (len, 0), "{to:?}");
            assert_eq!(report.moved_by(Mechanism::ReadWrite), len, "{to:?}");
            calls::assert_stopped_at(&recorder.calls(), zero.as_raw_fd(), len);
            if let Some(got) = taker.finish() {
                assert_same(&got, &vec![0; len as usize]);
            }
        }
    }
}

/// Bytes that a full device did not take are in the error. Bytes that were not taken are in the source.
#[test]
fn a_full_device_loses_nothing() {
    for from in SOURCES {
        for limit in [u64::MAX, 5000] {
            let _leaks = fds::no_leaks();
            let mut giver = from.open(data::bytes(4, 100_000));
            let mut full = File::options().write(true).open("/dev/full").unwrap();
            let mut limited = (&mut giver.source).take(limit);

            let error = zc_std::copy(&mut limited, &mut full).unwrap_err();

            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{from:?}");
            let left = limited.limit();
            let error = CopyError::from_io(&error).unwrap();
            assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "{from:?}");
            assert_eq!((error.moved(), error.syscall()), (0, Some("write")), "{from:?}");
            let residue = error.residue().to_vec();
            assert!(!residue.is_empty(), "{from:?}: something was taken, or nothing was tried");
            assert_eq!(left, limit - residue.len() as u64, "{from:?}");
            let rest = giver.rest();
            assert_same(&[residue, rest].concat(), &giver.data);
        }
    }
}

/// A sink that cannot be written fails with its own error.
#[test]
fn a_sink_open_for_reading_fails_with_its_own_error() {
    for from in SOURCES {
        let _leaks = fds::no_leaks();
        let mut giver = from.open(data::bytes(5, 50_000));
        let mut sink = File::open("/dev/null").unwrap();

        let mut copier = Copier::new().adaptive(false);
        let error = copier.copy(&mut giver.source, &mut sink).unwrap_err();

        assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()), "{from:?}");
        assert_eq!((error.moved(), error.syscall()), (0, Some("write")), "{from:?}");
        let residue = copier.take_residue();
        let rest = giver.rest();
        assert_same(&[residue, rest].concat(), &giver.data);
    }
}

// ---- Page sharing -----------------------------------------------------------------------------

/// Copies a file, and overwrites it before the other end is read.
fn copied_then_overwritten<R: Read>(
    sharing: PageSharing,
    (mut reader, mut writer): (R, impl zc_std::WriteSink),
) -> (Vec<u8>, Vec<u8>, zc_std::Report) {
    const LEN: usize = 32 * 1024; // fits any pipe and socket
    let old = data::bytes(7, LEN);
    let mut file = files::holding(&old);
    let mut copier = Copier::new().page_sharing(sharing).adaptive(false);
    let report = copier.copy(&mut file, &mut writer).unwrap();
    assert_eq!(report.moved(), LEN as u64);
    drop(writer);
    file.rewind().unwrap();
    file.write_all(&data::bytes(8, LEN)).unwrap();
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    (got, old, report)
}

/// Bytes copied into a pipe do not change (rust-lang/rust#108283), unless sharing was asked for.
#[test]
fn a_pipe_gets_copies_unless_told_to_share() {
    for sharing in [PageSharing::Sockets, PageSharing::Never] {
        let _leaks = fds::no_leaks();
        let (got, old, report) = copied_then_overwritten(sharing, pipes::pipe());
        assert_eq!(report.mechanism(), Some(Mechanism::ReadWrite));
        assert_same(&got, &old);
    }
    let _leaks = fds::no_leaks();
    let (got, old, report) = copied_then_overwritten(PageSharing::Always, pipes::pipe());
    assert_eq!(report.mechanism(), Some(Mechanism::Splice));
    assert_same(&got, &data::bytes(8, old.len()));
}

#[test]
fn a_socket_gets_copies_when_told_never_to_share() {
    let _leaks = fds::no_leaks();
    let (got, old, report) = copied_then_overwritten(PageSharing::Never, sockets::tcp_v4());
    assert_eq!(report.mechanism(), Some(Mechanism::ReadWrite));
    assert_same(&got, &old);
    let (got, old, report) = copied_then_overwritten(PageSharing::Never, sockets::unix());
    assert_eq!(report.mechanism(), Some(Mechanism::ReadWrite));
    assert_same(&got, &old);
}

/// The other side of the bargain, as documented: a Unix socket holds the file's own pages.
#[test]
fn a_socket_shares_pages_by_default() {
    let _leaks = fds::no_leaks();
    let (got, old, report) = copied_then_overwritten(PageSharing::default(), sockets::unix());
    assert_eq!(report.mechanism(), Some(Mechanism::Sendfile));
    assert_same(&got, &data::bytes(8, old.len()));
}

/// A copy that has failed in the middle, of pages that it has taken. Then its source is written over.
#[test]
fn what_was_taken_between_files_changes_no_more() {
    for sharing in [PageSharing::Never, PageSharing::Sockets] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(9, 3 << 20);
        let (source, sink) = (files::holding(&data), files::empty());
        let _other_device = hook::failing(Syscall::CopyFileRange, 18).install(); // EXDEV
        let disk = hook::full_disk(&sink, 100_000).install();
        let mut copier = Copier::new().adaptive(false).page_sharing(sharing);
        let mut from = FileAt::new(&source, 0).unwrap();
        let mut to = FileAt::new(&sink, 0).unwrap();
        let error = copier.copy(&mut from, &mut to).unwrap_err();
        let taken = 100_000 + copier.in_flight();
        assert_eq!((error.moved(), from.offset()), (100_000, taken as u64));
        assert!(taken > 3 << 18, "more than a half-full pipe: {taken}");

        source.write_all_at(&vec![0; data.len()], 0).unwrap();
        disk.make_room(u64::MAX);
        copier.copy(&mut std::io::empty(), &mut to).unwrap();
        assert_same(&files::contents(&sink), &data[..taken]);
    }
}

/// Every byte passes through the smallest pipe, a little at a time.
#[test]
fn a_pipe_of_one_page_as_the_sink_gets_all() {
    let _leaks = fds::no_leaks();
    let (reader, mut writer) = pipes::pipe();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut giver = From::Pipe.open(data::bytes(9, 100_000));
    let collector = zc_testkit::collector::Collector::start(reader);
    let recorder = hook::record();
    let report = Copier::new().copy(&mut giver.source, &mut writer).unwrap();
    assert_eq!(report.moved(), 100_000);
    assert!(recorder.calls_to(Syscall::Pipe).is_empty(), "a pipe beside a pipe");
    drop(writer);
    assert_same(&collector.finish(), &giver.data);
}
