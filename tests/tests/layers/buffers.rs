//! Bytes that layers hold: they go out first, in order, and the kernel moves the rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, LineWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, Mechanism, Source, Upstream};
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{calls, fds, files, sockets};

const LEN: usize = 120_000;

/// A Unix stream that yields `data`.
fn stream_of(data: &[u8]) -> (UnixStream, Feeder) {
    let (client, server) = sockets::unix();
    (server, Feeder::pieces(client, data.to_vec(), 40_000))
}

fn splicing() -> Copier {
    Copier::new().adaptive(false)
}

fn check_file(file: &File, want: &[u8]) {
    assert_same(&files::contents(file), want);
    assert_eq!(files::position(file), want.len() as u64);
}

// ---- BufReader ----------------------------------------------------------------------------------

#[test]
fn what_a_buf_reader_holds_goes_out_before_the_splice() {
    for consumed in [0, 1, 100, 8192] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(40, LEN);
        let (stream, feeder) = stream_of(&data);
        let mut file = files::empty();
        let mut reader = BufReader::new(&stream);
        reader.fill_buf().unwrap();
        let mut head = vec![0; consumed];
        reader.read_exact(&mut head).unwrap();
        let held = reader.buffer().len() as u64;

        let recorder = hook::record();
        let report = splicing().copy(&mut reader, &mut file).unwrap();

        assert_eq!(report.moved(), (LEN - consumed) as u64);
        assert_eq!(report.moved_by(Mechanism::ReadWrite), held);
        assert_eq!(report.mechanism(), Some(Mechanism::Splice));
        assert!(reader.buffer().is_empty());
        let calls = calls::movers(&recorder.calls());
        calls::assert_spliced_through_a_pipe(&calls, stream.as_raw_fd(), file.as_raw_fd());
        if held > 0 {
            assert_eq!(calls[0].call.syscall, Syscall::Write, "the buffer first");
            assert_eq!(calls[0].moved() as u64, held);
        }
        check_file(&file, &data[consumed..]);
        feeder.finish().unwrap();
    }
}

/// A limit within the buffer, at its end, and beyond it; inside the reader and around it.
#[test]
fn limits_count_buffered_bytes() {
    for limit in [1, 8191, 8192, 8193, 50_000, LEN as u64 + 1] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(41, LEN);
        let moved = limit.min(LEN as u64);
        let (want, rest) = data.split_at(moved as usize);

        let (stream, feeder) = stream_of(&data);
        let mut file = files::empty();
        let mut reader = BufReader::new(&stream);
        reader.fill_buf().unwrap();
        let mut limited = (&mut reader).take(limit);
        let recorder = hook::record();
        let report = splicing().copy(&mut limited, &mut file).unwrap();
        assert_eq!((report.moved(), limited.limit()), (moved, limit - moved));
        if limit <= 8192 {
            let calls = recorder.calls();
            assert_eq!(calls.len(), 1, "one write, and the descriptor left alone: {calls:?}");
        }
        drop(recorder);
        check_file(&file, want);
        let mut left = Vec::new();
        reader.read_to_end(&mut left).unwrap();
        assert_same(&left, rest);
        feeder.finish().unwrap();

        // `BufReader<Take<…>>`: the limit fell when the buffer was filled.
        let (stream, feeder) = stream_of(&data);
        let mut file = files::empty();
        let mut reader = BufReader::new((&stream).take(limit));
        reader.fill_buf().unwrap();
        assert_eq!(splicing().copy(&mut reader, &mut file).unwrap().moved(), moved);
        assert_eq!(reader.get_ref().limit(), limit - moved);
        check_file(&file, want);
        let mut left = Vec::new();
        (&stream).read_to_end(&mut left).unwrap();
        assert_same(&left, rest);
        feeder.finish().unwrap();
    }
}

