//! Copies with an announced length: a source that is shorter or longer is an error, and no byte of it is lost.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use zc_std::{
    CopyError, Fd, Opaque, Progress, ReadSource, Side, WriteSink, copy_exact, copy_limited,
};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, pairs};
use zc_testkit::feeder::Feeder;
use zc_testkit::streams::{Plain, Stream, fill, nonblocking};
use zc_testkit::{fds, files};

/// Where the bytes come from.
#[derive(Clone, Copy, Debug)]
enum From {
    Stream(Stream),
    File,
    Memory,
    Buffered(Stream),
    /// In a `Take` whose limit is beyond the end.
    Limited(Stream),
    Opaque(Stream),
    Metered(Stream),
    Chain(Stream),
}

const FROM: [From; 13] = [
    From::Stream(Stream::Tcp),
    From::Stream(Stream::Unix),
    From::Stream(Stream::Pipe),
    From::Stream(Stream::Fifo),
    From::File,
    From::Memory,
    From::Buffered(Stream::Tcp),
    From::Buffered(Stream::Pipe),
    From::Limited(Stream::Unix),
    From::Opaque(Stream::Tcp),
    From::Opaque(Stream::Pipe),
    From::Metered(Stream::Tcp),
    From::Chain(Stream::Unix),
];

impl From {
    /// A source of `data` and no more, and what feeds it.
    fn open(self, data: &[u8]) -> (Box<dyn ReadSource>, Option<Feeder>) {
        let fed = |stream: Stream| {
            let (to, from) = stream.open();
            let feeder = Feeder::pieces(Plain(to), data.to_vec(), 50_000);
            (Fd::new(from).unwrap(), Some(feeder))
        };
        match self {
            From::Stream(stream) => {
                let (source, feeder) = fed(stream);
                (Box::new(source), feeder)
            }
            From::File => (Box::new(files::on_disk(data)), None),
            From::Memory => (Box::new(io::Cursor::new(data.to_vec())), None),
            From::Buffered(stream) => {
                let (source, feeder) = fed(stream);
                (Box::new(BufReader::with_capacity(7, source)), feeder)
            }
            From::Limited(stream) => {
                let (source, feeder) = fed(stream);
                (Box::new(source.take(1 << 40)), feeder)
            }
            From::Opaque(stream) => {
                let (source, feeder) = fed(stream);
                (Box::new(Opaque(source)), feeder)
            }
            From::Metered(stream) => {
                let (source, feeder) = fed(stream);
                (Box::new(Progress::new(source, |n| assert!(n > 0))), feeder)
            }
            From::Chain(stream) => {
                let (half, rest) = data.split_at(data.len() / 2);
                let (to, from) = stream.open();
                let feeder = Feeder::pieces(Plain(to), rest.to_vec(), 50_000);
                let first = io::Cursor::new(half.to_vec());
                (Box::new(first.chain(Fd::new(from).unwrap())), Some(feeder))
            }
        }
    }
}

/// Where the bytes go.
#[derive(Clone, Copy, Debug)]
enum To {
    File,
    BufferedFile,
    Stream(Stream),
    OpaqueFile,
}

const TO: [To; 7] = [
    To::File,
    To::BufferedFile,
    To::OpaqueFile,
    To::Stream(Stream::Tcp),
    To::Stream(Stream::Unix),
    To::Stream(Stream::Pipe),
    To::Stream(Stream::Fifo),
];

/// What has come out of a sink.
enum Arrives {
    File(File),
    Stream(Collector),
}

impl To {
    fn open(self) -> (Box<dyn WriteSink>, Arrives) {
        let file = || {
            let file = files::on_disk(b"");
            (file.try_clone().unwrap(), file)
        };
        match self {
            To::File => {
                let (sink, file) = file();
                (Box::new(sink), Arrives::File(file))
            }
            To::BufferedFile => {
                let (sink, file) = file();
                (Box::new(BufWriter::new(sink)), Arrives::File(file))
            }
            To::OpaqueFile => {
                let (sink, file) = file();
                (Box::new(Opaque(sink)), Arrives::File(file))
            }
            To::Stream(stream) => {
                let (sink, from) = stream.open();
                let collector = Collector::start(Plain(from));
                (Box::new(Fd::new(sink).unwrap()), Arrives::Stream(collector))
            }
        }
    }
}

