//! std's types and wrappers as sources and sinks, owned, borrowed and boxed, and still offloaded.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "references are sources and sinks, too"
)]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{
    self, BufReader, BufWriter, Cursor, LineWriter, PipeReader, PipeWriter, Read, Take, Write,
};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ChildStdin;
use std::sync::Arc;

use zc_std::{Copier, Fd, Mechanism, Opaque, Progress, ReadFrom, ReadSource, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, pipes, sockets};

const LEN: usize = 70_000;

fn data() -> Vec<u8> {
    data::bytes(70, LEN)
}

/// The read end of a stream that yields [`data`] and ends.
fn fed<W: Write + Send + 'static, R>((to, from): (W, R)) -> R {
    drop_later(Feeder::pieces(to, data(), 30_000));
    from
}

thread_local! {
    /// Feeders that the end of the test waits for.
    static FEEDERS: std::cell::RefCell<Vec<Feeder>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn drop_later(feeder: Feeder) {
    FEEDERS.with_borrow_mut(|feeders| feeders.push(feeder));
}

/// Waits for the feeders, and then asserts that nothing leaked.
struct Test {
    _leaks: fds::NoLeaks,
}

fn test() -> Test {
    Test { _leaks: fds::no_leaks() }
}

impl Drop for Test {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for feeder in FEEDERS.take() {
                feeder.finish().unwrap();
            }
        }
    }
}

fn pipe_out() -> (PipeWriter, PipeReader) {
    let (reader, writer) = pipes::pipe();
    (writer, reader)
}

// ---- Sources ------------------------------------------------------------------------------------

/// Copies all of `source` into a file, and asserts that `mechanism` moved it.
#[track_caller]
fn takes_all(mut source: impl ReadSource, mechanism: Mechanism) {
    let mut file = files::empty();
    let report = Copier::new().adaptive(false).copy(&mut source, &mut file).unwrap();
    assert_eq!(report.moved(), LEN as u64);
    assert_eq!(report.moved_by(mechanism), LEN as u64, "{report:?}");
    assert_same(&files::contents(&file), &data());
}

#[test]
fn files_are_sources_however_held() {
    use Mechanism::CopyFileRange;
    let _test = test();
    let file = || files::holding(&data());
    takes_all(file(), CopyFileRange);
    takes_all(&file(), CopyFileRange);
    takes_all(&mut file(), CopyFileRange);
    takes_all(&mut &file(), CopyFileRange);
    takes_all(Box::new(file()), CopyFileRange);
    takes_all(Box::new(&file()), CopyFileRange);
    takes_all(Arc::new(file()), CopyFileRange);
    takes_all(Box::new(file()) as Box<dyn ReadSource>, CopyFileRange);
    takes_all(&mut file() as &mut dyn ReadSource, CopyFileRange);
    takes_all(Fd::new(file()).unwrap(), CopyFileRange);
    takes_all(Fd::new(OwnedFd::from(file())).unwrap(), CopyFileRange);
}

#[test]
fn sockets_are_sources_however_held() {
    use Mechanism::Splice;
    let _test = test();
    let tcp = || fed(sockets::tcp_v4());
    takes_all(tcp(), Splice);
    takes_all(&tcp(), Splice);
    takes_all(&mut tcp(), Splice);
    takes_all(Box::new(tcp()), Splice);
    takes_all(Box::new(tcp()) as Box<dyn ReadSource>, Splice);
    takes_all(Fd::new(tcp()).unwrap(), Splice);
    let unix = || fed(sockets::unix());
    takes_all(unix(), Splice);
    takes_all(&unix(), Splice);
    takes_all(&mut &unix(), Splice);
    takes_all(&mut Box::new(unix()), Splice);
    takes_all(Box::new(Box::new(unix()) as Box<dyn ReadSource>), Splice);
    takes_all(Fd::new(OwnedFd::from(unix())).unwrap(), Splice);
    takes_all(&mut Fd::new(&unix()).unwrap(), Splice);
}

#[test]
fn pipes_are_sources_however_held() {
    use Mechanism::Splice;
    let _test = test();
    let pipe = || fed(pipe_out());
    takes_all(pipe(), Splice);
    takes_all(&pipe(), Splice);
    takes_all(&mut pipe(), Splice);
    takes_all(Box::new(pipe()), Splice);
    takes_all(Fd::new(OwnedFd::from(pipe())).unwrap(), Splice);
}