#[test]
fn buffers_behind_buffers_go_out_in_order() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(42, LEN);
    let (stream, feeder) = stream_of(&data);
    // The inner buffer holds more than the outer one took from it.
    let mut inner = BufReader::with_capacity(5000, &stream);
    inner.fill_buf().unwrap();
    let mut outer = BufReader::with_capacity(300, inner.take(100_000));
    outer.fill_buf().unwrap();
    assert_eq!((outer.buffer().len(), outer.get_ref().get_ref().buffer().len()), (300, 4700));

    let mut file = files::empty();
    let report = splicing().copy(&mut outer, &mut file).unwrap();
    assert_eq!((report.moved(), outer.get_ref().limit()), (100_000, 0));
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 5000);
    check_file(&file, &data[..100_000]);
    let mut left = Vec::new();
    (&stream).read_to_end(&mut left).unwrap();
    assert_same(&left, &data[100_000..]);
    feeder.finish().unwrap();
}

/// Buffered bytes that cannot be written stay in the buffer, and go out the next time.
#[test]
fn buffered_bytes_survive_a_failed_write() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(43, LEN);
    let (stream, feeder) = stream_of(&data);
    let mut reader = BufReader::new(&stream);
    reader.fill_buf().unwrap();
    let mut file = files::empty();
    let (mut writes, mut copier) = (0, splicing());
    let full = hook::replace(move |call| match call.syscall {
        Syscall::Write => {
            writes += 1;
            if writes == 3 {
                Action::Fail(Errno::NOSPC.raw_os_error())
            } else {
                Action::Limit(1000)
            }
        }
        _ => Action::Proceed,
    });
    let error = copier.copy(&mut reader, &mut file).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (io::ErrorKind::StorageFull, 2000));
    assert_eq!((copier.in_flight(), reader.buffer().len()), (0, 8192 - 2000));
    drop(full);
    assert_eq!(copier.copy(&mut reader, &mut file).unwrap().moved(), LEN as u64 - 2000);
    check_file(&file, &data);
    feeder.finish().unwrap();
}

/// A buffer over a file, whose offset is beyond what the reader has given out.
#[test]
fn a_buffered_file_goes_on_where_its_buffer_ends() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(44, LEN);
    let mut reader = BufReader::new(files::holding(&data));
    let mut line = vec![0; 10];
    reader.read_exact(&mut line).unwrap();
    let mut file = files::empty();
    let report = splicing().copy(&mut reader, &mut file).unwrap();
    assert_eq!(report.mechanism(), Some(Mechanism::CopyFileRange));
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 8192 - 10);
    check_file(&file, &data[10..]);
    assert_eq!(files::position(reader.get_ref()), LEN as u64);
}

// ---- BufWriter and LineWriter -------------------------------------------------------------------

#[test]
fn what_a_buf_writer_holds_is_flushed_before_the_splice() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(45, LEN);
    let (stream, feeder) = stream_of(&data);
    let file = files::empty();
    let mut writer = BufWriter::new(&file);
    writer.write_all(b"held back").unwrap();
    let recorder = hook::record();
    let report = splicing().copy(&mut &stream, &mut writer).unwrap();
    assert_eq!(report.moved(), LEN as u64, "what the writer held is no part of the copy");
    assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
    calls::assert_spliced_through_a_pipe(&recorder.calls(), stream.as_raw_fd(), file.as_raw_fd());
    assert!(writer.buffer().is_empty());
    writer.write_all(b"and after").unwrap();
    drop(writer);
    check_file(&file, &[b"held back", &data[..], b"and after"].concat());
    feeder.finish().unwrap();
}

#[test]
fn what_a_line_writer_holds_is_flushed_before_the_splice() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(46, LEN);
    let (stream, feeder) = stream_of(&data);
    let file = files::empty();
    let mut writer = LineWriter::new(&file);
    writer.write_all(b"a line\nand half a").unwrap();
    check_file(&file, b"a line\n");
    let report = splicing().copy(&mut &stream, &mut writer).unwrap();
    assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
    drop(writer);
    check_file(&file, &[b"a line\nand half a", &data[..]].concat());
    feeder.finish().unwrap();
}

