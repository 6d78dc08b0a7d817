//! Types that break their contract. A copy with one of them fails clearly, or does its job all the same. It never
//! hangs, never sends a byte twice, and leaves no dirty pipe behind.
//!
//! Every test ends with a clean copy through the pool's only pipe.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zc_std::{
    AsRawPollFd, Copier, CopyError, Downstream, Opaque, PollFd, Progress, ReadSource, Sink, Source,
    Upstream, hook, pool,
};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{contents, position};
use zc_testkit::sockets::Socket;
use zc_testkit::streams::Stream;

const FAR: u64 = 1 << 40;

fn file() -> File {
    tempfile::tempfile().unwrap()
}

/// A socket with `bytes` in it and no more to come.
fn socket_with(bytes: &[u8]) -> UnixStream {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(bytes).unwrap();
    stream
}

/// A `read` by a closure, opaque to the engine.
struct Reads<F>(F);

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Reads<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.0)(buf)
    }
}

impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Source for Reads<F> {}

/// A `write` by a closure, opaque to the engine.
struct Writes<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Writes<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (self.0)(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> io::Result<usize>> Sink for Writes<F> {}

#[test]
fn a_read_that_reports_more_than_its_room_fails() {
    let _leaks = fds::no_leaks();
    for excess in [1, 1 << 30, usize::MAX / 2] {
        let mut calls = 0;
        let mut source = Reads(|buf: &mut [u8]| {
            calls += 1;
            Ok(if calls == 1 { buf.len().min(10) } else { buf.len().saturating_add(excess) })
        });
        let mut to = file();
        let error = Copier::new().copy(&mut source, &mut to).unwrap_err();
        assert_eq!((error.kind(), error.syscall()), (ErrorKind::InvalidData, Some("read")));
        assert_eq!((error.moved(), position(&to), to.metadata().unwrap().len()), (10, 10, 10));
        assert!(error.to_string().contains("claims"), "{error}");
    }
    // Below a limit there is less room. std's `Take` itself panics at the false count.
    let mut to = file();
    let mut lying = Reads(|buf: &mut [u8]| Ok(buf.len() + 1)).take(100);
    let outcome = catch_unwind(AssertUnwindSafe(|| zc_std::copy(&mut lying, &mut to)));
    assert!(!matches!(outcome, Ok(Ok(_))), "it cannot have gone well");
    assert_eq!(to.metadata().unwrap().len(), 0);
}

#[test]
fn a_read_that_panics_loses_nothing() {
    let _leaks = fds::no_leaks();
    let mut calls = 0;
    let mut source = Reads(|buf: &mut [u8]| {
        calls += 1;
        assert!(calls < 4, "the fourth read panics");
        buf[..100].fill(calls);
        Ok(100)
    });
    let mut to = file();
    let mut copier = Copier::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| copier.copy(&mut source, &mut to)));
    assert!(outcome.is_err(), "the panic goes through");
    assert_eq!(copier.in_flight(), 0);
    let whole = [[1; 100], [2; 100], [3; 100]].concat();
    assert_joined(&whole, &[("the file", &contents(&to))]);
    // The same copier goes on.
    let report = copier.copy(&mut &b"clean"[..], &mut to).unwrap();
    assert_eq!(report.moved(), 5);
    assert_joined(&contents(&to), &[("before", &whole), ("after", b"clean")]);
}

