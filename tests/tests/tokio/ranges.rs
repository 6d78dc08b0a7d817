//! Ranges of one open file, each with an offset of its own.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadBuf,
    Take as AsyncTake,
};
use zc_linux::hook::{self, Syscall};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files};
use zc_tokio::{
    Copier, Downstream, FileAt, Mechanism, Opaque, ReadReady, Registered, Settling, Side, Sink,
    Source, TokioIo, Upstream, WriteReady,
};

use crate::kit::{self, poll_once};

const LEN: usize = 3_000_000;
/// The file's own offset, which no copy moves.
const STANDS: u64 = 17;

fn holding(data: &[u8]) -> Arc<File> {
    let mut file = files::holding(data);
    file.seek(SeekFrom::Start(STANDS)).unwrap();
    Arc::new(file)
}

fn assert_untouched(file: &File) {
    assert_eq!(files::position(file), STANDS);
}

#[test]
fn tasks_fill_and_serve_parts_of_one_open_file() {
    kit::run(async {
        let (data, file) = (data::bytes(1, LEN), holding(&[]));
        let middle = LEN as u64 / 2 + 1;
        let fill = async |range: Range<u64>| {
            let (client, mut from) = kit::tcp();
            // The client sends more than the part.
            let feeder = Feeder::pieces(client, data[range.start as usize..].to_vec(), 1 << 20);
            let mut part = FileAt::range(Arc::clone(&file), range.clone()).unwrap();
            let (len, mut copier) = (range.end - range.start, Copier::new());
            let mut source = (&mut from).take(len);
            assert_eq!(copier.run(&mut source, &mut part).await.unwrap(), len);
            assert_eq!((part.offset(), source.limit()), (range.end, 0));
            assert!(copier.report().moved_by(Mechanism::Splice) > len / 2, "{:?}", copier.report());
            drop((from, feeder));
        };
        tokio::join!(fill(0..middle), fill(middle..LEN as u64));
        assert_same(&files::contents(&file), &data);
        assert_untouched(&file);

        let serve = async |range: Range<u64>| {
            let (to_peer, mut to) = kit::tcp();
            let collector = Collector::start(to_peer);
            let mut part = FileAt::range(Arc::clone(&file), range.clone()).unwrap();
            let (len, mut copier) = (range.end - range.start, Copier::new());
            assert_eq!(copier.run(&mut part, &mut to).await.unwrap(), len);
            assert_eq!(part.offset(), range.end);
            assert!(copier.report().moved_by(Mechanism::Splice) > len / 2, "{:?}", copier.report());
            drop(to);
            assert_same(&collector.finish(), &data[range.start as usize..range.end as usize]);
        };
        tokio::join!(serve(0..middle), serve(1000..2_001_000), serve(middle..LEN as u64));
        assert_untouched(&file);
    });
}

/// Neither the worker nor the pool asks for the file's own offset, or moves it.
#[test]
fn the_files_own_offset_is_not_asked_for() {
    kit::run(async {
        let (data, file) = (data::bytes(2, LEN), holding(&data::bytes(2, LEN)));
        let mut source = FileAt::new(Arc::clone(&file), 5).unwrap();
        let recorder = hook::record();
        let target = holding(&[]);
        let mut sink = FileAt::new(Arc::clone(&target), 5).unwrap();
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut source, &mut sink).await.unwrap(), LEN as u64 - 5);
        let ours = [Some(file.as_raw_fd()), Some(target.as_raw_fd())];
        let calls = recorder.calls();
        // One lseek, by which a pipe is told from a file.
        let asks = calls.iter().filter(|record| record.call.syscall == Syscall::Seek);
        assert!(
            asks.clone().count() <= 1
                && asks.clone().all(|record| ours.contains(&record.call.from))
        );
        assert_eq!(copier.report().moved_by(Mechanism::CopyFileRange), LEN as u64 - 5);
        assert_eq!((source.offset(), sink.offset()), (LEN as u64, LEN as u64));
        assert_same(&files::contents(&target)[5..], &data[5..]);
        assert_untouched(&file);
        assert_untouched(&target);
    });
}

