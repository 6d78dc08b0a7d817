//! Go's own cases for a TCP or Unix socket into a file (the change that gave `(*os.File).ReadFrom` splice(2)), with
//! the calls, the two descriptors and the offsets.

use std::fs::File;
use std::io::{self, Read, Take, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Record, Syscall};
use zc_std::{AsRawPollFd, Copier, Mechanism, ReadFrom, Source};
use zc_testkit::calls::{self, movers};
use zc_testkit::data::{self, Bulk, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, sockets};

/// One byte, a few, and sizes over 1 KiB, over a page and over 32 KiB.
const SIZES: [usize; 5] = [1, 42, 1025, 4097, 32769];

/// What these tests need of either kind of socket.
trait Stream: AsRawFd + Read + Send + 'static
where
    for<'a> &'a Self: Source + Read,
{
}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

// ---- Sizes and limits -------------------------------------------------------------------------

#[test]
fn small_tcp_copies_read_and_write() {
    each_size_and_limit(sockets::tcp_v4, reads_and_writes);
}

#[test]
fn small_unix_copies_read_and_write() {
    each_size_and_limit(sockets::unix, reads_and_writes);
}

#[test]
fn tcp_copies_splice_on_request() {
    each_size_and_limit(sockets::tcp_v4, splices);
}

#[test]
fn unix_copies_splice_on_request() {
    each_size_and_limit(sockets::unix, splices);
}

/// Without a limit; and with limits of one byte less than there is, half of it, and one byte more.
fn each_size_and_limit<S: Stream>(
    pair: fn() -> (S, S),
    copy: fn(&S, &File, Option<u64>, usize) -> Option<u64>,
) where
    for<'a> &'a S: Source + Read + Write,
{
    for size in SIZES {
        let n = size as u64;
        for limit in [None, Some(n - 1), Some(n / 2), Some(n + 1)] {
            let _leaks = fds::no_leaks();
            let data = data::bytes(n, size);
            let (client, server) = pair();
            (&client).write_all(&data).unwrap();
            drop(client);
            let file = files::empty();

            let left = copy(&server, &file, limit, size);

            let moved = limit.map_or(n, |limit| limit.min(n));
            assert_eq!(left, limit.map(|limit| limit - moved), "limit left");
            assert_eq!(files::position(&file), moved, "file offset");
            let (want, rest) = data.split_at(moved as usize);
            assert_same(&files::contents(&file), want);
            let mut unread = Vec::new();
            (&server).read_to_end(&mut unread).unwrap();
            assert_same(&unread, rest);
        }
    }
}

/// `file.read_from(…)`: a few bytes are read and written.
fn reads_and_writes<S: Stream>(
    server: &S,
    mut file: &File,
    limit: Option<u64>,
    size: usize,
) -> Option<u64>
where
    for<'a> &'a S: Source + Read,
{
    let moved = limit.map_or(size as u64, |limit| limit.min(size as u64));
    let recorder = hook::record();
    let mut limited = limit.map(|limit| server.take(limit));
    let n = match &mut limited {
        Some(limited) => file.read_from(limited),
        None => file.read_from(server),
    };
    assert_eq!(n.unwrap(), moved);

    let calls = recorder.calls();
    let (from, to) = (server.as_raw_fd(), file.as_raw_fd());
    if size < 16 * 1024 || limit.is_some_and(|limit| limit <= 16 * 1024) {
        let at_end = limit.is_none_or(|limit| limit > moved);
        let mut want = Vec::new();
        if moved > 0 {
            want.push((Syscall::Read, Some(from), None, Ok(moved as usize)));
            want.push((Syscall::Write, None, Some(to), Ok(moved as usize)));
        }
        if at_end {
            want.push((Syscall::Read, Some(from), None, Ok(0)));
        }
        assert_eq!(outcomes(&movers(&calls)), want);
        assert!(recorder.calls_to(Syscall::Pipe).is_empty(), "a pipe for {size} bytes");
    } else {
        assert_eq!(movers(&calls)[0].call.syscall, Syscall::Read, "a copy begins with a read");
    }
    check_end(&calls, from, limit, moved);
    limited.as_ref().map(Take::limit)
}