#[test]
fn a_read_that_is_always_interrupted_fails() {
    let _leaks = fds::no_leaks();
    let mut source = Reads(|_: &mut [u8]| Err(ErrorKind::Interrupted.into()));
    let mut limited = (&mut source as &mut dyn ReadSource).take(FAR);
    let mut to = file();
    let error = Copier::new().copy(&mut limited, &mut to).unwrap_err();
    assert_eq!((error.kind(), error.syscall()), (ErrorKind::Interrupted, Some("read")));
    assert!(error.to_string().contains("times in a row"), "{error}");
    assert_eq!((error.moved(), limited.limit(), to.metadata().unwrap().len()), (0, FAR, 0));

    // The same for a sink.
    let sent = bytes(0, 10_000);
    let stream = socket_with(&sent);
    let mut source = (&stream).take(FAR);
    let mut sink = Writes(|_: &[u8]| Err(ErrorKind::Interrupted.into()));
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), error.syscall()), (ErrorKind::Interrupted, Some("write")));
    assert!(error.to_string().contains("times in a row"), "{error}");
    assert_eq!((error.moved(), FAR - source.limit()), (0, copier.in_flight() as u64));
    assert_joined(&sent, &[("in flight", &copier.take_residue())]);
}

#[test]
fn a_read_that_fails_every_other_time_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    let (mut at, mut calls) = (0, 0);
    let mut source = Reads(|buf: &mut [u8]| {
        calls += 1;
        if calls % 2 == 0 {
            return Err(io::Error::other("not today"));
        }
        let n = buf.len().min(sent.len() - at).min(7_777);
        buf[..n].copy_from_slice(&sent[at..at + n]);
        at += n;
        Ok(n)
    });
    let (mut to, mut copier, mut moved, mut failures) = (file(), Copier::new(), 0, 0);
    loop {
        let outcome = copier.copy(&mut source, &mut to);
        moved += copier.report().moved();
        match outcome {
            Ok(_) => break,
            Err(error) => {
                failures += 1;
                assert_eq!((error.kind(), error.syscall()), (ErrorKind::Other, Some("read")));
                assert!(error.to_string().contains("not today"), "{error}");
            }
        }
    }
    assert_eq!((moved, failures), (100_000, 13));
    assert_joined(&sent, &[("the file", &contents(&to))]);
}

/// Panics once it has heard of `after` bytes.
fn panics_after(after: u64) -> impl FnMut(u64) {
    let mut seen = 0;
    move |n| {
        seen += n;
        assert!(seen < after, "the callback panics");
    }
}

/// A callback around the source panics. The limit around it has fallen all the same, and what was taken is delivered
/// or in flight.
#[test]
fn a_panic_around_the_source_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for adaptive in [true, false] {
        for kind in Stream::SOCKETS {
            let (mut ours, theirs) = kind.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let mut to = file();
            let mut copier = Copier::new().adaptive(adaptive);
            let taken = {
                let inner = (&mut ours).take(FAR);
                let mut source = Progress::new(inner, panics_after(200_000)).take(FAR);
                let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut to));
                assert!(catch_unwind(copy).is_err(), "the panic goes through");
                let outer = FAR - source.limit();
                assert_eq!(outer, FAR - source.get_ref().get_ref().limit(), "all layers were told");
                outer
            };
            assert!(taken >= 200_000);
            assert_eq!(position(&to) + copier.in_flight() as u64, taken, "nothing is lost");
            // The same copier goes on, without the layer that panicked.
            let report = copier.copy(&mut ours, &mut to).unwrap();
            assert_eq!(position(&to), sent.len() as u64, "{report:?}");
            assert_joined(&sent, &[("the file", &contents(&to))]);
            feeder.finish().unwrap();
            fds::assert_pool_is_clean();
        }
    }
}

/// The callback is between a buffer and a limit. The limit hears of what left the buffer, the sink of what came in. A
/// second panic on the way does not abort the process.
#[test]
fn a_panic_over_a_buffer_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 20_000);
    let stream = socket_with(&sent);
    let mut reader = BufReader::with_capacity(5_000, &stream);
    reader.fill_buf().unwrap();
    let one = Progress::new(&mut reader, panics_after(1));
    let two = Progress::new(one.take(FAR), panics_after(1));
    let mut source = two.take(FAR);
    let (mut told, to) = (0, file());
    let mut sink = Progress::new(&to, |n| told += n);
    let mut copier = Copier::new();
    let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut sink));
    assert!(catch_unwind(copy).is_err());
    assert_eq!((FAR - source.limit(), told, position(&to)), (5_000, 5_000, 5_000));
    assert_eq!((copier.report().moved(), copier.in_flight()), (5_000, 0));
    assert_eq!(FAR - source.get_ref().get_ref().limit(), 5_000);
    drop(source);
    assert!(reader.buffer().is_empty());
    assert_joined(&sent[..5_000], &[("the file", &contents(&to))]);
}

