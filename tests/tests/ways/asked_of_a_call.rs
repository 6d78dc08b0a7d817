//! How much one call is asked to move at most, where that is promised.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, FileAt, Mechanism, PageSharing, Progress, Report, pool};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{calls, fds, files, pipes, sockets};

/// Copies from a socket through a pipe of `size` bytes, or of the default size. Returns the pipe's size, and the most
/// that one call was to put into it.
fn spliced_through(size: Option<usize>) -> (usize, usize) {
    let data = data::bytes(50, 300_000);
    let (client, stream) = sockets::unix();
    let feeder = Feeder::pieces(client, data.clone(), 100_000);
    let mut file = files::empty();
    let mut copier = Copier::new().adaptive(false);
    if let Some(size) = size {
        copier = copier.pipe_size(size);
    }

    let recorder = hook::record();
    let report = copier.copy(&mut &stream, &mut file).unwrap();
    feeder.finish().unwrap();
    assert_eq!(report.moved_by(Mechanism::Splice), data.len() as u64);
    assert_same(&files::contents(&file), &data);

    let splices = recorder.calls_to(Syscall::Splice);
    let mut fills = splices.iter().filter(|splice| splice.call.from == Some(stream.as_raw_fd()));
    let most = fills.clone().map(|fill| fill.call.len).max().unwrap();
    let pipe = fills.next_back().unwrap().call.to.unwrap();
    // The pipe is in the pool, so its number is still right. This opens it once more.
    let path = format!("/proc/self/fd/{pipe}");
    let pipe = File::options().write(true).open(path).unwrap();
    (rustix::pipe::fcntl_getpipe_size(&pipe).unwrap(), most)
}

/// Also when the pool has pipes of other sizes.
#[test]
fn pipes_are_as_large_as_the_copier_says() {
    let _leaks = fds::no_leaks();
    for size in [None, Some(64 << 10), Some(1 << 20), Some(256 << 10), Some(64 << 10), None] {
        let want = size.unwrap_or(1 << 20);
        assert_eq!(spliced_through(size), (want, want), "{size:?}");
    }
    assert_eq!(pool::idle(), 3, "one of each size");
}

/// How many bytes [`between_files`] copies.
const LEN: u64 = (128 << 20) + (2 << 20);

/// Copies a file of zeros with a few marks by `copy`. Asserts that it moves `most` bytes at a time, and reports each.
fn between_files(most: u64, copy: impl FnOnce(&File, &File, &mut dyn FnMut(u64)) -> Report) {
    /// The marks are where calls end and begin, and at the end of the file.
    const MARKS: [u64; 6] = [0, (1 << 20) - 2, (64 << 20) - 4, 64 << 20, (128 << 20) - 2, LEN - 4];

    let _leaks = fds::no_leaks();
    let (from, to) = (files::empty(), files::empty());
    from.set_len(LEN).unwrap();
    for mark in MARKS {
        from.write_all_at(b"mark", mark).unwrap();
    }
    let mut told = Vec::new();
    let recorder = hook::record();
    let report = copy(&from, &to, &mut |n| told.push(n));

    assert_eq!((report.moved(), report.moved_by(Mechanism::CopyFileRange)), (LEN, LEN));
    let calls = recorder.calls_to(Syscall::CopyFileRange);
    assert_eq!(calls.iter().map(|record| record.call.len as u64).max(), Some(most), "{calls:?}");
    assert_eq!(told.iter().sum::<u64>(), LEN);
    assert!(told.iter().all(|&n| n <= most), "{told:?}");

    // A MiB at a time, so that the whole file need not be in memory.
    let (mut got, mut want) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..LEN).step_by(1 << 20) {
        from.read_exact_at(&mut want, at).unwrap();
        to.read_exact_at(&mut got, at).unwrap();
        assert_same(&got, &want);
    }
    assert_eq!(to.metadata().unwrap().len(), LEN);
    for mark in MARKS {
        let mut bytes = [0; 4];
        to.read_exact_at(&mut bytes, mark).unwrap();
        assert_eq!(&bytes, b"mark", "at {mark}");
    }
}