#[test]
fn a_source_ends_with_its_range_or_its_file() {
    kit::run(async {
        let (data, file) = (data::bytes(3, LEN), holding(&data::bytes(3, LEN)));
        let len = LEN as u64;
        for range in [0..0, 0..1, 7..1007, 100..1_500_100, len - 10..len + 10, len + 5..len + 10] {
            let mut part = FileAt::range(Arc::clone(&file), range.clone()).unwrap();
            let want = &data[range.start.min(len) as usize..range.end.min(len) as usize];
            let mut out = Vec::new();
            assert_eq!(zc_tokio::copy(&mut part, &mut out).await.unwrap(), want.len() as u64);
            assert_same(&out, want);
            assert_eq!(part.offset(), range.start + want.len() as u64);
            assert_eq!(part.end(), Some(range.end));
        }
        assert_untouched(&file);
    });
}

/// The first byte too many is in the copier, and the rest is in the socket.
#[test]
fn a_sink_takes_no_byte_past_its_range() {
    for fits in [0, 1, 1000, 800_000, LEN as u64 - 1] {
        kit::run(async {
            let (data, before) = (data::bytes(4, LEN), data::bytes(5, LEN + 20));
            let file = holding(&before);
            let (client, mut from) = kit::tcp();
            let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
            let mut part = FileAt::range(Arc::clone(&file), 10..10 + fits).unwrap();
            let mut copier = Copier::new();
            let error = copier.run(&mut from, &mut part).await.unwrap_err();
            assert_eq!((error.kind(), error.side()), (ErrorKind::WriteZero, Some(Side::Sink)));
            assert_eq!((copier.count(), part.offset()), (fits, 10 + fits));
            let residue = copier.take_residue();
            assert_eq!(residue.len(), 1);
            let mut rest = Vec::new();
            from.read_to_end(&mut rest).await.unwrap();
            drop(feeder);
            let now = files::contents(&file);
            let (at, end) = (10, 10 + fits as usize);
            assert_same(&[&now[at..end], &residue, &rest].concat(), &data);
            assert_same(
                &[&now[..at], &now[end..]].concat(),
                &[&before[..at], &before[end..]].concat(),
            );
            assert_untouched(&file);
        });
    }
}

/// Linux appends to such a file, at any offset (pwrite(2), BUGS).
#[test]
fn a_file_in_append_mode_is_refused_before_a_byte_is_taken() {
    kit::run(async {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), "what was there").unwrap();
        let file = File::options().read(true).append(true).open(named.path()).unwrap();
        let mut place = FileAt::new(file, 0).unwrap();
        let (mut client, mut from) = kit::tcp();
        client.write_all(b"overwritten").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();

        let mut copier = Copier::new();
        let error = copier.run(&mut from, &mut place).await.unwrap_err();
        assert_eq!((error.kind(), error.side()), (ErrorKind::InvalidInput, Some(Side::Sink)));
        assert_eq!((copier.count(), copier.in_flight(), place.offset()), (0, 0, 0));
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"overwritten");
        assert_eq!(place.write(b"x").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut all = String::new();
        place.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "what was there");
    });
}

#[test]
fn a_future_dropped_after_every_poll_loses_nothing() {
    kit::run(async {
        let (data, file) = (data::bytes(6, LEN), holding(&[]));
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 50_000);
        let mut place = FileAt::new(Arc::clone(&file), 3).unwrap();
        let mut copier = Copier::new();
        while poll_once(copier.run(&mut from, &mut place)).await.is_none() {
            tokio::task::yield_now().await;
        }
        drop((from, feeder));
        assert_eq!((copier.count(), place.offset()), (LEN as u64, LEN as u64 + 3));
        assert_same(&files::contents(&file)[3..], &data);

        let (to_peer, mut to) = kit::unix();
        let collector = Collector::start(to_peer);
        let mut place = FileAt::new(Arc::clone(&file), 3).unwrap();
        let mut copier = Copier::new();
        while poll_once(copier.run(&mut place, &mut to)).await.is_none() {
            tokio::task::yield_now().await;
        }
        drop(to);
        assert_eq!((copier.count(), place.offset()), (LEN as u64, LEN as u64 + 3));
        assert_same(&collector.finish(), &data);
        assert_untouched(&file);
    });
}

