//! Uploads into files and downloads from them.

use std::io::{SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;

use rustix::process::Resource;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufWriter};
use zc_linux::hook;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::limits;
use zc_tokio::{Copier, Mechanism, Options, PageSharing, pool};

use crate::kit;

const LEN: usize = 5_000_000;

/// An empty file, and its path.
fn empty() -> (tempfile::NamedTempFile, File) {
    let named = tempfile::NamedTempFile::new().unwrap();
    let file = File::from_std(named.reopen().unwrap());
    (named, file)
}

fn contents(named: &tempfile::NamedTempFile) -> Vec<u8> {
    std::fs::read(named.path()).unwrap()
}

#[test]
fn an_upload_is_spliced() {
    kit::run(async {
        let (data, (named, mut file)) = (data::bytes(1, LEN), empty());
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut from, &mut file).await.unwrap(), LEN as u64);
        let report = copier.report();
        assert!(report.moved_by(Mechanism::Splice) > LEN as u64 / 2, "{report:?}");
        drop(feeder);
        assert_same(&contents(&named), &data);
        // The file goes on where the copy has ended.
        file.write_all(b"trailer").await.unwrap();
        file.flush().await.unwrap();
        assert_eq!(&contents(&named)[LEN..], b"trailer");
    });
}

#[test]
fn a_download_is_spliced() {
    kit::run(async {
        let (data, (mut named, mut file)) = (data::bytes(2, LEN), empty());
        named.write_all(&data).unwrap();
        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        // The file has read ahead.
        let mut header = [0; 10];
        file.read_exact(&mut header).await.unwrap();
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut file, &mut to).await.unwrap(), LEN as u64 - 10);
        let report = copier.report();
        assert!(report.moved_by(Mechanism::Splice) > LEN as u64 * 9 / 10, "{report:?}");
        drop(to);
        assert_eq!(header, data[..10]);
        assert_same(&collector.finish(), &data[10..]);
    });
}

/// Two parts of one file at once, each through an open file of its own, and a part of it back.
#[test]
fn ranges_of_one_file_are_filled_and_sent() {
    kit::run(async {
        let (data, (named, _file)) = (data::bytes(7, LEN), empty());
        let middle = LEN as u64 / 2 + 1;
        let fill = async |range: Range<u64>| {
            let (client, mut from) = kit::tcp();
            // The client sends more than the part.
            let feeder = Feeder::pieces(client, data[range.start as usize..].to_vec(), 1 << 20);
            let mut file = File::from_std(named.reopen().unwrap());
            file.seek(SeekFrom::Start(range.start)).await.unwrap();
            let (len, mut copier) = (range.end - range.start, Copier::new());
            let n = copier.run(&mut (&mut from).take(len), &mut file).await.unwrap();
            assert_eq!((n, file.stream_position().await.unwrap()), (len, range.end));
            assert!(copier.report().moved_by(Mechanism::Splice) > len / 2);
            drop((from, feeder));
        };
        tokio::join!(fill(0..middle), fill(middle..LEN as u64));
        assert_same(&contents(&named), &data);

        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        let mut file = File::from_std(named.reopen().unwrap());
        file.seek(SeekFrom::Start(1000)).await.unwrap();
        assert_eq!(zc_tokio::copy(&mut file.take(2_000_000), &mut to).await.unwrap(), 2_000_000);
        drop(to);
        assert_same(&collector.finish(), &data[1000..2_001_000]);
    });
}

/// The worker makes only the socket's half of a step, and the calls that settle the file. (kcmp waits for no disk.)
#[test]
fn the_worker_makes_the_socket_s_half_of_a_download() {
    kit::run(async {
        let (data, (mut named, mut file)) = (data::bytes(2, LEN), empty());
        named.write_all(&data).unwrap();
        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        let socket = to.as_raw_fd();
        let recorder = hook::record();
        zc_tokio::copy(&mut file, &mut to).await.unwrap();
        let touches = |record: &&hook::Record| {
            record.call.from.or(record.call.to).is_some()
                && record.call.syscall != hook::Syscall::Kcmp
        };
        for call in recorder.calls().iter().filter(touches) {
            let of_pipe = |fd: Option<i32>| fd.is_none_or(|fd| is_pipe(fd) || fd == socket);
            assert!(of_pipe(call.call.from) && of_pipe(call.call.to), "{call:?}");
        }
        drop(to);
        assert_same(&collector.finish(), &data);
    });
}

fn is_pipe(fd: i32) -> bool {
    // A descriptor that has been closed since is not the file's, which is still open.
    zc_testkit::fds::target(fd).is_none_or(|target| target.starts_with("pipe:"))
}