/// A MiB is claimed at a time.
#[test]
fn at_most_a_mib_is_asked_of_a_file_by_its_offset() {
    between_files(1 << 20, |from, mut to, tell| {
        let mut source = Progress::new(from.take(LEN), tell);
        let report = Copier::new().adaptive(false).copy(&mut source, &mut to).unwrap();
        assert_eq!(source.get_ref().limit(), 0);
        assert_eq!([from, to].map(files::position), [LEN, LEN]);
        report
    });
}

/// No offset is moved, so no range is claimed. The limit is there so that a progress bar hears of the copy.
#[test]
fn at_most_64_mib_are_asked_of_a_range_of_a_file() {
    between_files(64 << 20, |from, to, tell| {
        let place = FileAt::new(from, 0).unwrap();
        let mut source = Progress::new(place.take(LEN), tell);
        let mut sink = FileAt::new(to, 0).unwrap();
        let report = Copier::new().adaptive(false).copy(&mut source, &mut sink).unwrap();
        assert_eq!((source.get_ref().limit(), sink.offset()), (0, LEN));
        assert_eq!([from, to].map(files::position), [0, 0]);
        report
    });
}

/// Between a pipe and a file a call moves half of what a pipe holds by default, so that both ends of the pipe are
/// busy.
#[test]
fn half_a_pipe_is_asked_between_a_file_and_a_pipe() {
    const MOST: usize = 32 << 10;
    let data = data::bytes(51, (1 << 20) + 11);
    let asked = |recorder: &hook::Recorder, from: &dyn AsRawFd| -> usize {
        let calls = calls::movers(&recorder.calls());
        let takes = calls.iter().filter(|record| record.call.from == Some(from.as_raw_fd()));
        takes.map(|record| record.call.len).max().unwrap()
    };
    for adaptive in [true, false] {
        for sharing in [PageSharing::Sockets, PageSharing::Always] {
            let _leaks = fds::no_leaks();
            let (reader, mut writer) = pipes::pipe();
            let collector = Collector::start(reader);
            let mut file = files::holding(&data);
            let mut copier = Copier::new().adaptive(adaptive).page_sharing(sharing);
            let recorder = hook::record();
            let report = copier.copy(&mut file, &mut writer).unwrap();
            drop(writer);
            assert_eq!(report.moved(), data.len() as u64);
            assert_same(&collector.finish(), &data);
            let spliced = report.moved_by(Mechanism::Splice) > 0;
            assert_eq!(spliced, sharing == PageSharing::Always, "{report:?}");
            assert_eq!(asked(&recorder, &file), MOST, "into the pipe, {adaptive}, {sharing:?}");
        }
        let _leaks = fds::no_leaks();
        let (mut reader, writer) = pipes::pipe();
        let feeder = Feeder::pieces(writer, data.clone(), 300_000);
        let mut file = files::empty();
        let recorder = hook::record();
        let report = Copier::new().adaptive(adaptive).copy(&mut reader, &mut file).unwrap();
        feeder.finish().unwrap();
        assert!(report.moved_by(Mechanism::Splice) > 0, "{report:?}");
        assert_same(&files::contents(&file), &data);
        // The pipe is emptied at once into one of the pool, so that its writer can go on.
        assert_eq!(asked(&recorder, &reader), 1 << 20, "out of the pipe, {adaptive}");
    }
}

/// The kernel grants another size than was asked for. The pipe is used as it is.
#[test]
fn a_pipe_of_another_size_is_filled_as_far_as_it_goes() {
    let _leaks = fds::no_leaks();
    let _refused = hook::replace(|call| match call.syscall {
        Syscall::SetPipeSize => Action::Fail(libc::EPERM),
        _ => Action::Proceed,
    });
    let (_reader, writer) = pipes::pipe();
    let granted = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    assert_eq!(spliced_through(Some(1 << 20)), (granted, granted));
}