// ---- By its own methods -------------------------------------------------------------------------

#[test]
fn it_is_read_and_written_as_any_other() {
    kit::run(async {
        let (data, file) = (data::bytes(7, LEN), holding(&[]));
        let mut place = FileAt::range(Arc::clone(&file), 1000..1000 + LEN as u64).unwrap();
        place.write_all(&data).await.unwrap();
        assert_eq!(place.write(b"x").await.unwrap(), 0);
        place.flush().await.unwrap();
        assert_same(&files::contents(&file)[1000..], &data);

        place.set_offset(1000);
        let mut all = Vec::new();
        place.read_to_end(&mut all).await.unwrap();
        assert_same(&all, &data);
        assert_eq!(place.offset(), 1000 + LEN as u64);

        // A dropped read found bytes that are not those at the new offset.
        for offset in [1000, 1500] {
            place.set_offset(1000);
            let _may_be_done = poll_once(place.read(&mut [0; 100])).await;
            place.set_offset(offset);
            let mut some = [0; 10];
            place.read_exact(&mut some).await.unwrap();
            assert_eq!(
                (&some[..], place.offset()),
                (&data[offset as usize - 1000..][..10], offset + 10)
            );
        }
        assert_untouched(&file);
    });
}

#[test]
fn it_is_copied_from_and_into_by_its_own_methods() {
    kit::run(async {
        let (data, file) = (data::bytes(8, LEN), holding(&data::bytes(8, LEN)));
        let target = holding(&[]);
        let mut source = Opaque(FileAt::range(Arc::clone(&file), 1..).unwrap());
        let mut sink = Opaque(FileAt::new(Arc::clone(&target), 0).unwrap());
        assert_eq!(zc_tokio::copy(&mut source, &mut sink).await.unwrap(), LEN as u64 - 1);
        assert_same(&files::contents(&target), &data[1..]);
        assert_eq!((source.0.offset(), sink.0.offset()), (LEN as u64, LEN as u64 - 1));
        assert_untouched(&target);
    });
}

/// The bytes in a layer's buffer go first. A write in progress ends before the kernel writes behind it.
#[test]
fn what_layers_hold_comes_before() {
    kit::run(async {
        let (data, file) = (data::bytes(9, LEN), holding(&data::bytes(9, LEN)));
        let mut reader = BufReader::new(FileAt::new(Arc::clone(&file), 0).unwrap());
        let mut header = [0; 10];
        reader.read_exact(&mut header).await.unwrap();
        let target = holding(&[]);
        let mut place = FileAt::new(Arc::clone(&target), 0).unwrap();
        place.write_all(&header).await.unwrap();
        let mut writer = BufWriter::new(place);
        writer.write_all(b"between").await.unwrap();
        let n = zc_tokio::copy(&mut reader, &mut writer).await.unwrap();
        assert_eq!(n, LEN as u64 - 10);
        assert_eq!(reader.get_ref().offset(), LEN as u64);
        assert_eq!(writer.get_ref().offset(), LEN as u64 + 7);
        let want = [&data[..10], b"between", &data[10..]].concat();
        assert_same(&files::contents(&target), &want);
    });
}

/// Holds bytes back, and writes them at once when flushed, without a thread of the pool.
struct HoldsBack {
    place: FileAt,
    held: Vec<u8>,
}

impl AsyncWrite for HoldsBack {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("the kernel bypasses it")
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (held, at) = (std::mem::take(&mut self.held), self.place.offset());
        self.place.get_ref().write_all_at(&held, at)?;
        self.place.set_offset(at + held.len() as u64);
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Sink<TokioIo> for HoldsBack {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(&mut self.place).flush_first()
    }
}

impl WriteReady for HoldsBack {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.place.write_ready(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.place.settle_sink(cx, settling)
    }
}