#[test]
fn wrappers_around_sources_keep_them_offloaded() {
    use Mechanism::Splice;
    let _test = test();
    let tcp = || fed(sockets::tcp_v4());
    takes_all(tcp().take(u64::MAX), Splice);
    takes_all(tcp().take(1 << 40).take(1 << 30).take(1 << 35), Splice);
    takes_all(BufReader::new(tcp()), Splice);
    takes_all(BufReader::with_capacity(10, BufReader::new(tcp().take(1 << 20))), Splice);
    takes_all(Progress::new(tcp(), |_| {}), Splice);
    takes_all(Box::new(BufReader::new(tcp()).take(1 << 20)) as Box<dyn ReadSource>, Splice);
    let boxed: Box<dyn ReadSource> = Box::new(tcp());
    takes_all(BufReader::new(Progress::new(boxed.take(1 << 20), |_| {})), Splice);
}

#[test]
fn opaque_sources_are_read() {
    use Mechanism::ReadWrite;
    let _test = test();
    takes_all(Opaque(fed(sockets::tcp_v4())), ReadWrite);
    takes_all(Opaque(files::holding(&data())), ReadWrite);
    takes_all(BufReader::new(Opaque(fed(sockets::unix()))).take(1 << 20), ReadWrite);
    takes_all(Opaque(BufReader::new(fed(sockets::unix()))), ReadWrite);
}

// ---- Limits -------------------------------------------------------------------------------------

/// Each limit falls by what was taken, and the smallest one decides.
#[test]
fn nested_limits_all_fall() {
    for adaptive in [true, false] {
        for (outer, middle, inner) in
            [(50_000, 60_000, 70_000), (60_000, 50_000, 70_000), (90_000, 80_000, 50_000)]
        {
            let _test = test();
            let stream = fed(sockets::tcp_v6());
            let mut file = files::empty();
            let mut limited = (&stream).take(inner).take(middle).take(outer);
            let report = Copier::new().adaptive(adaptive).copy(&mut limited, &mut file).unwrap();
            assert_eq!(report.moved(), 50_000);
            let left =
                (limited.limit(), limited.get_ref().limit(), limited.get_ref().get_ref().limit());
            assert_eq!(left, (outer - 50_000, middle - 50_000, inner - 50_000));
            assert_same(&files::contents(&file), &data()[..50_000]);
            let mut rest = Vec::new();
            (&stream).read_to_end(&mut rest).unwrap();
            assert_same(&rest, &data()[50_000..]);
        }
    }
}

/// One message at a time from a connection, as a framed protocol takes them.
#[test]
fn one_stream_is_taken_frame_by_frame() {
    let _test = test();
    let stream = fed(sockets::tcp_v4());
    let mut file = files::empty();
    let mut at = 0;
    for frame in [1, 64, 0, 4096, 30_000, 16_384, 16_385, 2_000] {
        let mut limited = (&stream).take(frame);
        assert_eq!(file.read_from(&mut limited).unwrap(), frame);
        assert_eq!(limited.limit(), 0);
        at += frame as usize;
        assert_same(&files::contents(&file), &data()[..at]);
    }
    file.read_from(&stream).unwrap();
    assert_same(&files::contents(&file), &data());
}

// ---- Sinks --------------------------------------------------------------------------------------

/// Copies all of [`data`] into `sink` from a pipe, which splices into every descriptor.
#[track_caller]
fn gives_all(mut sink: impl WriteSink, mechanism: Mechanism) {
    let mut source = fed(pipe_out());
    let report = Copier::new().adaptive(false).copy(&mut source, &mut sink).unwrap();
    assert_eq!(report.moved(), LEN as u64);
    assert_eq!(report.moved_by(mechanism), LEN as u64, "{report:?}");
    sink.flush().unwrap();
}

/// What arrives at the other end of what `give` writes to.
#[track_caller]
fn arrives<W, R: Read + Send + 'static>((to, from): (W, R), give: impl FnOnce(W)) {
    let collector = Collector::start(from);
    give(to);
    assert_same(&collector.finish(), &data());
}

#[track_caller]
fn lands(give: impl FnOnce(&File)) {
    let file = files::empty();
    give(&file);
    assert_same(&files::contents(&file), &data());
}