impl Arrives {
    /// All of it, once the sink has been closed.
    fn all(self) -> Vec<u8> {
        match self {
            Arrives::File(file) => files::contents(&file),
            Arrives::Stream(collector) => collector.finish(),
        }
    }
}

type Copy = fn(&mut dyn ReadSource, &mut dyn WriteSink, u64) -> io::Result<u64>;

const EXACT: Copy = |source, sink, n| copy_exact(source, sink, n).map(|()| n);
const AT_MOST: Copy = |source, sink, n| copy_limited(source, sink, n);

/// Lengths of the fast path, and one of a planned copy.
const LENGTHS: [usize; 3] = [1, 5000, 300_000];

/// What a copy of at most `n` of `len` bytes says, and what is then in the sink, in the residue and in the source.
struct Done {
    said: io::Result<u64>,
    sink: Vec<u8>,
    residue: Vec<u8>,
    left: Vec<u8>,
}

fn done(copy: Copy, (from, to): (From, To), data: &[u8], n: usize) -> Done {
    let (mut source, feeder) = from.open(data);
    let (mut sink, arrives) = to.open();
    let said = copy(&mut *source, &mut *sink, n as u64);
    sink.flush().unwrap();
    drop(sink);
    let mut left = Vec::new();
    source.read_to_end(&mut left).unwrap();
    drop(source);
    if let Some(feeder) = feeder {
        feeder.finish().unwrap();
    }
    let residue = said.as_ref().err().map(|error| copy_error(error).residue().to_vec());
    Done { said, sink: arrives.all(), residue: residue.unwrap_or_default(), left }
}

#[track_caller]
fn copy_error(error: &io::Error) -> &CopyError {
    CopyError::from_io(error).unwrap_or_else(|| panic!("no CopyError: {error}"))
}

#[test]
fn all_that_was_announced_is_copied() {
    let _leaks = fds::no_leaks();
    each(pairs(&FROM, &TO), |&cell| {
        for len in LENGTHS {
            let data = data::bytes(1, len);
            for copy in [EXACT, AT_MOST] {
                let done = done(copy, cell, &data, len);
                assert_eq!(done.said.unwrap(), len as u64);
                assert_same(&done.sink, &data);
                assert!(done.left.is_empty() && done.residue.is_empty());
            }
        }
    });
}

/// Half an upload is an error.
#[test]
fn fewer_bytes_than_were_announced_are_an_error() {
    let _leaks = fds::no_leaks();
    each(pairs(&FROM, &TO), |&cell| {
        for (len, n) in LENGTHS.iter().flat_map(|&len| [(len, len + 1), (len, 10 * len)]) {
            let data = data::bytes(2, len);
            let short = done(EXACT, cell, &data, n);
            let error = short.said.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
            let copy = copy_error(&error);
            assert_eq!((copy.moved(), copy.side()), (len as u64, Some(Side::Source)), "{error}");
            let what = format!("the source ended after {len} of {n} bytes");
            assert!(error.to_string().contains(&what), "{error}");
            assert_same(&short.sink, &data);
            assert!(short.left.is_empty() && short.residue.is_empty(), "{error}");

            let fewer = done(AT_MOST, cell, &data, n);
            assert_eq!(fewer.said.unwrap(), len as u64);
            assert_same(&fewer.sink, &data);
        }
    });
}

/// What comes after the announced bytes belongs to the next message, or is too much.
#[test]
fn more_bytes_than_were_announced_stay_or_are_an_error() {
    let _leaks = fds::no_leaks();
    each(pairs(&FROM, &TO), |&cell| {
        for (n, more) in LENGTHS.iter().flat_map(|&n| [(n, 1), (n, 100_000)]) {
            let data = data::bytes(3, n + more);
            let exact = done(EXACT, cell, &data, n);
            assert_eq!(exact.said.unwrap(), n as u64);
            assert_same(&exact.sink, &data[..n]);
            assert_same(&exact.left, &data[n..]);

            let too_much = done(AT_MOST, cell, &data, n);
            let error = too_much.said.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge, "{error}");
            let copy = copy_error(&error);
            assert_eq!((copy.moved(), copy.side()), (n as u64, Some(Side::Source)), "{error}");
            let what = format!("the source has more than {n} bytes");
            assert!(error.to_string().contains(&what), "{error}");
            assert_same(&too_much.sink, &data[..n]);
            assert!(!too_much.residue.is_empty(), "the bytes that found it out");
            assert_same(&[too_much.residue, too_much.left].concat(), &data[n..]);
        }
    });
}