/// A flush moves the offset in the middle of a step. What follows does not overwrite what it wrote.
#[test]
fn an_offset_is_looked_at_after_a_flush() {
    kit::run(async {
        let (data, target) = (data::bytes(14, LEN), holding(&[]));
        let place = FileAt::new(Arc::clone(&target), 0).unwrap();
        let mut sink = HoldsBack { place, held: b"header".to_vec() };
        assert_eq!(zc_tokio::copy(&mut &data[..], &mut sink).await.unwrap(), LEN as u64);
        assert_eq!(sink.place.offset(), LEN as u64 + 6);
        assert_same(&files::contents(&target), &[b"header", &data[..]].concat());
    });
}

/// The error of a write comes with the next call. The offset is behind the bytes that are in the file.
#[test]
fn a_write_that_fails_brings_the_offset_back() {
    kit::run(async {
        let named = tempfile::NamedTempFile::new().unwrap();
        let mut place = FileAt::new(File::open(named.path()).unwrap(), 5).unwrap();
        place.write_all(b"lost?").await.unwrap();
        let error = place.flush().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
        assert_eq!(place.offset(), 5);

        place.write_all(b"lost?").await.unwrap();
        place.set_offset(1);
        assert!(place.flush().await.is_err());
        assert_eq!(place.offset(), 1);
    });
}

/// Where the kernel knows no offsets (pwrite(2), `EINVAL`), and none are left to count by.
#[test]
fn offsets_end_where_the_kernel_s_do() {
    kit::run(async {
        let file = holding(b"what was there");
        for offset in [i64::MAX as u64, 1 << 63, u64::MAX - 3, u64::MAX] {
            let mut place = FileAt::new(Arc::clone(&file), offset).unwrap();
            let outcome = match place.write_all(b"0123456789").await {
                Ok(()) => place.flush().await,
                failed => failed,
            };
            assert!(outcome.is_err());
            assert_eq!(place.offset(), offset);
            let mut copier = Copier::new();
            assert!(copier.run(&mut &b"0123456789"[..], &mut place).await.is_err());
            assert_eq!((copier.count(), copier.in_flight(), place.offset()), (0, 10, offset));
        }
        assert_same(&files::contents(&file), b"what was there");
    });
}

#[test]
fn a_write_that_a_runtime_never_makes_brings_the_offset_back() {
    let _leaks = fds::no_leaks_with_tokio();
    let file = files::empty();
    let mut place = FileAt::new(file.try_clone().unwrap(), 5).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gone = runtime();
    let handle = gone.handle().clone();
    drop(gone);
    {
        let _inside = handle.enter();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let written = Pin::new(&mut place).poll_write(&mut cx, b"lost?");
        assert!(matches!(written, Poll::Ready(Ok(5))), "{written:?}");
    }
    assert!(runtime().block_on(place.flush()).is_err());
    assert_eq!((place.offset(), file.metadata().unwrap().len()), (5, 0));
}

// ---- One file after another ---------------------------------------------------------------------

/// All of one file, and then all of another. What was taken tells it where it is.
struct OneByOne<F> {
    now: AsyncTake<F>,
    then: Option<AsyncTake<F>>,
}

impl<F: AsyncRead + Unpin> OneByOne<F> {
    fn go_on(&mut self) {
        if self.now.limit() == 0
            && let Some(then) = self.then.take()
        {
            self.now = then;
        }
    }
}

impl<F: AsyncRead + Unpin> AsyncRead for OneByOne<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.now).poll_read(cx, buf);
        self.go_on();
        polled
    }
}

impl<F: Source<TokioIo> + AsyncRead + Unpin> Source<TokioIo> for OneByOne<F> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        Upstream::through(&mut self.now)
    }
    fn taken(&mut self, _: u64) {
        self.go_on();
    }
}

impl<F: AsyncRead + ReadReady> ReadReady for OneByOne<F> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.now.read_ready(fd)
    }
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.now.settle_source(cx, settling)
    }
}