#[test]
fn writers_in_writers_are_flushed_from_the_outside_in() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(47, LEN);
    let (stream, feeder) = stream_of(&data);
    let file = files::empty();
    let mut inner = BufWriter::new(&file);
    inner.write_all(b"inner, ").unwrap();
    let mut outer = LineWriter::new(BufWriter::new(inner));
    outer.write_all(b"outer, ").unwrap();
    let report = splicing().copy(&mut &stream, &mut outer).unwrap();
    assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
    drop(outer);
    check_file(&file, &[b"inner, outer, ", &data[..]].concat());
    feeder.finish().unwrap();
}

/// A buffering sink still buffers the single bytes of a source that can only be read.
#[test]
fn a_buf_writer_buffers_what_can_only_be_read() {
    struct Dribble<'a>(&'a [u8]);
    impl Read for Dribble<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let one = buf.len().min(1);
            self.0.read(&mut buf[..one])
        }
    }
    impl Source for Dribble<'_> {}

    let _leaks = fds::no_leaks();
    let data = data::bytes(48, 20_000);
    let file = files::empty();
    let mut writer = BufWriter::new(&file);
    writer.write_all(b"held, ").unwrap();
    let recorder = hook::record();
    assert_eq!(zc_std::copy(&mut Dribble(&data), &mut writer).unwrap(), 20_000);
    assert!(recorder.calls_to(Syscall::Write).is_empty(), "the writer's own business");
    drop(writer);
    check_file(&file, &[b"held, ", &data[..]].concat());
}

#[test]
fn a_flush_that_fails_fails_the_copy_before_anything_is_taken() {
    let _leaks = fds::no_leaks();
    let (mut stream, feeder) = stream_of(b"never taken");
    let mut writer = BufWriter::new(File::options().write(true).open("/dev/full").unwrap());
    writer.write_all(b"cannot go out").unwrap();
    let error = zc_std::copy(&mut stream, &mut writer).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let error = CopyError::from_io(&error).unwrap();
    assert_eq!((error.moved(), error.residue(), error.syscall()), (0, &b""[..], Some("flush")));
    assert_eq!(writer.buffer(), b"cannot go out");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"never taken");
    let (_, held) = writer.into_parts();
    assert_eq!(held.unwrap(), b"cannot go out");
    feeder.finish().unwrap();
}

/// The headers of frames are read, and their bodies spliced. What the sink holds back of a header goes out before its
/// body.
#[test]
fn a_source_read_and_spliced_by_turns_keeps_its_order_through_a_buf_writer() {
    /// Puts two bytes of its own in front of each `FRAME` bytes of the stream.
    struct Framed<'a> {
        stream: &'a UnixStream,
        header: &'static [u8],
        body: u64,
        frames: usize,
    }
    const FRAME: u64 = 20_000;
    impl Read for Framed<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.body == 0 && self.header.is_empty() && self.frames > 0 {
                self.frames -= 1;
                (self.header, self.body) = (b"->", FRAME);
            }
            if !self.header.is_empty() {
                return self.header.read(buf);
            }
            let n = self.stream.take(self.body).read(buf)?;
            self.body -= n as u64;
            Ok(n)
        }
    }
    impl Source for Framed<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            if self.header.is_empty() && self.body > 0 {
                Upstream::through(&mut self.stream).limit(self.body)
            } else {
                Upstream::opaque()
            }
        }
        fn taken(&mut self, n: u64) {
            self.body -= n;
        }
    }

    let _leaks = fds::no_leaks();
    let data = data::bytes(49, 3 * FRAME as usize);
    let (stream, feeder) = stream_of(&data);
    let mut source = Framed { stream: &stream, header: b"", body: 0, frames: 3 };
    let file = files::empty();
    let mut writer = BufWriter::new(&file);
    let report = splicing().copy(&mut source, &mut writer).unwrap();
    drop(writer);
    assert_eq!(report.moved(), 3 * (2 + FRAME));
    assert_eq!(report.moved_by(Mechanism::Splice), 3 * FRAME);
    let want: Vec<u8> =
        data.chunks(FRAME as usize).flat_map(|body| [b"->", body].concat()).collect();
    check_file(&file, &want);
    feeder.finish().unwrap();
}