#[test]
fn nothing_announced_is_nothing_copied() {
    let _leaks = fds::no_leaks();
    each(pairs(&FROM, &TO), |&cell| {
        for copy in [EXACT, AT_MOST] {
            let done = done(copy, cell, b"", 0);
            assert_eq!(done.said.unwrap(), 0);
            assert!(done.sink.is_empty());
        }
        assert_eq!(done(EXACT, cell, b"12", 0).left, b"12");
        let too_much = done(AT_MOST, cell, b"12", 0);
        assert_eq!(too_much.said.unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!([too_much.residue, too_much.left].concat(), b"12");
    });
}

/// A `Take` around the source falls by what was taken, the residue included.
#[test]
fn a_take_falls_by_what_was_taken() {
    let _leaks = fds::no_leaks();
    each(Stream::ALL, |&stream| {
        let open = || {
            let (mut to, from) = stream.open();
            Plain(&mut to).write_all(&data::bytes(4, 3000)).unwrap();
            Fd::new(from).unwrap().take(5000)
        };
        let mut limited = open();
        copy_exact(&mut limited, &mut Vec::new(), 1000).unwrap();
        assert_eq!(limited.limit(), 4000);

        let mut limited = open();
        copy_exact(&mut limited, &mut Vec::new(), 4000).unwrap_err();
        assert_eq!(limited.limit(), 2000);

        let mut limited = open();
        let error = copy_limited(&mut limited, &mut Vec::new(), 1000).unwrap_err();
        let residue = copy_error(&error).residue().len() as u64;
        assert_eq!((limited.limit(), residue), (4000 - residue, 2000));

        // A limit below the announced length ends the source.
        let mut limited = open().take(10);
        let error = copy_exact(&mut limited, &mut Vec::new(), 1000).unwrap_err();
        assert_eq!((error.kind(), limited.limit()), (ErrorKind::UnexpectedEof, 0));
        let mut limited = open().take(10);
        assert_eq!(copy_limited(&mut limited, &mut Vec::new(), 10).unwrap(), 10);
    });
}

/// A source in non-blocking mode has no more yet. It has not ended: the error is `WouldBlock`, and the copy can go
/// on.
#[test]
fn a_source_that_has_no_more_yet_would_block() {
    let _leaks = fds::no_leaks();
    each(pairs(&Stream::ALL, &[EXACT, AT_MOST]), |&(stream, copy)| {
        let data = data::bytes(5, 9000);
        let (mut to, from) = stream.open();
        let mut source = Fd::new(nonblocking(from)).unwrap();
        let mut out = Vec::new();
        Plain(&mut to).write_all(&data[..4000]).unwrap();
        zc_testkit::streams::until_waiting(source.get_ref(), 4000);
        let error = copy(&mut source, &mut out, 9000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        let waits = copy_error(&error);
        assert_eq!((waits.moved(), waits.waits_for()), (4000, Some(Side::Source)), "{error}");
        assert!(waits.residue().is_empty());

        Plain(&mut to).write_all(&data[4000..]).unwrap();
        zc_testkit::streams::until_waiting(source.get_ref(), 5000);
        drop(to);
        assert_eq!(copy(&mut source, &mut out, 5000).unwrap(), 5000);
        assert_same(&out, &data);
    });
}

/// Whether the source has more is not known yet. The copy has moved all of its bytes, and has to be asked again.
#[test]
fn a_source_that_may_have_more_would_block() {
    let _leaks = fds::no_leaks();
    each(Stream::ALL, |&stream| {
        let (mut to, from) = stream.open();
        let mut source = Fd::new(nonblocking(from)).unwrap();
        let mut out = Vec::new();
        Plain(&mut to).write_all(b"four").unwrap();
        zc_testkit::streams::until_waiting(source.get_ref(), 4);
        let error = copy_limited(&mut source, &mut out, 4).unwrap_err();
        let waits = copy_error(&error);
        assert_eq!((waits.moved(), waits.waits_for()), (4, Some(Side::Source)), "{error}");
        drop(to);
        // FIN comes a moment later.
        let again = loop {
            match copy_limited(&mut source, &mut out, 0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                again => break again,
            }
        };
        assert_eq!((again.unwrap(), &out[..]), (0, &b"four"[..]));
    });
}

/// What was taken and not delivered is the residue.
#[test]
fn a_sink_without_room_leaves_a_residue() {
    let _leaks = fds::no_leaks();
    each(pairs(&pairs(&FROM, &Stream::ALL), &[EXACT, AT_MOST]), |&((from, to), copy)| {
        let data = data::bytes(6, 300_000);
        let (mut source, feeder) = from.open(&data);
        let (out, into) = to.open();
        let filled = fill(&out);
        let mut sink = Fd::new(nonblocking(out)).unwrap();
        let n = 290_000;
        let error = copy(&mut *source, &mut sink, n).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        let full = copy_error(&error);
        assert_eq!(full.waits_for(), Some(Side::Sink), "{error}");
        let (moved, residue) = (full.moved(), full.residue().to_vec());
        drop(sink);
        let mut all = Collector::start(Plain(into)).finish().split_off(filled);
        assert_eq!(all.len() as u64, moved);
        all.extend(residue);
        assert!(all.len() as u64 <= n, "more was taken than was to be copied");
        source.read_to_end(&mut all).unwrap();
        assert_same(&all, &data);
        drop(source);
        feeder.map(Feeder::finish).transpose().unwrap();
    });
}

/// An error of the source while it is asked for more is the copy's error.
#[test]
fn a_source_that_fails_when_asked_for_more_fails_the_copy() {
    struct Fails<'a>(&'a [u8]);
    impl Read for Fails<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                Err(io::Error::from_raw_os_error(104))
            } else {
                self.0.read(buf)
            }
        }
    }
    impl zc_std::Source for Fails<'_> {}

    let mut out = Vec::new();
    let error = copy_limited(&mut Fails(b"all of it"), &mut out, 9).unwrap_err();
    assert_eq!((error.kind(), &out[..]), (ErrorKind::ConnectionReset, &b"all of it"[..]));
    let copy = copy_error(&error);
    assert_eq!((copy.moved(), copy.side(), copy.syscall()), (9, Some(Side::Source), Some("read")));
    // An interrupted read is made again.
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(ErrorKind::Interrupted.into()) } else { self.0.read(buf) }
        }
    }
    impl zc_std::Source for Interrupted<'_> {}
    assert_eq!(copy_limited(&mut Interrupted(b"all", false), &mut Vec::new(), 3).unwrap(), 3);
    copy_exact(&mut Interrupted(b"all", false), &mut Vec::new(), 3).unwrap();
}

/// The offset of a source file is where the announced bytes end.
#[test]
fn a_file_s_offset_is_where_the_bytes_end() {
    let _leaks = fds::no_leaks();
    for len in [1000_usize, 300_000] {
        let source = files::on_disk(&data::bytes(7, 2 * len));
        let sink: OwnedFd = files::on_disk(b"").into();
        let sink = File::from(sink);
        copy_exact(&mut &source, &mut &sink, len as u64).unwrap();
        assert_eq!((files::position(&source), files::position(&sink)), (len as u64, len as u64));
        copy_exact(&mut &source, &mut &sink, 2 * len as u64).unwrap_err();
        let end = 2 * len as u64;
        assert_eq!((files::position(&source), files::position(&sink)), (end, end));
    }
}

/// The README's ten lines and the upload server use `copy_exact`, so neither stores half an upload as a whole one.
#[test]
fn the_examples_copy_by_an_exact_length() {
    let readme = include_str!("../../../README.md");
    let server = include_str!("../../../crates/zc-std/examples/upload_server.rs");
    for example in [readme, server] {
        assert!(example.contains("copy_exact(&mut stream, &mut "));
    }
}