/// The second file is not taken for the first, nor the first for the second.
#[test]
fn a_source_goes_on_to_its_next_file() {
    kit::run(async {
        let (first, second) = (data::bytes(10, LEN), data::bytes(11, LEN));
        let of = |data: &[u8]| {
            let mut file = files::holding(data);
            file.rewind().unwrap();
            tokio::fs::File::from_std(file).take(LEN as u64)
        };
        let mut source = OneByOne { now: of(&first), then: Some(of(&second)) };
        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        assert_eq!(zc_tokio::copy(&mut source, &mut to).await.unwrap(), 2 * LEN as u64);
        drop(to);
        assert_eq!(source.now.limit(), 0);
        assert_same(&collector.finish(), &[first, second].concat());
    });
}

/// A log that is rotated: this many bytes a file.
struct Rotated {
    now: tokio::fs::File,
    left: u64,
    then: Vec<tokio::fs::File>,
}

const EACH: u64 = 1_000_000;

impl AsyncWrite for Rotated {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("the kernel bypasses it")
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.now).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.now).poll_shutdown(cx)
    }
}

impl Sink<TokioIo> for Rotated {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        Downstream::through(&mut self.now).limit(self.left)
    }
    fn delivered(&mut self, n: u64) {
        self.left -= n;
        if self.left == 0 {
            (self.now, self.left) = (self.then.pop().unwrap(), EACH);
        }
    }
}

impl WriteReady for Rotated {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.now.write_ready(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.now.settle_sink(cx, settling)
    }
}

#[test]
fn a_sink_goes_on_to_its_next_file() {
    kit::run(async {
        let data = data::bytes(13, LEN + 1);
        let logs: Vec<File> = (0..4).map(|_| files::empty()).collect();
        let mut then: Vec<_> = logs.iter().map(|log| log.try_clone().unwrap().into()).collect();
        then.reverse();
        let mut sink = Rotated { now: then.pop().unwrap(), left: EACH, then };
        let (client, mut from) = kit::tcp();
        let feeder = Feeder::pieces(client, data.clone(), 1 << 20);
        assert_eq!(zc_tokio::copy(&mut from, &mut sink).await.unwrap(), LEN as u64 + 1);
        drop((from, feeder));
        assert_eq!((sink.left, sink.then.len()), (EACH - 1, 0));
        let written: Vec<_> = logs.iter().map(files::contents).collect();
        let lens: Vec<_> = written.iter().map(|log| log.len() as u64).collect();
        assert_eq!(lens, [EACH, EACH, EACH, 1]);
        assert_same(&written.concat(), &data);
    });
}

/// All of one file, and then another that gets the number of the first, which is closed.
struct Replaced {
    now: Option<FileAt>,
    left: u64,
    then: Option<File>,
}

impl Replaced {
    fn with(now: File, then: File) -> Replaced {
        Replaced { now: Some(FileAt::new(now, 0).unwrap()), left: EACH, then: Some(then) }
    }

    fn place(&mut self) -> &mut FileAt {
        self.now.as_mut().unwrap()
    }

    fn moved(&mut self, n: u64) {
        self.left -= n;
        if self.left == 0
            && let Some(then) = self.then.take()
        {
            let file = Arc::into_inner(self.now.take().unwrap().into_inner()).unwrap();
            let mut fd = std::os::fd::OwnedFd::from(file);
            rustix::io::dup2(then, &mut fd).unwrap();
            (self.now, self.left) = (Some(FileAt::new(File::from(fd), 0).unwrap()), EACH);
        }
    }
}

impl AsyncRead for Replaced {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        unreachable!("the kernel bypasses it")
    }
}

impl AsyncWrite for Replaced {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        unreachable!("the kernel bypasses it")
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.place()).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.place()).poll_shutdown(cx)
    }
}

impl Source<TokioIo> for Replaced {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        let left = self.left;
        Upstream::through(self.place()).limit(left)
    }
    fn taken(&mut self, n: u64) {
        self.moved(n);
    }
}

impl Sink<TokioIo> for Replaced {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        let left = self.left;
        Downstream::through(self.place()).limit(left)
    }
    fn delivered(&mut self, n: u64) {
        self.moved(n);
    }
}

