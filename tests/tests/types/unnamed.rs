//! Types that have opted in or not, as seen by `copy!`, and by a library that says `R: Read`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use zc_std::hook::{self, Record, Syscall};
use zc_std::{CopyError, Fd, FileAt, ReadSource, WriteSink, probe};
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{calls, fds, files, sockets};

const LEN: usize = 1_000_000;

/// A type that knows nothing of zc.
struct Foreign<T>(T);

impl<R: Read> Read for Foreign<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<W: Write> Write for Foreign<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A stream of `data`, which may be more than fits into its buffers.
fn stream(data: &[u8]) -> (UnixStream, Feeder) {
    let (client, server) = sockets::unix();
    (server, Feeder::pieces(client, data.to_vec(), 100_000))
}

/// The calls that `copy` made between a stream of known bytes and a file. Asserts that the bytes arrived.
fn calls_of(copy: impl FnOnce(UnixStream, File) -> io::Result<u64>) -> (Vec<Record>, RawFd) {
    let data = data::bytes(1, LEN);
    let ((from, feeder), file) = (stream(&data), files::empty());
    let (fd, result) = (from.as_raw_fd(), file.try_clone().unwrap());
    let recorder = hook::record();
    assert_eq!(copy(from, file).unwrap(), LEN as u64);
    assert_same(&files::contents(&result), &data);
    feeder.finish().unwrap();
    (recorder.calls(), fd)
}

#[track_caller]
fn assert_spliced(copy: impl FnOnce(UnixStream, File) -> io::Result<u64>) {
    let (calls, fd) = calls_of(copy);
    let spliced = calls.iter().filter(|r| r.call.syscall == Syscall::Splice);
    assert!(calls::moved_from(&spliced.copied().collect::<Vec<_>>(), fd) > 0, "{calls:?}");
}

#[track_caller]
fn assert_not_spliced(copy: impl FnOnce(UnixStream, File) -> io::Result<u64>) {
    let (calls, _) = calls_of(copy);
    assert!(calls::pairs(&calls, Syscall::Splice).is_empty(), "{calls:?}");
}

// ---- copy! --------------------------------------------------------------------------------------

#[test]
fn the_macro_splices_between_types_that_have_opted_in() {
    let _leaks = fds::no_leaks();
    assert_spliced(|mut from, mut to| zc_std::copy!(&mut from, &mut to));
    assert_spliced(|from, to| zc_std::copy!(&mut &from, &mut &to));
    assert_spliced(|from, to| zc_std::copy!(&mut BufReader::new(from.take(u64::MAX)), &mut &to,));
    assert_spliced(|mut from, mut to| {
        let from: &mut dyn ReadSource = &mut from;
        let to: &mut dyn WriteSink = &mut to;
        zc_std::copy!(from, to)?;
        // The ends are borrowed, and can be used afterwards.
        zc_std::copy!(from, to).map(|n| n + LEN as u64)
    });
}

#[test]
fn the_macro_reads_and_writes_where_one_side_has_not() {
    let _leaks = fds::no_leaks();
    assert_not_spliced(|from, mut to| zc_std::copy!(&mut Foreign(from), &mut to));
    assert_not_spliced(|mut from, to| zc_std::copy!(&mut from, &mut Foreign(to)));
    assert_not_spliced(|from, to| zc_std::copy!(&mut Foreign(from), &mut Foreign(to)));
    assert_not_spliced(|mut from, mut to| {
        let (from, to): (&mut dyn Read, &mut dyn Write) = (&mut from, &mut to);
        zc_std::copy!(from, to)
    });
}

/// The bounds where the macro stands decide, not the types that the caller passes.
#[test]
fn the_macro_in_generic_code_goes_by_the_bounds() {
    fn plain<R: Read, W: Write>(mut from: R, mut to: W) -> io::Result<u64> {
        zc_std::copy!(&mut from, &mut to)
    }
    fn opted_in<R: ReadSource, W: WriteSink>(mut from: R, mut to: W) -> io::Result<u64> {
        zc_std::copy!(&mut from, &mut to)
    }
    let _leaks = fds::no_leaks();
    assert_not_spliced(plain);
    assert_spliced(opted_in);
}

