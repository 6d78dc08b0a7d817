//! Chains of sources: every link's bytes, in order, each link offloaded where that is safe.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Mechanism, Opaque, Progress, Source, Upstream};
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{calls, fds, files, pipes, sockets};

const LEN: usize = 50_000;
const N: u64 = LEN as u64;

fn stream_of(data: &[u8]) -> (UnixStream, Feeder) {
    let (client, server) = sockets::unix();
    (server, Feeder::pieces(client, data.to_vec(), 40_000))
}

fn splicing() -> Copier {
    Copier::new().adaptive(false)
}

#[test]
fn memory_before_a_socket_is_written_and_the_socket_spliced() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(80, LEN);
    let (stream, _feeder) = stream_of(&data);
    let mut file = files::empty();
    let recorder = hook::record();
    let mut chain = (&b"a header, "[..]).chain(&b"another, "[..]).chain(&stream);
    let report = splicing().copy(&mut chain, &mut file).unwrap();
    assert_eq!(report.moved(), N + 19);
    assert_eq!(report.moved_by(Mechanism::Splice), N);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 19);
    let calls = recorder.calls();
    calls::assert_spliced_through_a_pipe(&calls, stream.as_raw_fd(), file.as_raw_fd());
    let writes = recorder.calls_to(Syscall::Write);
    assert_eq!(writes.iter().map(|w| w.moved()).collect::<Vec<_>>(), [10, 9]);
    assert_same(&files::contents(&file), &[b"a header, another, ", &data[..]].concat());
}

#[test]
fn sockets_one_after_the_other_are_all_spliced() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(81, 3 * LEN);
    let streams: Vec<_> = data.chunks(LEN).map(stream_of).collect();
    let [(a, _), (b, _), (c, _)] = &streams[..] else { unreachable!() };
    let mut file = files::empty();
    let report = splicing().copy(&mut a.chain(b.chain(c)), &mut file).unwrap();
    assert_eq!((report.moved(), report.moved_by(Mechanism::Splice)), (3 * N, 3 * N));
    assert_same(&files::contents(&file), &data);
    for (stream, feeder) in streams {
        drop(stream);
        feeder.finish().unwrap();
    }
}

#[test]
fn a_file_after_a_socket_takes_its_own_way() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(82, 2 * LEN);
    let (stream, _feeder) = stream_of(&data[..LEN]);
    let (tail, mut file) = (files::holding(&data[LEN..]), files::empty());
    let report = splicing().copy(&mut (&stream).chain(&tail), &mut file).unwrap();
    assert_eq!(report.moved_by(Mechanism::Splice), N);
    assert_eq!(report.moved_by(Mechanism::CopyFileRange), N);
    assert_eq!(files::position(&tail), N);
    assert_same(&files::contents(&file), &data);
}

/// A file may have grown since its end was seen. Only the chain knows whether it is past the file.
#[test]
fn a_chain_that_begins_with_a_file_or_a_pipe_is_read() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(83, 2 * LEN);
    let (stream, _feeder) = stream_of(&data[LEN..]);
    let (head, mut file) = (files::holding(&data[..LEN]), files::empty());
    let report = splicing().copy(&mut (&head).chain(&stream), &mut file).unwrap();
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 2 * N);
    assert_same(&files::contents(&file), &data);

    let (reader, mut writer) = pipes::pipe();
    writer.write_all(&data[..LEN]).unwrap();
    drop(writer);
    let (stream, _feeder) = stream_of(&data[LEN..]);
    let mut file = files::empty();
    let report = splicing().copy(&mut reader.chain(&stream), &mut file).unwrap();
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 2 * N);
    assert_same(&files::contents(&file), &data);
}

/// The reason for the test above: the first file grows between two copies.
#[test]
fn a_file_that_grows_is_not_read_again_by_its_chain() {
    let _leaks = fds::no_leaks();
    let (first, mut file) = (files::holding(b"first, "), files::empty());
    let (mut client, stream) = sockets::unix();
    stream.set_nonblocking(true).unwrap();
    let mut chain = (&first).chain(&stream);
    let mut copier = splicing();
    client.write_all(b"second, ").unwrap();
    let error = copier.copy(&mut chain, &mut file).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (io::ErrorKind::WouldBlock, 15));
    let (at, mut writer) = (files::position(&first), &first);
    writer.write_all(b"late").unwrap();
    io::Seek::seek(&mut writer, io::SeekFrom::Start(at)).unwrap();
    client.write_all(b"third").unwrap();
    drop(client);
    assert_eq!(copier.copy(&mut chain, &mut file).unwrap().moved(), 5);
    assert_same(&files::contents(&file), b"first, second, third");
}