impl ReadReady for Replaced {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.now.as_ref()?.read_ready(fd)
    }
    fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.place().settle_source(cx, settling)
    }
}

impl WriteReady for Replaced {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        self.now.as_ref()?.write_ready(fd)
    }
    fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<io::Result<bool>> {
        self.place().settle_sink(cx, settling)
    }
}

#[test]
fn the_next_file_may_have_the_number_of_the_last() {
    kit::run(goes_on_to_the_next_number());
}

/// A sandbox may forbid kcmp.
#[test]
fn the_next_file_is_known_by_its_inode_too() {
    kit::run(async {
        let eperm = rustix::io::Errno::PERM.raw_os_error();
        let denied = hook::failing(Syscall::Kcmp, eperm).install();
        goes_on_to_the_next_number().await;
        assert!(denied.hits() > 0);
    });
}

async fn goes_on_to_the_next_number() {
    let data = data::bytes(15, 2 * EACH as usize);
    let (first, second) = data.split_at(EACH as usize);
    let logs = [files::empty(), files::empty()];
    let [now, then] = logs.each_ref().map(|log| log.try_clone().unwrap());
    let mut sink = Replaced::with(now, then);
    assert_eq!(zc_tokio::copy(&mut &data[..], &mut sink).await.unwrap(), 2 * EACH);
    for (log, part) in logs.iter().zip([first, second]) {
        assert_same(&files::contents(log), part);
    }

    let [now, then] = logs.each_ref().map(|log| log.try_clone().unwrap());
    let mut source = Replaced::with(now, then);
    let (to_peer, mut to) = kit::tcp();
    let collector = Collector::start(to_peer);
    assert_eq!(zc_tokio::copy(&mut source, &mut to).await.unwrap(), 2 * EACH);
    drop(to);
    assert_same(&collector.finish(), &data);
}

/// The second file's duplicate gets the number of the first one's.
#[test]
fn what_is_known_of_one_file_is_not_taken_for_known_of_the_next() {
    kit::run(async {
        let data = data::bytes(16, 2 * EACH as usize);
        let (first, second) = data.split_at(EACH as usize);
        let kept = [holding(first), holding(second)];
        let [now, then] =
            kept.each_ref().map(|file| FileAt::new(Arc::clone(file), 0).unwrap().take(EACH));
        let mut source = OneByOne { now, then: Some(then) };
        let mut sink = FileAt::new(files::empty(), 0).unwrap();
        let mut copier = Copier::new();
        assert_eq!(copier.run(&mut source, &mut sink).await.unwrap(), 2 * EACH);
        assert_eq!(copier.report().moved_by(Mechanism::CopyFileRange), 2 * EACH);
        assert_same(&files::contents(sink.get_ref()), &data);
    });
}

#[test]
fn ranges_follow_each_other_as_links_of_a_chain() {
    kit::run(async {
        let (data, file) = (data::bytes(12, LEN), holding(&data::bytes(12, LEN)));
        let part = |range: Range<u64>| FileAt::range(Arc::clone(&file), range).unwrap();
        let mut source = part(2_000_000..2_900_000).chain(part(5..1_000_000)).chain(part(7..8));
        let (to_peer, mut to) = kit::tcp();
        let collector = Collector::start(to_peer);
        let n = zc_tokio::copy(&mut source, &mut to).await.unwrap();
        drop(to);
        let want = [&data[2_000_000..2_900_000], &data[5..1_000_000], &data[7..8]].concat();
        assert_eq!(n, want.len() as u64);
        assert_same(&collector.finish(), &want);
        assert_untouched(&file);
    });
}

#[test]
fn what_has_no_offsets_is_refused() {
    kit::run(async {
        let (reader, _writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        assert_eq!(FileAt::new(file, 0).unwrap_err().kind(), ErrorKind::NotSeekable);
        let file = tempfile::tempfile().unwrap();
        let backwards = Range { start: 5, end: 3 };
        assert_eq!(FileAt::range(file, backwards).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