/// A copier is dropped after a panic with bytes in flight: its pipe is closed, not reused.
#[test]
fn a_panic_with_bytes_in_flight_closes_their_pipe() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    let (mut ours, theirs) = Stream::Unix.sockets();
    let feeder = Feeder::until_refused(theirs, sent.clone());
    // Nearly full, so that a splice delivers a part.
    let (sink, peer) = UnixStream::pair().unwrap();
    sink.set_nonblocking(true).unwrap();
    let mut source = Progress::new((&mut ours).take(FAR), panics_after(1));
    // A pipe of one page, which is filled by half at least, so that the bytes stay in it.
    let mut copier = Copier::new().adaptive(false).pipe_size(4096);
    let mut to = &sink;
    while (&sink).write(&[0; 1024]).is_ok() {}
    let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut to));
    assert!(catch_unwind(copy).is_err());
    let in_flight = copier.in_flight();
    assert!(in_flight > 0);
    assert_eq!(FAR - source.get_ref().limit(), in_flight as u64);
    assert_eq!(pool::in_use(), 1);
    drop(copier);
    fds::assert_pool_is_clean();
    drop(source);
    drop((ours, sink, peer));
    feeder.finish().unwrap();
}

#[test]
fn a_panic_around_the_sink_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for adaptive in [true, false] {
        for kind in Stream::SOCKETS {
            let (ours, theirs) = kind.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let mut source = ours.take(FAR);
            let mut told = 0;
            let to = file();
            let mut sink = Progress::new(
                Progress::new(&to, panics_after(200_000)),
                // The outer layer hears of the bytes although the inner one has panicked.
                |n| told += n,
            );
            let mut copier = Copier::new().adaptive(adaptive);
            let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut sink));
            assert!(catch_unwind(copy).is_err(), "the panic goes through");
            drop(sink);
            let taken = FAR - source.limit();
            assert_eq!(position(&to) + copier.in_flight() as u64, taken);
            assert_eq!(told, position(&to), "all layers were told");
            copier.copy(&mut source, &mut &to).unwrap();
            assert_eq!(FAR - source.limit(), sent.len() as u64);
            assert_joined(&sent, &[("the file", &contents(&to))]);
            feeder.finish().unwrap();
            fds::assert_pool_is_clean();
        }
    }
    // From a file to a file, by one call.
    let mut from = file();
    from.write_all(&sent).unwrap();
    io::Seek::rewind(&mut from).unwrap();
    let mut source = Progress::new((&from).take(FAR), panics_after(1));
    let to = file();
    let copy = AssertUnwindSafe(|| Copier::new().copy(&mut source, &mut &to));
    assert!(catch_unwind(copy).is_err());
    let taken = FAR - source.get_ref().limit();
    assert_eq!((position(&from), position(&to)), (taken, taken));
    assert_joined(&sent[..usize::try_from(taken).unwrap()], &[("the copy", &contents(&to))]);
}

/// The false answers of a source about its buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// To consume changes nothing.
    Keeps,
    /// To consume makes the buffer longer.
    Grows,
    /// To consume takes one byte too many.
    TakesMore,
    /// To consume one byte takes all.
    TakesAll,
    /// To consume panics.
    Panics,
}

struct Liar<'a> {
    lie: Lie,
    buffer: Vec<u8>,
    inner: &'a UnixStream,
}

impl Read for Liar<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl Source for Liar<'_> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::through(&mut self.inner)
    }
    fn buffered(&self) -> &[u8] {
        &self.buffer
    }
    fn consume_buffered(&mut self, n: usize) {
        match self.lie {
            Lie::Keeps => {}
            Lie::Grows => self.buffer.extend_from_slice(b"more"),
            Lie::TakesMore => drop(self.buffer.drain(..n + 1)),
            Lie::TakesAll => self.buffer.clear(),
            Lie::Panics => panic!("consuming panics"),
        }
    }
}