#[test]
fn a_chain_of_sockets_goes_on_after_would_block() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let ((mut c1, s1), (mut c2, s2)) = (sockets::unix(), sockets::unix());
        s2.set_nonblocking(true).unwrap();
        let mut file = files::empty();
        let mut chain = (&b"head, "[..]).chain(&s1).chain(&s2);
        let mut copier = Copier::new().adaptive(adaptive);
        c1.write_all(b"one, ").unwrap();
        drop(c1);
        c2.write_all(b"two, ").unwrap();
        let error = copier.copy(&mut chain, &mut file).unwrap_err();
        assert_eq!((error.kind(), error.moved()), (io::ErrorKind::WouldBlock, 16));
        c2.write_all(b"three").unwrap();
        drop(c2);
        assert_eq!(copier.copy(&mut chain, &mut file).unwrap().moved(), 5);
        assert_same(&files::contents(&file), b"head, one, two, three");
    }
}

/// Around the chain and inside its links; at, before and after the seam.
#[test]
fn limits_around_and_inside_a_chain_fall_by_what_was_taken() {
    for limit in [0, 1, N - 1, N, N + 1, 2 * N - 1, 2 * N, 2 * N + 7] {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let data = data::bytes(84, 2 * LEN);
            let moved = limit.min(2 * N);
            let ((a, _fa), (b, _fb)) = (stream_of(&data[..LEN]), stream_of(&data[LEN..]));
            let mut file = files::empty();
            let mut limited = (&a).take(N + 5).chain((&b).take(N + 9)).take(limit);
            let mut copier = Copier::new().adaptive(adaptive);
            let report = copier.copy(&mut limited, &mut file).unwrap();
            assert_eq!((report.moved(), limited.limit()), (moved, limit - moved), "{limit}");
            let (first, second) = limited.get_ref().get_ref();
            assert_eq!(first.limit(), N + 5 - moved.min(N), "{limit}");
            assert_eq!(second.limit(), N + 9 - moved.saturating_sub(N), "{limit}");
            assert_same(&files::contents(&file), &data[..moved as usize]);
            // The chain still gives what the limit left.
            let (mut chain, mut rest) = (limited.into_inner(), Vec::new());
            chain.read_to_end(&mut rest).unwrap();
            assert_same(&rest, &data[moved as usize..]);
        }
    }
}

/// A link whose own limit is reached gives way to the next, though its stream has more.
#[test]
fn a_link_ends_at_its_own_limit() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(85, 2 * LEN);
        let ((a, fa), (b, fb)) = (stream_of(&data[..LEN]), stream_of(&data[LEN..]));
        let mut file = files::empty();
        let mut chain = (&a).take(20_000).chain((&b).take(30_000));
        let report = Copier::new().adaptive(adaptive).copy(&mut chain, &mut file).unwrap();
        assert_eq!(report.moved(), 50_000);
        assert_same(&files::contents(&file), &[&data[..20_000], &data[LEN..LEN + 30_000]].concat());
        let (first, second) = chain.get_ref();
        assert_eq!((first.limit(), second.limit()), (0, 0));
        let mut rest = Vec::new();
        (&a).read_to_end(&mut rest).unwrap();
        (&b).read_to_end(&mut rest).unwrap();
        assert_same(&rest, &[&data[20_000..LEN], &data[LEN + 30_000..]].concat());
        fa.finish().unwrap();
        fb.finish().unwrap();
    }
}

#[test]
fn buffers_in_front_of_in_and_behind_links_go_out_in_order() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(86, 2 * LEN);
    let ((a, _fa), (b, _fb)) = (stream_of(&data[..LEN]), stream_of(&data[LEN..]));
    let (mut first, mut second) = (BufReader::new(&a), BufReader::with_capacity(500, &b));
    first.fill_buf().unwrap();
    second.fill_buf().unwrap();
    let mut outer = BufReader::with_capacity(100, first.chain(second));
    outer.fill_buf().unwrap();
    let mut file = files::empty();
    let report = splicing().copy(&mut outer, &mut file).unwrap();
    assert_eq!(report.moved(), 2 * N);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 8192 + 500);
    assert_eq!(report.moved_by(Mechanism::Splice), 2 * N - 8192 - 500);
    assert_same(&files::contents(&file), &data);
}

/// Each link and the chain have a meter. What a `BufWriter` holds goes first.
#[test]
fn progress_along_a_chain_counts_every_byte_once() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(87, 2 * LEN);
    let ((a, _fa), (b, _fb)) = (stream_of(&data[..LEN]), stream_of(&data[LEN..]));
    let (mut in_a, mut in_b, mut in_all) = (0, 0, 0);
    let file = files::empty();
    let mut writer = BufWriter::new(&file);
    writer.write_all(b"held, ").unwrap();
    let chain = Progress::new(&a, |n| in_a += n).chain(Progress::new(&b, |n| in_b += n));
    let mut source = Progress::new(chain, |n| in_all += n);
    let report = splicing().copy(&mut source, &mut writer).unwrap();
    assert_eq!(report.moved_by(Mechanism::Splice), 2 * N);
    drop(writer);
    assert_eq!((in_a, in_b, in_all), (N, N, 2 * N));
    assert_same(&files::contents(&file), &[b"held, ", &data[..]].concat());
}