/// A copier that does not adapt splices from the first byte on.
fn splices<S: Stream>(server: &S, mut file: &File, limit: Option<u64>, size: usize) -> Option<u64>
where
    for<'a> &'a S: Source + Read,
{
    let moved = limit.map_or(size as u64, |limit| limit.min(size as u64));
    let recorder = hook::record();
    let mut copier = Copier::new().adaptive(false);
    let mut limited = limit.map(|limit| server.take(limit));
    let report = match &mut limited {
        Some(limited) => copier.copy(limited, &mut file),
        None => copier.copy(&mut { server }, &mut file),
    }
    .unwrap();

    let calls = recorder.calls();
    let (from, to) = (server.as_raw_fd(), file.as_raw_fd());
    assert_eq!(report.moved(), moved);
    assert_eq!(report.moved_by(Mechanism::Splice), moved);
    assert_eq!(report.calls(), calls.len() as u64);
    if moved > 0 {
        assert_eq!(report.mechanism(), Some(Mechanism::Splice));
        calls::assert_spliced_through_a_pipe(&calls, from, to);
        assert_eq!(calls::moved_from(&calls, from), moved);
        assert_eq!(calls::moved_to(&calls, to), moved);
    }
    check_end(&calls, from, limit, moved);
    limited.as_ref().map(Take::limit)
}

/// A read of 0 tells the end of input. A limit that was reached takes no call at all.
fn check_end(calls: &[Record], from: i32, limit: Option<u64>, moved: u64) {
    if limit == Some(moved) {
        calls::assert_stopped_at(calls, from, moved);
        assert!(moved > 0 || calls.is_empty(), "calls for no bytes: {calls:?}");
    } else {
        let calls = movers(calls);
        let last = calls.last().unwrap();
        assert_eq!((last.call.syscall, last.call.from), (Syscall::Read, Some(from)));
        assert_eq!(last.result, Ok(0));
    }
}

type Outcome = (Syscall, Option<i32>, Option<i32>, Result<usize, i32>);

fn outcomes(calls: &[Record]) -> Vec<Outcome> {
    calls.iter().map(|r| (r.call.syscall, r.call.from, r.call.to, r.result)).collect()
}

// ---- Streams in chunks --------------------------------------------------------------------------

/// Writes of `chunk` bytes up to `total`, into a file, with a limit or without.
struct Upload {
    chunk: usize,
    total: usize,
    limit: Option<u64>,
}

const SIMPLE: Upload = Upload { chunk: 128, total: 128, limit: None };
const MANY_WRITES: Upload = Upload { chunk: 4096, total: 1 << 20, limit: None };
const BIG: Upload = Upload { chunk: 5 << 20, total: 1 << 30, limit: None };
const LIMITED: Upload = Upload { chunk: 4096, total: 1 << 20, limit: Some(1 << 10) };
const ABOVE_TOTAL: Upload = Upload { chunk: 1024, total: 4096, limit: Some(4096 + 100) };
const AT_LIMIT: Upload = Upload { chunk: 32, total: 128, limit: Some(128) };

#[test]
fn a_single_write_is_copied() {
    SIMPLE.over_both();
}

#[test]
fn many_writes_are_copied() {
    MANY_WRITES.over_both();
}

#[test]
fn a_limit_is_honoured() {
    LIMITED.over_both();
}

#[test]
fn a_limit_above_the_total_keeps_what_is_over() {
    ABOVE_TOTAL.over_both();
}

#[test]
fn a_limit_that_is_reached_ends_the_copy() {
    AT_LIMIT.over_both();
}

#[test]
fn a_gibibyte_is_copied_over_tcp() {
    let report = BIG.run(sockets::tcp_v4, true);
    assert!(report.moved_by(Mechanism::Splice) > 0, "so much at once is worth a try: {report:?}");
}

#[test]
fn a_gibibyte_is_copied_over_unix() {
    let report = BIG.run(sockets::unix, false);
    assert_eq!(report.moved_by(Mechanism::Splice), 1 << 30);
}

impl Upload {
    fn over_both(&self) {
        for adaptive in [true, false] {
            self.run(sockets::tcp_v4, adaptive);
            self.run(sockets::unix, adaptive);
        }
    }