#[test]
fn a_source_that_lies_about_its_buffer_doubles_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1_000);
    for lie in [Lie::Keeps, Lie::Grows, Lie::TakesMore, Lie::TakesAll] {
        let stream = socket_with(&sent);
        let liar = Liar { lie, buffer: b"buffered".to_vec(), inner: &stream };
        let mut limited = liar.take(4);
        let mut to = file();
        let error = zc_std::copy(&mut limited, &mut to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{lie:?}: {error}");
        let error = CopyError::from_io(&error).unwrap();
        assert_eq!(error.syscall(), Some("consume_buffered"), "{lie:?}");
        assert!(error.residue().is_empty());
        // What was written before the fault was found is in the file, once, and is counted.
        assert_joined(b"buff", &[("the file", &contents(&to))]);
        assert_eq!((error.moved(), limited.limit()), (4, 0), "{lie:?}: {error}");
        let mut rest = vec![0; sent.len()];
        (&stream).read_exact(&mut rest).unwrap();
        assert_joined(&sent, &[("the socket was not touched", &rest)]);
    }
    let stream = socket_with(&sent);
    let mut liar = Liar { lie: Lie::Panics, buffer: b"buffered".to_vec(), inner: &stream };
    let mut to = file();
    let copy = AssertUnwindSafe(|| zc_std::copy(&mut liar, &mut to));
    assert!(catch_unwind(copy).is_err());
    assert_joined(b"buffered", &[("the file", &contents(&to))]);
}

/// A buffer that is empty at most looks and not at others, and one that shrinks by itself.
#[test]
fn a_source_whose_buffer_changes_at_each_look_ends() {
    use std::cell::Cell;
    // No part of the stream looks like this.
    const GHOST: &[u8] = b"ghost, and a long one";
    struct Flickers<'a>(Cell<u32>, u32, &'a UnixStream);
    impl Read for Flickers<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.2.read(buf)
        }
    }
    impl Source for Flickers<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.2)
        }
        fn buffered(&self) -> &[u8] {
            self.0.set(self.0.get() + 1);
            // A guard against a copy that looks without end.
            assert!(self.0.get() < 100_000, "it goes on and on");
            if self.0.get().is_multiple_of(self.1) { GHOST } else { b"" }
        }
        // Changes nothing: the next look may well show an empty buffer.
        fn consume_buffered(&mut self, _: usize) {}
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 50_000);
    let (mut seen, mut failed) = (0, 0);
    for period in 1..=7 {
        let (client, stream) = UnixStream::pair().unwrap();
        let feeder = Feeder::until_refused(Socket::Unix(client), sent.clone());
        let mut to = file();
        // The check finds the fault, or takes the ghosts for real bytes. The copy ends, either way.
        let mut source = Flickers(Cell::new(0), period, &stream);
        let outcome = zc_std::copy(&mut source, &mut to);
        // The ghosts are whole in the file, between bytes of the stream. All bytes of the stream are in the file, in
        // the error or still to be read.
        let got = contents(&to);
        let (mut at, mut streamed) = (0, 0);
        while at < got.len() {
            if got[at..].starts_with(GHOST) {
                (seen, at) = (seen + 1, at + GHOST.len());
            } else {
                assert_eq!(
                    got[at], sent[streamed],
                    "byte {at} of the file, {streamed} of the stream"
                );
                (streamed, at) = (streamed + 1, at + 1);
            }
        }
        let mut residue = Vec::new();
        match outcome {
            Ok(moved) => assert_eq!((moved, streamed), (got.len() as u64, sent.len())),
            Err(error) => {
                failed += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                let error = CopyError::from_io(&error).unwrap();
                assert_eq!(error.moved(), got.len() as u64, "{error}");
                residue = error.residue().to_vec();
            }
        }
        let mut rest = Vec::new();
        (&stream).read_to_end(&mut rest).unwrap();
        assert_joined(&sent[streamed..], &[("residue", &residue), ("rest", &rest)]);
        feeder.finish().unwrap();
    }
    assert!(seen > 0 && failed > 0, "{seen} ghosts, {failed} failures");
}

