//! Which mechanism a copy chooses by what is known of its two ends, and by the size of the pieces.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;

use zc_std::{Copier, Mechanism, ReadSource, Report, WriteSink};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, pipes, sockets};

const LEN: usize = 16 << 20;

/// How many bytes went by splice, and how many were read and written.
fn ways(report: &Report) -> (u64, u64) {
    (report.moved_by(Mechanism::Splice), report.moved_by(Mechanism::ReadWrite))
}

/// A sender of [`LEN`] bytes, in large pieces.
fn fed<W: Write + Send + 'static, R>((to, from): (W, R), data: &[u8]) -> (Feeder, R) {
    (Feeder::pieces(to, data.to_vec(), 1 << 20), from)
}

/// Copies all of `from` to what `collector` reads.
fn relayed<W: WriteSink, R: Read + Send + 'static>(
    (feeder, mut from): (Feeder, impl ReadSource),
    (to, far_end): (W, R),
    data: &[u8],
) -> Report {
    let (mut to, collector) = (to, Collector::start(far_end));
    let report = Copier::new().copy(&mut from, &mut to).unwrap();
    drop(to);
    assert_same(&collector.finish(), data);
    feeder.finish().unwrap();
    assert_eq!(report.moved(), data.len() as u64);
    report
}

fn into_a_file((feeder, mut from): (Feeder, impl ReadSource), data: &[u8]) -> Report {
    let mut file = files::empty();
    let report = Copier::new().copy(&mut from, &mut file).unwrap();
    feeder.finish().unwrap();
    assert_same(&files::contents(&file), data);
    assert_eq!(report.moved(), data.len() as u64);
    report
}

fn pipe() -> (std::io::PipeWriter, std::io::PipeReader) {
    let (reader, writer) = pipes::pipe();
    (writer, reader)
}

/// TCP sends pages of another socket one by one, so bytes from a Unix socket are copied.
#[test]
fn from_unix_to_tcp_bytes_are_read_and_written() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(60, LEN);
    let report = relayed(fed(sockets::unix(), &data), sockets::tcp_v4(), &data);
    assert_eq!(ways(&report), (0, LEN as u64), "{report:?}");
}

/// Between all other sockets, and from them into a pipe, pages change hands. Bytes are read until the pieces are
/// known to be large.
#[test]
fn between_other_sockets_bytes_are_spliced() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(61, LEN);
    let reports = [
        relayed(fed(sockets::tcp_v4(), &data), sockets::tcp_v4(), &data),
        relayed(fed(sockets::tcp_v4(), &data), sockets::unix(), &data),
        relayed(fed(sockets::unix(), &data), sockets::unix(), &data),
        relayed(fed(sockets::unix(), &data), pipe(), &data),
        relayed(fed(sockets::tcp_v4(), &data), pipe(), &data),
        relayed(fed(pipe(), &data), pipe(), &data),
        relayed(fed(pipe(), &data), sockets::unix(), &data),
    ];
    for (n, report) in reports.iter().enumerate() {
        assert_eq!(ways(report).0 + ways(report).1, LEN as u64, "{n}: {report:?}");
        assert!(ways(report).1 < LEN as u64 / 2, "{n}: {report:?}");
    }
}

/// Into a file the bytes are copied once in any case, and from a pipe they are spliced from the beginning.
#[test]
fn into_files_and_from_pipes_bytes_are_spliced() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(62, LEN);
    let reports = [
        into_a_file(fed(sockets::tcp_v4(), &data), &data),
        into_a_file(fed(sockets::unix(), &data), &data),
    ];
    for (n, report) in reports.iter().enumerate() {
        assert!(ways(report).1 < LEN as u64 / 2, "{n}: {report:?}");
    }
    let reports = [
        into_a_file(fed(pipe(), &data), &data),
        relayed(fed(pipe(), &data), sockets::tcp_v4(), &data),
    ];
    for (n, report) in reports.iter().enumerate() {
        assert_eq!(ways(report), (LEN as u64, 0), "{n}: {report:?}");
    }
}

/// Between files every file system is asked to copy.
#[test]
fn between_files_the_kernel_copies() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(63, LEN);
    let on_disk = (files::on_disk(&data), files::on_disk(b""));
    let in_memory = (files::holding(&data), files::empty());
    for (from, mut to) in [on_disk, in_memory] {
        let report = Copier::new().copy(&mut &from, &mut to).unwrap();
        assert_eq!(report.moved_by(Mechanism::CopyFileRange), LEN as u64, "{report:?}");
        assert_same(&files::contents(&to), &data);
    }
}

/// Sends `PIECES` pieces of 4 KiB through a copy, each once the one before has arrived.
fn piece_by_piece<S, W>(
    mut client: impl Write,
    mut from: S,
    mut to: W,
    mut far: impl Read,
) -> Report
where
    S: ReadSource + AsRawFd + Send + 'static,
    W: WriteSink + Send + 'static,
{
    let copy = thread::spawn(move || Copier::new().copy(&mut from, &mut to).unwrap());
    let mut got = [0; PIECE];
    for n in 0..PIECES {
        let piece = data::bytes(n as u64, PIECE);
        client.write_all(&piece).unwrap();
        far.read_exact(&mut got).unwrap();
        assert_same(&got, &piece);
    }
    drop(client);
    let report = copy.join().unwrap();
    assert_eq!(far.read(&mut got).unwrap(), 0);
    assert_eq!(report.moved(), (PIECES * PIECE) as u64);
    report
}

const PIECE: usize = 4096;
const PIECES: usize = 32;

/// From a Unix socket into a pipe whole pages are passed on, so that even small pieces are spliced. Elsewhere each of
/// them is read.
#[test]
fn small_pieces_are_spliced_where_pages_are_passed_on() {
    let _leaks = fds::no_leaks();
    let all = (PIECES * PIECE) as u64;
    // This much is read before there is a plan.
    let unplanned = 32 * 1024;

    let ((client, from), (far, to)) = (sockets::unix(), pipes::pipe());
    let report = piece_by_piece(client, from, to, far);
    assert_eq!(ways(&report), (all - unplanned, unplanned), "{report:?}");

    let ((client, from), (far, to)) = (sockets::tcp_v4(), pipes::pipe());
    let report = piece_by_piece(client, from, to, far);
    assert_eq!(ways(&report), (0, all), "{report:?}");

    let ((client, from), (far, to)) = (sockets::unix(), sockets::unix());
    let report = piece_by_piece(client, from, to, far);
    assert_eq!(ways(&report), (0, all), "{report:?}");
}