#[test]
fn files_are_sinks_however_held() {
    use Mechanism::Splice;
    let _test = test();
    let own = |file: &File| file.try_clone().unwrap();
    lands(|mut file| gives_all(&mut file, Splice));
    lands(|file| gives_all(file, Splice));
    lands(|file| gives_all(own(file), Splice));
    lands(|file| gives_all(&mut own(file), Splice));
    lands(|file| gives_all(Box::new(own(file)), Splice));
    lands(|file| gives_all(Arc::new(own(file)), Splice));
    lands(|file| gives_all(Box::new(own(file)) as Box<dyn WriteSink>, Splice));
    lands(|file| gives_all(&mut own(file) as &mut dyn WriteSink, Splice));
    lands(|file| gives_all(Fd::new(file).unwrap(), Splice));
    lands(|file| gives_all(Fd::new(OwnedFd::from(own(file))).unwrap(), Splice));
}

#[test]
fn sockets_and_pipes_are_sinks_however_held() {
    use Mechanism::Splice;
    let _test = test();
    arrives(sockets::tcp_v4(), |to: TcpStream| gives_all(to, Splice));
    arrives(sockets::tcp_v6(), |to: TcpStream| gives_all(&to, Splice));
    arrives(sockets::tcp_v4(), |mut to: TcpStream| gives_all(&mut to, Splice));
    arrives(sockets::tcp_v4(), |to| gives_all(Box::new(to) as Box<dyn WriteSink>, Splice));
    arrives(sockets::unix(), |to: UnixStream| gives_all(to, Splice));
    arrives(sockets::unix(), |to: UnixStream| gives_all(&to, Splice));
    arrives(sockets::unix(), |to| gives_all(Fd::new(OwnedFd::from(to)).unwrap(), Splice));
    arrives(pipe_out(), |to: PipeWriter| gives_all(to, Splice));
    arrives(pipe_out(), |to: PipeWriter| gives_all(&to, Splice));
    arrives(pipe_out(), |to| gives_all(Fd::new(OwnedFd::from(to)).unwrap(), Splice));
}

#[test]
fn wrappers_around_sinks_keep_them_offloaded() {
    use Mechanism::Splice;
    let _test = test();
    lands(|file| gives_all(BufWriter::new(file), Splice));
    lands(|file| gives_all(LineWriter::new(file), Splice));
    lands(|file| gives_all(Progress::new(file, |_| {}), Splice));
    lands(|file| gives_all(BufWriter::new(Progress::new(Box::new(file), |_| {})), Splice));
    lands(|file| gives_all(Opaque(file), Mechanism::ReadWrite));
    lands(|file| gives_all(BufWriter::new(Opaque(file)), Mechanism::ReadWrite));
}

/// Generic over sinks.
fn store<By>(mut sink: impl ReadFrom<By>, source: impl ReadSource) -> u64 {
    sink.read_from(source).unwrap()
}

/// Every type whose `read_from` zc-std provides, and that is or wraps a descriptor or nothing.
#[test]
fn read_from_works_on_every_way_to_hold_a_sink() {
    let _test = test();
    let stream = || fed(sockets::unix());
    let own = |file: &File| file.try_clone().unwrap();
    let n = LEN as u64;
    lands(|mut file| assert_eq!(file.read_from(stream()).unwrap(), n));
    lands(|file| assert_eq!(own(file).read_from(&stream()).unwrap(), n));
    lands(|file| assert_eq!(Arc::new(own(file)).read_from(&mut stream()).unwrap(), n));
    lands(|file| assert_eq!(Box::new(own(file)).read_from(stream().take(n)).unwrap(), n));
    lands(|file| assert_eq!(store(&mut own(file), Box::new(stream())), n));
    lands(|file| assert_eq!(store(Box::new(own(file)), stream().take(n)), n));
    lands(|file| {
        let source: Box<dyn ReadSource> = Box::new(stream());
        assert_eq!(own(file).read_from(source).unwrap(), n);
    });
    lands(|file| assert_eq!(BufWriter::new(file).read_from(stream()).unwrap(), n));
    lands(|file| assert_eq!(LineWriter::new(file).read_from(stream()).unwrap(), n));
    lands(|file| assert_eq!(Fd::new(file).unwrap().read_from(stream()).unwrap(), n));
    lands(|file| assert_eq!(Opaque(file).read_from(stream()).unwrap(), n));
    lands(|file| assert_eq!(Progress::new(file, |_| {}).read_from(stream()).unwrap(), n));
    arrives(sockets::tcp_v4(), |mut to| assert_eq!(to.read_from(stream()).unwrap(), n));
    arrives(sockets::tcp_v4(), |to| assert_eq!((&to).read_from(stream()).unwrap(), n));
    arrives(sockets::unix(), |mut to| assert_eq!(to.read_from(stream()).unwrap(), n));
    arrives(sockets::unix(), |to| assert_eq!((&to).read_from(stream()).unwrap(), n));
    arrives(pipe_out(), |mut to| assert_eq!(to.read_from(stream()).unwrap(), n));
    arrives(pipe_out(), |to| assert_eq!((&to).read_from(stream()).unwrap(), n));
    let child = |to: PipeWriter| ChildStdin::from(OwnedFd::from(to));
    arrives(pipe_out(), |to| assert_eq!(child(to).read_from(stream()).unwrap(), n));
    arrives(pipe_out(), |to| assert_eq!((&child(to)).read_from(stream()).unwrap(), n));
    assert_eq!(io::sink().read_from(stream()).unwrap(), n);
    assert_eq!((&io::sink()).read_from(stream()).unwrap(), n);
    assert_eq!(io::empty().read_from(stream()).unwrap(), n);
}