#[test]
fn a_sink_that_reports_more_than_it_was_given_fails() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    for excess in [1, usize::MAX / 2] {
        for adaptive in [true, false] {
            let (ours, theirs) = Stream::Tcp.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let mut source = ours.take(FAR);
            let mut sink = Writes(|buf: &[u8]| Ok(buf.len().saturating_add(excess)));
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut sink).unwrap_err();
            assert_eq!((error.kind(), error.syscall()), (ErrorKind::InvalidData, Some("write")));
            assert_eq!((error.moved(), FAR - source.limit()), (0, copier.in_flight() as u64));
            let residue = copier.take_residue();
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_joined(&sent, &[("residue", &residue), ("rest", &rest)]);
            feeder.finish().unwrap();
        }
    }
}

#[test]
fn a_sink_that_takes_nothing_fails() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 10_000);
    let stream = socket_with(&sent);
    let mut source = (&stream).take(FAR);
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut Writes(|_: &[u8]| Ok(0))).unwrap_err();
    assert_eq!((error.kind(), error.syscall()), (ErrorKind::WriteZero, Some("write")));
    assert_eq!((error.moved(), FAR - source.limit()), (0, 10_000));
    assert_joined(&sent, &[("in flight", &copier.take_residue())]);

    // A sink of buffered bytes: these stay in the buffer.
    let mut memory = &sent[..];
    let error = zc_std::copy(&mut memory, &mut Writes(|_: &[u8]| Ok(0))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    assert_eq!(
        CopyError::from_io(&error).map(|error| (error.moved(), error.residue().len())),
        Some((0, 0))
    );
    assert_joined(&sent, &[("still buffered", memory)]);
}

#[test]
fn a_sink_that_panics_loses_nothing() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    for adaptive in [true, false] {
        let (ours, theirs) = Stream::Unix.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut source = ours.take(FAR);
        let mut copier = Copier::new().adaptive(adaptive);
        let mut sink = Writes(|_: &[u8]| panic!("writing panics"));
        let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut sink));
        assert!(catch_unwind(copy).is_err());
        // A panic does not say what was written. The copier still has what it passed to `write`, and the source's
        // limit has fallen by it.
        let residue = copier.take_residue();
        assert_eq!(FAR - source.limit(), residue.len() as u64, "adaptive {adaptive}");
        let mut rest = Vec::new();
        source.read_to_end(&mut rest).unwrap();
        assert_joined(&sent, &[("residue", &residue), ("rest", &rest)]);
        feeder.finish().unwrap();
    }
}

#[test]
fn a_flush_that_fails_or_panics_takes_nothing() {
    struct NoFlush<'a>(&'a File, bool);
    impl Write for NoFlush<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            assert!(!self.1, "flushing panics");
            Err(io::Error::other("cannot flush"))
        }
    }
    impl Sink for NoFlush<'_> {
        fn downstream(&mut self) -> Downstream<'_> {
            Downstream::through(&mut self.0).flush_first()
        }
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 50_000);
    let to = file();
    for panics in [false, true] {
        let stream = socket_with(&sent);
        let mut source = (&stream).take(FAR);
        let copy = AssertUnwindSafe(|| zc_std::copy(&mut source, &mut NoFlush(&to, panics)));
        let outcome = catch_unwind(copy);
        assert_eq!(outcome.is_err(), panics, "a panic goes through");
        if let Ok(outcome) = outcome {
            let error = outcome.unwrap_err();
            let error = CopyError::from_io(&error).unwrap();
            assert_eq!((error.syscall(), error.moved()), (Some("flush"), 0));
        }
        assert_eq!((source.limit(), to.metadata().unwrap().len()), (FAR, 0));
    }
}