/// Files whose pages must not be lent, small files, and a file that claims to be empty.
#[test]
fn some_downloads_are_read() {
    kit::run(async {
        let read_whole = async |mut file: File, want: &[u8], sharing| {
            let (to_peer, mut to) = kit::tcp();
            let collector = Collector::start(to_peer);
            let mut options = Options::default();
            options.page_sharing = sharing;
            let mut copier = Copier::with_options(options);
            copier.run(&mut file, &mut to).await.unwrap();
            assert_eq!(copier.report().moved_by(Mechanism::Splice), 0, "{:?}", copier.report());
            drop(to);
            assert_same(&collector.finish(), want);
        };
        let (data, (mut named, file)) = (data::bytes(2, LEN), empty());
        named.write_all(&data).unwrap();
        read_whole(file, &data, PageSharing::Never).await;
        let (mut named, file) = empty();
        named.write_all(&data[..5000]).unwrap();
        read_whole(file, &data[..5000], PageSharing::default()).await;
        let version = std::fs::read("/proc/version").unwrap();
        let file = File::open("/proc/version").await.unwrap();
        read_whole(file, &version, PageSharing::default()).await;
    });
}

/// A peer that takes nothing: no more of the file is read than may be held. Then the copy goes on.
#[test]
fn a_stalled_download_holds_little() {
    kit::run(async {
        let (data, (mut named, mut file)) = (data::bytes(9, 4 * LEN), empty());
        named.write_all(&data).unwrap();
        let (to_peer, to) = zc_testkit::sockets::tight(zc_testkit::sockets::tcp_v4());
        let mut to = kit::ours_of(to);
        let mut copier = Copier::new();
        let mut quiet = 0;
        // (A thread that is slow to read the file is no stall.)
        while quiet < 50 || copier.in_flight() == 0 {
            let before = copier.count();
            assert!(kit::poll_once(copier.run(&mut file, &mut to)).await.is_none());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            quiet = if copier.count() == before { quiet + 1 } else { 0 };
        }
        assert!(copier.in_flight() <= 64 * 1024, "{copier:?}");
        assert_eq!(pool::in_use(), 0);
        let collector = Collector::start(to_peer);
        assert_eq!(copier.run(&mut file, &mut to).await.unwrap(), data.len() as u64);
        drop(to);
        assert_same(&collector.finish(), &data);
    });
}

/// An upload whose client has stalled holds nothing.
#[test]
fn an_upload_that_waits_for_its_client_holds_nothing() {
    kit::run(async {
        let (data, (named, mut file)) = (data::bytes(3, 600_000), empty());
        let (client, mut from) = kit::tcp();
        let mut copier = Copier::new();
        (&client).write_all(&data).unwrap();
        while copier.count() < data.len() as u64 {
            assert!(kit::poll_once(copier.run(&mut from, &mut file)).await.is_none());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(kit::poll_once(copier.run(&mut from, &mut file)).await.is_none());
        assert_eq!((copier.in_flight(), pool::in_use()), (0, 0));
        assert_same(&contents(&named), &data);
        drop(client);
        assert_eq!(copier.run(&mut from, &mut file).await.unwrap(), data.len() as u64);
    });
}

/// The future is dropped while a thread of the pool writes. The next call waits for that write first.
#[test]
fn an_upload_dropped_after_every_poll_loses_nothing() {
    kit::run(async {
        let (data, (named, mut file)) = (data::bytes(3, LEN), empty());
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 300_000);
        let mut copier = Copier::new();
        let moved = loop {
            match kit::poll_once(copier.run(&mut from, &mut file)).await {
                Some(outcome) => break outcome.unwrap(),
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(moved, LEN as u64);
        drop((feeder, file));
        assert_same(&contents(&named), &data);

        let mut file = File::open(named.path()).await.unwrap();
        let (to_peer, mut to) = kit::unix();
        let collector = Collector::start(to_peer);
        let mut copier = Copier::new();
        let moved = loop {
            match kit::poll_once(copier.run(&mut file, &mut to)).await {
                Some(outcome) => break outcome.unwrap(),
                None => tokio::task::yield_now().await,
            }
        };
        drop(to);
        assert_eq!(moved, LEN as u64);
        assert_same(&collector.finish(), &data);
    });
}

#[test]
fn limits_and_buffers_are_kept() {
    kit::run(async {
        let (data, (named, file)) = (data::bytes(4, LEN), empty());
        let (mut client, from) = kit::tcp();
        let sent = data.clone();
        let feeder = Feeder::run(move || client.write_all(&sent));
        let mut from = BufReader::new(from);
        let mut header = [0; 100];
        from.read_exact(&mut header).await.unwrap();
        let mut file = BufWriter::new(file);
        file.write_all(b"header").await.unwrap();
        let mut first = (&mut from).take(2_000_000);
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut first, &mut file).await.unwrap(), 2_000_000);
        assert!(copier.report().moved_by(Mechanism::Splice) > 1_000_000);
        file.write_all(b"between").await.unwrap();
        zc_tokio::copy(&mut from, &mut file).await.unwrap();
        drop(feeder);
        let want = [b"header", &data[100..2_000_100], b"between", &data[2_000_100..]].concat();
        assert_same(&contents(&named), &want);
    });
}