/// The types in memory. (Those of the standard streams are in `types/children.rs`, in a process of their own.)
#[test]
fn read_from_works_on_memory() {
    let _test = test();
    let stream = || fed(sockets::unix());
    let n = LEN as u64;

    let mut vec = b"before, ".to_vec();
    assert_eq!(vec.read_from(stream()).unwrap(), n);
    assert_same(&vec, &[b"before, ", &data()[..]].concat());
    let mut deque = VecDeque::new();
    assert_eq!(deque.read_from(stream()).unwrap(), n);
    assert_same(deque.make_contiguous(), &data());

    // A cursor writes over what is there, from its position on.
    let (at, len) = (5, LEN + 10);
    let want = [&[b'.'; 5][..], &data(), b"....."].concat();
    let mut cursor = Cursor::new(vec![b'.'; len]);
    cursor.set_position(at);
    assert_eq!(cursor.read_from(stream()).unwrap(), n);
    assert_eq!(cursor.position(), at + n);
    assert_same(&cursor.into_inner(), &want);
    let mut vec = vec![b'.'; len];
    let mut cursor = Cursor::new(&mut vec);
    cursor.set_position(at);
    assert_eq!(cursor.read_from(stream()).unwrap(), n);
    assert_eq!(cursor.position(), at + n);
    assert_same(&vec, &want);
    let mut array = vec![b'.'; len];
    let mut cursor = Cursor::new(&mut array[..]);
    cursor.set_position(at);
    assert_eq!(cursor.read_from(stream()).unwrap(), n);
    assert_eq!(cursor.position(), at + n);
    assert_same(&array, &want);
    let mut cursor = Cursor::new(vec![b'.'; len].into_boxed_slice());
    cursor.set_position(at);
    assert_eq!(cursor.read_from(stream()).unwrap(), n);
    assert_eq!(cursor.position(), at + n);
    assert_same(&cursor.into_inner(), &want);

    let mut array = vec![b'.'; LEN + 5];
    let mut left = &mut array[..];
    assert_eq!(left.read_from(stream()).unwrap(), n);
    assert_eq!(left, b".....");
    assert_same(&array[..LEN], &data());
}

/// The calls that the documentation shows.
#[test]
fn the_documented_calls_compile_and_copy() {
    let _test = test();
    let n = 40_000;

    let (mut file, stream) = (files::empty(), fed(sockets::tcp_v4()));
    file.read_from(stream.take(n)).unwrap();
    assert_same(&files::contents(&file), &data()[..n as usize]);
    FEEDERS.with_borrow_mut(|feeders| drop(feeders.pop().unwrap().finish()));

    let (mut file, stream) = (files::empty(), fed(sockets::tcp_v4()));
    let mut limited: Take<&TcpStream> = (&stream).take(n);
    file.read_from(&mut limited).unwrap();
    assert_eq!(limited.limit(), 0);
    zc_std::copy(&mut BufReader::new(&stream), &mut file).unwrap();
    assert_same(&files::contents(&file), &data());

    struct Upload {
        file: File,
        received: u64,
    }
    impl ReadFrom for Upload {
        fn read_from<S: ReadSource>(&mut self, source: S) -> io::Result<u64> {
            let n = self.file.read_from(source)?;
            self.received += n;
            Ok(n)
        }
    }
    let mut upload = Upload { file: files::empty(), received: 0 };
    upload.read_from(fed(sockets::unix()).take(1 << 20)).unwrap();
    assert_eq!(upload.received, LEN as u64);
    assert_same(&files::contents(&upload.file), &data());
}