/// `upstream` names another descriptor each time it is asked.
#[test]
fn a_source_that_changes_its_descriptor_is_counted_right() {
    struct Fickle<'a>(&'a [File], &'a UnixStream, usize);
    impl Read for Fickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1.read(buf)
        }
    }
    impl Source for Fickle<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            self.2 += 1;
            // A guard against a copy that asks without end.
            assert!(self.2 < 100_000, "it goes on and on");
            match self.2 % 3 {
                0 => Upstream::fd(PollFd::of(self.1)),
                n => Upstream::fd(self.0[n - 1].as_raw_poll_fd()),
            }
        }
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 60_000);
    for adaptive in [true, false] {
        let files: Vec<File> = (0..2)
            .map(|_| {
                let mut file = file();
                file.write_all(&sent).unwrap();
                io::Seek::rewind(&mut file).unwrap();
                file
            })
            .collect();
        let (client, stream) = UnixStream::pair().unwrap();
        (&client).write_all(&sent).unwrap();
        drop(client);
        let (mut to, peer) = Stream::Unix.sockets();
        let reader = Collector::start(peer);
        let mut copier = Copier::new().adaptive(adaptive);
        let outcome = copier.copy(&mut Fickle(&files, &stream, 0), &mut to);
        drop(to);
        let arrived = reader.finish();
        // The source decides which bytes come. They are counted right.
        let moved = copier.report().moved();
        assert_eq!(arrived.len() as u64, moved, "{outcome:?}");
        let rest: u64 = {
            let mut left = Vec::new();
            (&stream).read_to_end(&mut left).unwrap();
            60_000 - left.len() as u64
        };
        let taken = rest + files.iter().map(position).sum::<u64>();
        assert_eq!(taken, moved + copier.in_flight() as u64, "{outcome:?}");

        // Into a file.
        let mut to = file();
        let outcome = copier.copy(&mut Fickle(&files, &stream, 0), &mut to);
        assert_eq!(position(&to), copier.report().moved(), "{outcome:?}");
    }
}

/// `downstream` names another descriptor each time it is asked.
#[test]
fn a_sink_that_changes_its_descriptor_loses_nothing() {
    struct Fickle<'a>(&'a [File; 2], usize);
    impl Write for Fickle<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            (&self.0[0]).write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Fickle<'_> {
        fn downstream(&mut self) -> Downstream<'_> {
            self.1 += 1;
            Downstream::fd(self.0[self.1 % 2].as_raw_poll_fd())
        }
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for adaptive in [true, false] {
        let (ours, theirs) = Stream::Tcp.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut source = ours.take(FAR);
        let files = [file(), file()];
        let recorder = hook::record();
        let report =
            Copier::new().adaptive(adaptive).copy(&mut source, &mut Fickle(&files, 0)).unwrap();
        assert_eq!((report.moved(), FAR - source.limit()), (1 << 20, 1 << 20));
        assert_eq!(files.iter().map(position).sum::<u64>(), 1 << 20);
        // The sink decides which file gets which bytes. In the order of the calls they are the stream.
        let both = files.each_ref().map(contents);
        let (mut left, mut joined) = (both.each_ref().map(Vec::as_slice), Vec::new());
        for record in recorder.calls() {
            let to = files.iter().position(|file| record.call.to == Some(file.as_raw_fd()));
            if let Some(to) = to {
                let (stretch, rest) = left[to].split_at(record.moved());
                joined.extend_from_slice(stretch);
                left[to] = rest;
            }
        }
        assert_joined(&sent, &[("both files", &joined)]);
        feeder.finish().unwrap();
    }
}