    fn run<S>(&self, pair: fn() -> (S, S), adaptive: bool) -> zc_std::Report
    where
        S: Stream + Write,
        for<'a> &'a S: Source + Read,
    {
        let _leaks = fds::no_leaks();
        let (client, server) = pair();
        let mut file = files::empty();
        let feeder = self.feed(client);

        let total = self.total as u64;
        let moved = self.limit.map_or(total, |limit| limit.min(total));
        let recorder = hook::record();
        let mut copier = Copier::new().adaptive(adaptive);
        let report = if let Some(limit) = self.limit {
            let mut limited = (&server).take(limit);
            let report = copier.copy(&mut limited, &mut file).unwrap();
            assert_eq!(limited.limit(), limit - moved);
            report
        } else {
            copier.copy(&mut &server, &mut file).unwrap()
        };
        assert_eq!(report.moved(), moved);
        assert_eq!(files::position(&file), moved);
        let (from, to) = (server.as_raw_fd(), file.as_raw_fd());
        let calls = recorder.calls();
        check_end(&calls, from, self.limit, moved);
        assert_eq!(calls::moved_from(&calls, from), moved);
        assert_eq!(calls::moved_to(&calls, to), moved);

        // The socket still has what the limit left.
        let mut rest = Vec::new();
        (&server).read_to_end(&mut rest).unwrap();
        feeder.finish().unwrap();
        self.check(&file, moved as usize, &rest);
        report
    }

    fn feed(&self, mut to: impl Write + Send + 'static) -> Feeder {
        let (chunk, total) = (self.chunk, self.total);
        Feeder::run(move || {
            let mut bulk = Bulk::new(1, chunk);
            for number in 0..total.div_ceil(chunk) {
                let len = chunk.min(total - number * chunk);
                to.write_all(&bulk.chunk(number as u64)[..len])?;
            }
            Ok(())
        })
    }

    /// Asserts that the file has the first `moved` bytes of the stream, and `rest` the others.
    fn check(&self, mut file: &File, moved: usize, rest: &[u8]) {
        assert_eq!(file.metadata().unwrap().len(), moved as u64);
        assert_eq!(moved + rest.len(), self.total);
        io::Seek::rewind(&mut file).unwrap();
        let mut stream = file.chain(rest);
        let mut bulk = Bulk::new(1, self.chunk);
        let mut got = vec![0; self.chunk];
        for number in 0..self.total.div_ceil(self.chunk) {
            let len = self.chunk.min(self.total - number * self.chunk);
            stream.read_exact(&mut got[..len]).unwrap();
            assert_same(&got[..len], &bulk.chunk(number as u64)[..len]);
        }
    }
}

// ---- Descriptors ----------------------------------------------------------------------------------

#[test]
fn sockets_yield_their_descriptor_and_that_it_is_a_stream() {
    fn check<S: AsRawPollFd + AsFd>(socket: &S) {
        let yielded = socket.as_raw_poll_fd();
        assert_eq!(yielded.fd().as_raw_fd(), socket.as_fd().as_raw_fd());
        assert!(yielded.is_stream());
    }
    let _leaks = fds::no_leaks();
    let (v4, v6, unix) = (sockets::tcp_v4(), sockets::tcp_v6(), sockets::unix());
    check(&v4.0);
    check(&&v4.1);
    check(&v6.0);
    check(&v6.1);
    check(&unix.0);
    check(&&unix.1);
}

// ---- /proc ------------------------------------------------------------------------------------------

/// Its files claim to be empty. copy_file_range believes that, and so is not asked.
#[test]
fn files_of_proc_are_copied_whole() {
    let paths = ["/proc/self/cmdline", "/proc/version", "/proc/filesystems", "/proc/self/limits"];
    for (path, adaptive) in paths.into_iter().flat_map(|path| [(path, true), (path, false)]) {
        let _leaks = fds::no_leaks();
        let want = std::fs::read(path).unwrap();
        assert!(!want.is_empty(), "{path}");
        let (mut from, mut to) = (File::open(path).unwrap(), files::empty());
        let recorder = hook::record();

        let report = Copier::new().adaptive(adaptive).copy(&mut from, &mut to).unwrap();

        assert_eq!(report.moved(), want.len() as u64);
        assert_same(&files::contents(&to), &want);
        assert_eq!(files::position(&to), want.len() as u64);
        assert!(!report.tried(Mechanism::CopyFileRange));
        assert_eq!(report.moved_by(Mechanism::CopyFileRange), 0);
        let last = *movers(&recorder.calls()).last().unwrap();
        assert_eq!((last.call.syscall, last.result), (Syscall::Read, Ok(0)), "{path}");
    }
}
