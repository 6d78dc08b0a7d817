//! zc-tokio's kit, for wrappers of its streams, passes wrappers that are right, and finds the fault of each other
//! one.

use std::cell::Cell;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::unix::AsyncFd;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, BufReader, BufStream, BufWriter, ReadBuf, Take, join,
};
use tokio::net::UnixStream;
use zc_tokio::conformance::{self, LEN, Property, SinkKit, SourceKit};
use zc_tokio::{
    Downstream, Fd, Opaque, Paced, ReadReady, Registered, Rewind, Sink, Source, Upstream,
    WriteReady,
};

/// A wrapper with the fault numbered `FAULT`.
struct Wrapper<S, const FAULT: u8> {
    inner: S,
    bytes: u64,
    left: u64,
    ahead: Vec<u8>,
    held: Vec<u8>,
    has_waited: Cell<bool>,
    first: Option<Waker>,
}

impl<S, const FAULT: u8> Wrapper<S, FAULT> {
    /// Whom the stream is to wake instead of the task.
    fn other_waker(&mut self, waker: &Waker) -> Option<Waker> {
        match FAULT {
            ASLEEP => Some(Waker::noop().clone()),
            DOZES => (self.bytes > 0).then(|| Waker::noop().clone()),
            WAKES_THE_FIRST => Some(self.first.get_or_insert_with(|| waker.clone()).clone()),
            _ => None,
        }
    }
}

const NONE: u8 = 0;
/// It does not count the bytes that the kernel moves.
const UNCOUNTED: u8 = 1;
/// It does not state its limit.
const UNLIMITED: u8 = 2;
/// It does not show what it has read ahead.
const READS_AHEAD: u8 = 3;
/// Its descriptor is not found.
const LOST: u8 = 4;
/// It finds its descriptor, whichever descriptor it is asked for.
const ANY: u8 = 5;
/// It waits without a waker.
const ASLEEP: u8 = 6;
/// It claims to be ready where a read is `WouldBlock`.
const WOULD_BLOCK: u8 = 7;
/// It changes bytes, and says that it passes them through.
const CHANGES: u8 = 8;
/// It holds bytes back, and does not ask for a flush.
const HOLDS_BACK: u8 = 9;
/// It keeps a shutdown to itself.
const STAYS_OPEN: u8 = 10;
/// It wakes the task that waited first, whoever waits now.
const WAKES_THE_FIRST: u8 = 11;
/// It waits without a waker, but not the first time.
const DOZES: u8 = 12;
/// It wakes its task whenever it waits.
const SPINS: u8 = 13;
/// It takes what the buffer holds for its own.
const TAKES_ALL: u8 = 14;
/// Its flush never ends.
const NEVER_FLUSHES: u8 = 15;
/// Its shutdown never ends.
const NEVER_ENDS: u8 = 16;

/// It takes a write for whole of which the stream has taken a part.
const CLAIMS_ALL: u8 = 17;
/// It holds back what it is given, and forgets what a flush could not pass on.
const FORGETS: u8 = 18;

type Faulty<const FAULT: u8> = Wrapper<UnixStream, FAULT>;

fn wrap<const FAULT: u8>(inner: UnixStream) -> Faulty<FAULT> {
    let left = if FAULT == UNLIMITED { 1000 } else { u64::MAX };
    let (ahead, held, has_waited) = (Vec::new(), Vec::new(), Cell::new(false));
    Wrapper { inner, bytes: 0, left, ahead, held, has_waited, first: None }
}

impl<const FAULT: u8> AsyncRead for Faulty<FAULT> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if FAULT == READS_AHEAD && this.ahead.is_empty() && buf.remaining() > 0 {
            let mut room = [0; 100];
            let mut room = ReadBuf::new(&mut room);
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut room);
            this.ahead.extend_from_slice(room.filled());
            if !matches!(polled, Poll::Ready(Ok(()))) || this.ahead.is_empty() {
                return polled;
            }
        }
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..n]);
            this.ahead.drain(..n);
            return Poll::Ready(Ok(()));
        }
        let most = usize::try_from(this.left).map_or(buf.remaining(), |n| n.min(buf.remaining()));
        if most == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = vec![0; most];
        let mut room = ReadBuf::new(&mut bytes);
        let waker = this.other_waker(cx.waker()).unwrap_or_else(|| cx.waker().clone());
        let polled =
            Pin::new(&mut this.inner).poll_read(&mut Context::from_waker(&waker), &mut room);
        if polled.is_pending() && FAULT == SPINS {
            cx.waker().wake_by_ref();
        }
        if polled.is_pending() && FAULT == WOULD_BLOCK && this.has_waited.replace(true) {
            return Poll::Ready(Err(io::ErrorKind::WouldBlock.into()));
        }
        let n = room.filled().len();
        if FAULT == CHANGES {
            bytes[..n].make_ascii_uppercase();
        }
        buf.put_slice(&bytes[..n]);
        this.bytes += if FAULT == TAKES_ALL { buf.filled().len() } else { n } as u64;
        this.left = this.left.saturating_sub(n as u64);
        polled
    }
}