/// A limit that rises, falls by too much, or never falls.
#[test]
fn a_source_that_lies_about_its_limit_is_counted_right() {
    struct Limits<'a>(&'a UnixStream, fn(u64) -> u64, u64);
    impl Read for Limits<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Source for Limits<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.0).limit((self.1)(self.2))
        }
        fn taken(&mut self, n: u64) {
            self.2 += n;
        }
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    let limits: [fn(u64) -> u64; 4] =
        [|taken| taken + 1, |_| 10, |taken| 30_000_u64.saturating_sub(2 * taken), |_| u64::MAX];
    for limit in limits {
        let (client, stream) = UnixStream::pair().unwrap();
        let feeder = Feeder::until_refused(Socket::Unix(client), sent.clone());
        let mut source = Limits(&stream, limit, 0).take(FAR);
        let mut to = file();
        let report = Copier::new().adaptive(false).copy(&mut source, &mut to).unwrap();
        assert_eq!(report.moved(), FAR - source.limit());
        assert_eq!((report.moved(), position(&to)), (source.get_ref().2, report.moved()));
        let moved = usize::try_from(report.moved()).unwrap();
        let mut rest = Vec::new();
        (&stream).read_to_end(&mut rest).unwrap();
        assert_joined(&sent, &[("the file", &contents(&to)), ("the rest", &rest)]);
        assert_eq!(moved + rest.len(), sent.len());
        feeder.finish().unwrap();
    }
}

/// An `upstream` that panics at the nth look, for every n.
#[test]
fn an_upstream_that_panics_loses_nothing() {
    struct Panics<'a>(&'a UnixStream, u32);
    impl Read for Panics<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Source for Panics<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            self.1 = self.1.checked_sub(1).expect("upstream panics");
            Upstream::through(&mut self.0)
        }
    }
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 90_000);
    for adaptive in [true, false] {
        for n in 0.. {
            let (client, stream) = UnixStream::pair().unwrap();
            (&client).write_all(&sent).unwrap();
            drop(client);
            let (mut to, mut copier) = (file(), Copier::new().adaptive(adaptive));
            let mut source = Panics(&stream, n);
            let copy = AssertUnwindSafe(|| copier.copy(&mut source, &mut to).unwrap());
            let outcome = catch_unwind(copy);
            // The same copier and another wrapper around the same source: no byte was lost.
            copier.copy(&mut &stream, &mut to).unwrap();
            assert_joined(&sent, &[("the file", &contents(&to))]);
            if outcome.is_ok() {
                assert!(n > 1);
                break;
            }
        }
    }
}

/// A datagram socket in a type that claims to be a stream: its messages run together, and no more than that.
#[test]
fn datagrams_passed_off_as_a_stream_run_together() {
    struct Claims(std::os::unix::net::UnixDatagram);
    impl AsFd for Claims {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl zc_std::IsStream for Claims {}
    impl Read for Claims {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.recv(buf)
        }
    }
    impl Source for Claims {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::fd(PollFd::of(self))
        }
    }
    let _leaks = fds::no_leaks();
    let (a, b) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let messages = [bytes(0, 1_000), bytes(0, 2_000), bytes(0, 500)];
    for message in &messages {
        a.send(message).unwrap();
    }
    b.set_nonblocking(true).unwrap();
    let mut limited = Claims(b).take(FAR);
    let mut to = file();
    let mut copier = Copier::new().adaptive(false);
    let error = copier.copy(&mut limited, &mut to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!((error.moved(), FAR - limited.limit(), position(&to)), (3_500, 3_500, 3_500));
    assert_joined(&messages.concat(), &[("the file", &contents(&to))]);
}

/// An opaque wrapper hides a hostile source like any other.
#[test]
fn an_opaque_wrapper_hides_a_hostile_source() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1_000);
    let (client, stream) = UnixStream::pair().unwrap();
    (&client).write_all(&sent).unwrap();
    drop(client);
    let liar = Liar { lie: Lie::Keeps, buffer: b"never seen".to_vec(), inner: &stream };
    let mut to = file();
    let n = zc_std::copy(&mut Opaque(liar), &mut to).unwrap();
    assert_eq!(n, 1_000);
    assert_joined(&sent, &[("the file", &contents(&to))]);
}