// ---- Progress -----------------------------------------------------------------------------------

/// Around the source, around the sink, and around both: each byte is counted once, and the copy is offloaded.
#[test]
fn progress_reports_every_byte_once() {
    for adaptive in [true, false] {
        let _test = test();
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        let mut source = Progress::new(fed(sockets::tcp_v4()), |n| taken.push(n)).take(60_000);
        let mut sink = Progress::new(files::empty(), |n| given.push(n));
        let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut sink).unwrap();
        assert_eq!((report.moved(), source.limit()), (60_000, 0));
        if !adaptive {
            assert_eq!(report.mechanism(), Some(Mechanism::Splice));
        }
        assert_same(&files::contents(sink.get_ref()), &data()[..60_000]);
        io::copy(&mut source.into_inner().into_inner(), &mut io::sink()).unwrap();
        drop(sink);
        for reported in [&taken, &given] {
            assert_eq!(reported.iter().sum::<u64>(), 60_000);
            assert!(reported.iter().all(|&n| n > 0));
        }
    }
}

/// Bytes that a buffer below or above the wrapper holds are counted when they pass the wrapper.
#[test]
fn progress_counts_buffered_bytes_as_they_pass() {
    let _test = test();
    let mut outside = 0;
    let mut inside = 0;
    let mut inner = BufReader::new(Progress::new(fed(sockets::unix()), |n| inside += n));
    let mut head = [0; 100];
    inner.read_exact(&mut head).unwrap();
    let mut given = 0;
    let mut source = Progress::new(&mut inner, |n| outside += n);
    let file = files::empty();
    let mut sink = Progress::new(&file, |n| given += n);
    let report = Copier::new().adaptive(false).copy(&mut source, &mut sink).unwrap();
    assert_eq!(given, LEN as u64 - 100);
    assert_eq!(report.moved(), LEN as u64 - 100);
    assert_eq!(report.mechanism(), Some(Mechanism::Splice));
    drop(inner);
    assert_eq!((outside, inside), (LEN as u64 - 100, LEN as u64));
    assert_same(&files::contents(&file), &data()[100..]);
}

/// Around a `BufWriter`, and below it.
#[test]
fn progress_counts_around_and_below_buffering_sinks() {
    let _test = test();
    let (mut outside, mut inside) = (0, 0);
    let file = files::empty();
    let mut writer = BufWriter::new(Progress::new(&file, |n| inside += n));
    writer.write_all(b"before, ").unwrap();
    let mut sink = Progress::new(&mut writer, |n| outside += n);
    let mut source = fed(sockets::unix());
    let report = Copier::new().adaptive(false).copy(&mut source, &mut sink).unwrap();
    assert_eq!(report.mechanism(), Some(Mechanism::Splice));
    drop(writer);
    assert_eq!((outside, inside), (LEN as u64, LEN as u64 + 8));
    assert_same(&files::contents(&file), &[b"before, ", &data()[..]].concat());
}

/// A callback's panic passes through the copy. The bytes that it was told of have moved.
#[test]
fn a_panicking_callback_has_been_told_the_truth() {
    let _test = test();
    let stream = fed(sockets::unix());
    let mut file = files::empty();
    let mut told = 0;
    let mut limited = (&stream).take(1 << 20);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut source = Progress::new(&mut limited, |n| {
            told += n;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        zc_std::copy(&mut source, &mut file)
    }));
    assert!(panicked.is_err());
    assert!(told > 0);
    assert_eq!((1 << 20) - limited.limit(), told);
    let so_far = files::contents(&file);
    assert_eq!(so_far.len() as u64, told);
    let mut rest = Vec::new();
    (&stream).read_to_end(&mut rest).unwrap();
    assert_same(&[so_far, rest].concat(), &data());
}