#[test]
fn links_that_can_only_be_read_or_are_empty_are_copied() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(88, LEN);
        let (stream, _feeder) = stream_of(&data);
        let mut file = files::empty();
        let mut chain = io::empty()
            .chain(Opaque(&b"opaque, "[..]))
            .chain(io::Cursor::new("cursor, "))
            .chain(io::repeat(b'x').take(3))
            .chain(&stream)
            .chain(&b""[..])
            .chain(&b", end"[..]);
        let report = Copier::new().adaptive(adaptive).copy(&mut chain, &mut file).unwrap();
        assert_eq!(report.moved(), N + 24);
        assert_same(
            &files::contents(&file),
            &[b"opaque, cursor, xxx", &data[..], b", end"].concat(),
        );
    }
}

/// A chain that drops its first half once a read has found its end.
struct Dropping<A, B> {
    first: Option<A>,
    second: B,
}

impl<A: Read, B: Read> Read for Dropping<A, B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(first) = &mut self.first {
            match first.read(buf)? {
                0 => self.first = None,
                n => return Ok(n),
            }
        }
        self.second.read(buf)
    }
}

impl<A: Source, B: Source> Source for Dropping<A, B> {
    fn upstream(&mut self) -> Upstream<'_> {
        match &mut self.first {
            Some(first) => Upstream::then(first, &mut self.second),
            None => Upstream::through(&mut self.second),
        }
    }
}

#[test]
fn a_half_that_a_read_drops_is_not_taken_for_the_next_one() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(82, 1 << 20);
    let want = [b"head", &data[..], b"tail"].concat();
    let ends = || Dropping { first: Some(Opaque(&data[..])), second: &b"tail"[..] };

    let (mut source, mut sink) =
        (Dropping { first: Some(&b"head"[..]), second: ends() }, Vec::new());
    assert_eq!(zc_std::copy(&mut source, &mut sink).unwrap(), want.len() as u64);
    assert_same(&sink, &want);

    let (mut client, server) = sockets::unix();
    client.write_all(b"head").unwrap();
    drop(client);
    let (mut source, mut sink) = (Dropping { first: Some(server), second: ends() }, files::empty());
    let report = Copier::new().copy(&mut source, &mut sink).unwrap();
    assert_eq!(report.moved(), want.len() as u64);
    assert_same(&files::contents(&sink), &want);
}

/// A link that has ended is not asked again before each read of the next one, which only the chain itself can make.
#[test]
fn a_half_that_has_ended_is_not_asked_for_more() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(83, 1 << 20);
    let (mut client, server) = sockets::unix();
    client.write_all(b"head").unwrap();
    drop(client);
    let number = server.as_raw_fd();
    // In one read for each part.
    let parts = data[..1 << 19].chain(&data[1 << 19..]);
    let (mut source, mut sink) = (server.chain(Opaque(parts)), files::empty());
    let recorder = hook::record();
    let report = Copier::new().copy(&mut source, &mut sink).unwrap();
    assert_eq!(report.moved(), 4 + (1 << 20));
    assert_same(&files::contents(&sink), &[b"head", &data[..]].concat());
    // The head and its end. (The chain's own read, which finds the end for itself, is no call of the engine's.)
    let reads = recorder.calls_to(Syscall::Read);
    let of_head: Vec<_> = reads.iter().filter(|read| read.call.from == Some(number)).collect();
    assert_eq!(of_head.iter().map(|read| read.moved()).collect::<Vec<_>>(), [4, 0]);
}

/// A chain that drops its first half while the second one's bytes bypass it.
struct Late<'a> {
    halves: Dropping<&'a [u8], &'a UnixStream>,
}

impl Read for Late<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.halves.read(buf)
    }
}

impl Source for Late<'_> {
    fn upstream(&mut self) -> Upstream<'_> {
        self.halves.upstream()
    }
    fn taken(&mut self, _: u64) {
        if self.halves.first.is_some_and(<[u8]>::is_empty) && HELD.replace(true) {
            self.halves.first = None;
        }
    }
}

thread_local! {
    static HELD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[test]
fn a_half_that_is_dropped_too_late_is_an_error_and_no_end() {
    let _leaks = fds::no_leaks();
    let (mut client, server) = sockets::unix();
    client.write_all(&[7; 5000]).unwrap();
    let halves = Dropping { first: Some(&b"head"[..]), second: &server };
    let (mut source, mut sink) = (Late { halves }, Vec::new());
    let error = zc_std::copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.kind(), sink.len()), (io::ErrorKind::InvalidData, 5004), "{error}");
}