impl<Io, const FAULT: u8> Source<Io> for Faulty<FAULT>
where
    UnixStream: Source<Io>,
{
    fn upstream(&mut self) -> Upstream<'_, Io> {
        Upstream::through(&mut self.inner)
    }
    fn taken(&mut self, n: u64) {
        if FAULT != UNCOUNTED {
            self.bytes += n;
        }
    }
}

impl<const FAULT: u8> ReadReady for Faulty<FAULT> {
    fn read_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        match FAULT {
            LOST => None,
            ANY => Some(Registered::unix(&self.inner)),
            _ => self.inner.read_ready(fd),
        }
    }
}

impl<const FAULT: u8> AsyncWrite for Faulty<FAULT> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match FAULT {
            HOLDS_BACK if this.held.len() < 100 => {
                this.held.extend_from_slice(buf);
                Poll::Ready(Ok(buf.len()))
            }
            FORGETS if this.held.is_empty() => {
                this.held.extend_from_slice(buf);
                Poll::Ready(Ok(buf.len()))
            }
            HOLDS_BACK | FORGETS => match Pin::new(&mut *this).poll_flush(cx) {
                Poll::Ready(Ok(())) => Pin::new(&mut this.inner).poll_write(cx, buf),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            },
            CHANGES => Pin::new(&mut this.inner).poll_write(cx, &buf.to_ascii_uppercase()),
            _ => {
                let waker = this.other_waker(cx.waker()).unwrap_or_else(|| cx.waker().clone());
                Pin::new(&mut this.inner).poll_write(&mut Context::from_waker(&waker), buf)
            }
        };
        if polled.is_pending() && FAULT == SPINS {
            cx.waker().wake_by_ref();
        }
        if polled.is_pending() && FAULT == WOULD_BLOCK && this.has_waited.replace(true) {
            return Poll::Ready(Err(io::ErrorKind::WouldBlock.into()));
        }
        if let Poll::Ready(Ok(n)) = &polled {
            this.bytes += *n as u64;
            if FAULT == CLAIMS_ALL {
                return Poll::Ready(Ok(buf.len()));
            }
        }
        polled
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if FAULT == NEVER_FLUSHES {
            return Poll::Pending;
        }
        while !this.held.is_empty() {
            match Pin::new(&mut this.inner).poll_write(cx, &this.held) {
                Poll::Ready(Ok(_)) if FAULT == FORGETS => this.held.clear(),
                Poll::Ready(Ok(n)) => drop(this.held.drain(..n)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if FAULT == NEVER_ENDS {
            return Poll::Pending;
        }
        match Pin::new(&mut *this).poll_flush(cx) {
            Poll::Ready(Ok(())) if FAULT != STAYS_OPEN => {
                Pin::new(&mut this.inner).poll_shutdown(cx)
            }
            polled => polled,
        }
    }
}

impl<Io, const FAULT: u8> Sink<Io> for Faulty<FAULT>
where
    UnixStream: Sink<Io>,
{
    fn downstream(&mut self) -> Downstream<'_, Io> {
        let downstream = Downstream::through(&mut self.inner);
        if FAULT == FORGETS { downstream.flush_first() } else { downstream }
    }
    fn delivered(&mut self, n: u64) {
        if FAULT != UNCOUNTED {
            self.bytes += n;
        }
    }
}

impl<const FAULT: u8> WriteReady for Faulty<FAULT> {
    fn write_ready(&self, fd: RawFd) -> Option<Registered<'_>> {
        match FAULT {
            LOST => None,
            ANY => Some(Registered::unix(&self.inner)),
            _ => self.inner.write_ready(fd),
        }
    }
}

fn of_elsewhere(stream: UnixStream) -> Fd<OwnedFd> {
    let stream = OwnedFd::from(stream.into_std().unwrap());
    // SAFETY: it keeps its descriptor open, and the same one, for as long as it lives.
    Fd::new(unsafe { AsyncFd::register(stream) }.unwrap()).unwrap()
}

#[test]
fn good_sources_pass() {
    SourceKit::new(wrap::<NONE>).count(|wrapper| wrapper.bytes).assert();
    conformance::assert_source(|stream| stream);
    conformance::assert_source(|stream| BufReader::with_capacity(300, stream).take(5000));
    conformance::assert_source(|stream| AsyncReadExt::chain(&b"header"[..], stream));
    conformance::assert_source(|stream| Rewind::new("read ahead", stream));
    conformance::assert_source(|stream| stream.into_split().0);
    conformance::assert_source(BufStream::new);
    conformance::assert_source(Opaque);
    conformance::assert_source(of_elsewhere);
    conformance::assert_source(|stream| join(stream, tokio::io::sink()));
    conformance::assert_source(|stream| Paced::new(stream, 100_000_000));
    SourceKit::new(|stream| stream.take(777)).count(|take: &Take<_>| 777 - take.limit()).assert();
}