#[test]
fn the_macro_s_error_is_that_of_a_copy() {
    let _leaks = fds::no_leaks();
    let mut full = Foreign(File::create("/dev/full").unwrap());
    let error = zc_std::copy!(&mut &b"five!"[..], &mut full).unwrap_err();
    let copy = CopyError::from_io(&error).unwrap();
    assert_eq!((copy.kind(), copy.moved()), (io::ErrorKind::StorageFull, 0));
}

// ---- The probe ----------------------------------------------------------------------------------

/// A public function of a library that has had the bound `Read` from the beginning.
fn save<R: Read + 'static, W: Write + 'static>(mut from: R, mut to: W) -> io::Result<u64> {
    let n = probe::copy(&mut from, &mut to)?;
    to.flush()?;
    Ok(n)
}

#[test]
fn a_probe_splices_what_it_knows() {
    let _leaks = fds::no_leaks();
    assert_spliced(save);
    assert_spliced(|from, to| save(from.take(u64::MAX), BufWriter::new(to)));
    assert_spliced(|from, to| save(BufReader::new(from), Box::new(to)));
    assert_spliced(|from, to| save(BufReader::new(from.take(u64::MAX)), Arc::new(to)));
    assert_spliced(|from, to| save(BufReader::new(from).take(u64::MAX), to));
    assert_spliced(|from, to| save(Box::new(from), BufWriter::new(Box::new(to))));
    assert_spliced(|from, to| save(BufReader::new(Box::new(from)), to));
    assert_spliced(|from, to| save(Fd::new(OwnedFd::from(from))?, Fd::new(OwnedFd::from(to))?));
    assert_spliced(|from, to| save(from, FileAt::new(to, 0)?));
    assert_spliced(|from, to| {
        let from: Box<dyn ReadSource> = Box::new(from);
        let to: Box<dyn WriteSink> = Box::new(to);
        save(from, to)
    });
    // For a reference, only the type behind it has to be `'static`.
    assert_spliced(|mut from, mut to| probe::copy(&mut from, &mut to));
}

/// The probe loses no byte read ahead, no limit and no byte held back in the layers.
#[test]
fn a_probe_sees_buffers_and_limits() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(2, LEN);
    let (from, feeder) = stream(&data);
    let mut from = BufReader::new(from);
    let mut head = [0; 10];
    from.read_exact(&mut head).unwrap();
    let (mut from, file) = (from.take(600_000), files::empty());
    let mut to = BufWriter::new(file.try_clone().unwrap());
    to.write_all(&head).unwrap();
    assert_eq!(probe::copy(&mut from, &mut to).unwrap(), 600_000);
    assert_eq!(from.limit(), 0);
    to.flush().unwrap();
    assert_same(&files::contents(&file), &data[..600_010]);
    let mut rest = Vec::new();
    from.into_inner().read_to_end(&mut rest).unwrap();
    assert_same(&rest, &data[600_010..]);
    feeder.finish().unwrap();
}

#[test]
fn a_probe_gives_back_what_it_does_not_know() {
    let _leaks = fds::no_leaks();
    let mut memory = Cursor::new(b"unread".to_vec());
    let given_back = probe::source(&mut memory).err().expect("a Cursor is no source it knows");
    let mut all = String::new();
    given_back.read_to_string(&mut all).unwrap();
    assert_eq!(all, "unread");
    assert!(probe::sink(&mut Vec::new()).is_err());

    assert_not_spliced(|from, to| save(Foreign(from), to));
    assert_not_spliced(|from, to| save(from, Foreign(to)));
    assert_not_spliced(|from, to| save(Foreign(from), Foreign(to)));
    assert_not_spliced(|from, to| {
        let from: Box<dyn Read> = Box::new(from);
        save(from, to)
    });
}