#[test]
fn what_is_still_being_written_goes_first() {
    kit::run(async {
        let (named, mut file) = empty();
        file.write_all(&[b'x'; 1_000_000]).await.unwrap(); // … on another thread, still at work
        zc_tokio::copy(&mut &b"the end"[..], &mut file).await.unwrap();
        assert_eq!(&contents(&named)[1_000_000..], b"the end");
    });
}

#[test]
fn files_are_appended_to_and_copied_to_files() {
    kit::run(async {
        let (data, (mut named, mut from)) = (data::bytes(5, LEN), empty());
        named.write_all(&data).unwrap();
        let (target, mut to) = empty();
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut from, &mut to).await.unwrap(), LEN as u64);
        assert_eq!(copier.report().moved_by(Mechanism::CopyFileRange), LEN as u64);
        assert_same(&contents(&target), &data);

        let mut log = File::options().append(true).open(target.path()).await.unwrap();
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
        assert_eq!(zc_tokio::copy(&mut from, &mut log).await.unwrap(), LEN as u64);
        drop(feeder);
        assert_same(&contents(&target)[LEN..], &data);
    });
}

#[test]
fn holes_are_kept_if_asked_for() {
    kit::run(async {
        for (keeps, layout) in [true, false]
            .into_iter()
            .flat_map(|keeps| zc_testkit::sparse::LAYOUTS.map(|layout| (keeps, layout)))
        {
            let (named, (target, mut to)) = (tempfile::NamedTempFile::new().unwrap(), empty());
            zc_testkit::sparse::make(named.path(), layout);
            let mut from = File::open(named.path()).await.unwrap();
            let mut options = Options::default();
            options.keep_holes = keeps;
            let mut copier = Copier::with_options(options);
            assert_eq!(copier.run(&mut from, &mut to).await.unwrap(), layout.0);
            assert_same(&contents(&target), &contents(&named));
            let holes = copier.report().holes();
            assert!(keeps || holes == 0, "{holes} bytes of holes");
            let data: u64 = layout.1.iter().map(|(_, len)| len).sum();
            // If the file system tells of holes, in blocks of at most 64 KiB.
            let expected = if keeps && data == 0 && layout.0 > 65536 { layout.0 } else { 0 };
            assert!(holes >= expected, "{holes} bytes of holes, of {expected}");
        }
    });
}

/// A full disk: what was taken stays in flight.
#[test]
fn a_full_device_keeps_what_is_in_flight() {
    kit::run(async {
        let data = data::bytes(6, 300_000);
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 300_000);
        let mut full = File::options().write(true).open("/dev/full").await.unwrap();
        let mut copier = Copier::new();
        let error = copier.run(&mut from, &mut full).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
        let (named, mut file) = empty();
        copier.rebind();
        let moved = copier.run(&mut from, &mut file).await.unwrap();
        assert_eq!(moved, data.len() as u64);
        drop(feeder);
        assert_same(&contents(&named), &data);
    });
}

/// A pipe that was made into a file.
#[test]
fn a_file_without_offsets_is_copied() {
    kit::run(async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"hello").unwrap();
        drop(writer);
        let mut file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
        let mut out = Vec::new();
        assert_eq!(zc_tokio::copy(&mut file, &mut out).await.unwrap(), 5);
        assert_eq!(out, b"hello");
    });
}

/// Its own `poll_` methods need no more of them.
#[test]
fn a_file_is_copied_without_a_descriptor_to_spare() {
    kit::run(async {
        let data = data::bytes(7, LEN);
        let (mut source, mut from) = empty();
        source.write_all(&data).unwrap();
        let (target, mut to) = empty();
        let before = limits::set_soft(Resource::Nofile, Some(1));
        let moved = zc_tokio::copy(&mut from, &mut to).await;
        limits::set_soft(Resource::Nofile, before);
        assert_eq!(moved.unwrap(), LEN as u64);
        assert_same(&contents(&target), &data);
    });
}