#[test]
fn good_sinks_pass() {
    SinkKit::new(wrap::<NONE>).count(|wrapper| wrapper.bytes).assert();
    conformance::assert_sink(|stream| stream);
    conformance::assert_sink(|stream| BufWriter::with_capacity(300, stream));
    conformance::assert_sink(|stream| BufReader::new(BufWriter::new(stream)));
    conformance::assert_sink(|stream| stream.into_split().1);
    conformance::assert_sink(BufStream::new);
    conformance::assert_sink(Opaque);
    conformance::assert_sink(of_elsewhere);
    conformance::assert_sink(|stream| join(tokio::io::empty(), stream));
    conformance::assert_sink(|stream| Rewind::new("read ahead", stream));
}

#[track_caller]
fn is_found<const FAULT: u8>(source: Option<Property>, sink: Option<Property>) {
    if let Some(want) = source {
        let kit = SourceKit::new(wrap::<FAULT>);
        // This wrapper does not count what it has read ahead.
        let kit = if FAULT == READS_AHEAD { kit } else { kit.count(|wrapper| wrapper.bytes) };
        let failure = kit.check().expect_err("something is wrong with it");
        assert_eq!(failure.property(), want, "source: {failure}");
        assert!(failure.at() <= LEN as u64);
    }
    if let Some(want) = sink {
        let kit = SinkKit::new(wrap::<FAULT>).count(|wrapper| wrapper.bytes);
        let failure = kit.check().expect_err("something is wrong with it");
        assert_eq!(failure.property(), want, "sink: {failure}");
    }
}

#[test]
fn what_is_not_counted_is_found() {
    is_found::<UNCOUNTED>(Some(Property::Count), Some(Property::Count));
    is_found::<TAKES_ALL>(Some(Property::Count), None);
    let failure = SourceKit::new(wrap::<TAKES_ALL>).count(|wrapper| wrapper.bytes).check();
    let told = failure.unwrap_err().to_string();
    assert!(told.contains("count the bytes that this read gives"), "{told}");
    let failure = SourceKit::new(wrap::<UNCOUNTED>).count(|wrapper| wrapper.bytes).check();
    let told = failure.unwrap_err().to_string();
    assert!(told.contains("count in `taken` too"), "{told}");
}

/// A Unix socket takes small writes whole, or nothing of them.
#[test]
fn what_a_short_write_leaves_behind_is_found() {
    for failure in [SinkKit::new(wrap::<CLAIMS_ALL>).check(), SinkKit::new(wrap::<FORGETS>).check()]
    {
        let failure = failure.expect_err("bytes are lost");
        assert_eq!(failure.property(), Property::Order, "{failure}");
    }
    conformance::assert_sink(|stream| BufWriter::with_capacity(300_000, stream));
}

#[test]
fn limits_and_buffers_that_are_not_shown_are_found() {
    is_found::<UNLIMITED>(Some(Property::Limit), None);
    is_found::<READS_AHEAD>(Some(Property::Buffered), None);
    is_found::<HOLDS_BACK>(None, Some(Property::Buffered));
}

#[test]
fn bytes_that_are_changed_are_found() {
    is_found::<CHANGES>(Some(Property::Order), Some(Property::Order));
}

#[test]
fn readiness_that_is_lost_is_found() {
    is_found::<LOST>(Some(Property::Readiness), Some(Property::Readiness));
    is_found::<ANY>(Some(Property::Readiness), Some(Property::Readiness));
    is_found::<ASLEEP>(Some(Property::Readiness), Some(Property::Readiness));
    is_found::<DOZES>(Some(Property::Readiness), None);
    is_found::<WAKES_THE_FIRST>(Some(Property::Readiness), Some(Property::Readiness));
    is_found::<SPINS>(Some(Property::Readiness), Some(Property::Readiness));
    is_found::<NEVER_FLUSHES>(None, Some(Property::Readiness));
    is_found::<NEVER_ENDS>(None, Some(Property::Readiness));
    is_found::<WOULD_BLOCK>(Some(Property::Errors), Some(Property::Errors));
}

#[test]
fn a_shutdown_that_goes_nowhere_is_found() {
    is_found::<STAYS_OPEN>(None, Some(Property::End));
}

#[test]
#[should_panic(expected = "limit: bytes came past `read`")]
fn a_failure_says_what_to_do() {
    conformance::assert_source(wrap::<UNLIMITED>);
}
