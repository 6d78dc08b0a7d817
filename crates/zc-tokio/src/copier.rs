//! The one-way copy.

use std::future::poll_fn;
use std::os::fd::RawFd;
use std::task::{Context, Poll};

use zc_core::Side;
use zc_linux::Report;

use crate::flow::{Flow, GATHERED, Slice, Then, Waits, may_be_connection};
use crate::registered::{LowWater, wait_for_reset};
use crate::session::Session;
use crate::{
    AsyncSink, AsyncSource, Direction, Error, Handle, Options, ReadReady, WriteReady, reset,
};

/// A one-way copy that owns all that is in flight: its future may be dropped at any time, and not a byte is
/// lost.
///
/// ```
/// use tokio::net::UnixStream;
/// use tokio::time::{Duration, timeout};
/// use zc_tokio::Copier;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let ((mut client, mut from), (mut to, server)) = (UnixStream::pair()?, UnixStream::pair()?);
/// # let _ = server;
/// let mut copier = Copier::new();
/// # use tokio::io::AsyncWriteExt;
/// client.write_all(b"hello").await?;
/// let stopped = timeout(Duration::from_millis(10), copier.run(&mut from, &mut to)).await;
/// assert!(stopped.is_err(), "the client has not ended");
/// drop(client);
/// assert_eq!(copier.run(&mut from, &mut to).await?, 5); // … counted from the beginning
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Cancel safety
///
/// [`run`](Copier::run) may be dropped at any await and called again with the same two ends, as
/// [`Relay`](crate::Relay#cancel-safety)'s may.
///
/// Each run first has a `tokio::fs::File` seek back over what it may have read ahead, which takes two polls as a rule. A
/// loop that drops the future after every single poll may get no further; `FileAt` needs no such seek.
#[derive(Debug)]
pub struct Copier {
    flow: Flow,
    session: Session,
}

impl Default for Copier {
    fn default() -> Self {
        Copier::new()
    }
}

impl Copier {
    /// A copier with the default options.
    pub fn new() -> Self {
        Copier::with_options(Options::default())
    }

    /// A copier with these options. Those that are about two directions have no effect.
    pub fn with_options(options: Options) -> Self {
        let flow = Flow::new(options.linux(), Then::Flush);
        let mut copier = Copier { flow, session: Session::new(options) };
        copier.limit();
        copier
    }

    fn limit(&mut self) {
        self.flow.left = self.session.options.limits.0;
        self.flow.max_in_flight = self.session.options.max_in_flight.max(1);
        self.flow.trusts_short_reads = self.session.options.trusts_short_reads();
        self.flow.coalesces = self.session.options.coalesce.is_some();
    }

    /// A view of it for other tasks: what has moved so far, and a way to stop it.
    pub fn handle(&mut self) -> Handle {
        self.session.handle()
    }

    /// Has `progress` called with the number of bytes that one poll has delivered, at least one.
    #[must_use]
    pub fn on_progress(mut self, mut progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.session.on_progress(Box::new(move |_, bytes| progress(bytes)));
        self
    }

    /// How many bytes this copy has delivered so far.
    pub fn count(&self) -> u64 {
        self.flow.delivered()
    }

    /// How many bytes have been taken and not delivered.
    pub fn in_flight(&self) -> usize {
        self.flow.in_flight()
    }

    /// What has been done, by which mechanisms.
    pub fn report(&self) -> &Report {
        self.flow.transfer().report()
    }

    /// Takes out the bytes in flight, in order. This copier does not deliver them any more. (Not those of a file's step
    /// that is under way on another thread. After a [`rebind`](Copier::rebind) they are dropped.)
    pub fn take_residue(&mut self) -> Vec<u8> {
        self.flow.take_residue()
    }

    /// Prepares it for other ends. **Bytes in flight stay, and go to the new sink**, before any others: those of
    /// another connection have to be [taken out](Copier::take_residue) first. Count and limit begin anew.
    ///
    /// A file's step that is under way on another thread ends, and neither the old ends' layers nor the new ones' are
    /// told of it.
    pub fn rebind(&mut self) {
        self.flow.rebind();
        self.session.rebind();
        self.limit();
    }

    /// Copies all of `source` into `sink`, flushes it, and returns how many bytes this copy has delivered.
    /// Dropped before, it loses nothing: call it again, with the same two ends. (After it has returned `Ok`, a
    /// call begins a new copy.)
    ///
    /// The sink is not shut down.
    ///
    /// # Errors
    ///
    /// The first error, which says where and what. Everything stays here, and it may be run again: after a timeout it
    /// has as much time again. A reset by a peer, or a connection that is lost (`ETIMEDOUT`), is reported again by every
    /// later run, until a [`rebind`](Self::rebind): what was cut off never looks like an end.
    pub async fn run<R, W>(&mut self, source: &mut R, sink: &mut W) -> Result<u64, Error>
    where
        R: AsyncSource + ?Sized,
        W: AsyncSink + ?Sized,
    {
        let (mut source, mut sink) = (source, sink);
        let Running(copier) = &mut Running(self);
        let outcome = copier.drive(&mut source, &mut sink).await;
        match outcome {
            Err(error) if copier.session.passes_on(&error) => {
                Err(copier.pass_on(error, &mut source, &mut sink).await)
            }
            outcome => outcome,
        }
    }

    /// Passes a reset on to the other end: to the sink once all that is in flight to it has arrived.
    #[cold]
    async fn pass_on<R, W>(&mut self, mut error: Error, source: &mut R, sink: &mut W) -> Error
    where
        R: AsyncSource,
        W: AsyncSink,
    {
        let (from, to) = self.flow.descriptors();
        let mut stopped = None;
        if error.side() == Some(Side::Sink) {
            reset::reset_when_dropped(from.and_then(|fd| source.read_ready(fd)));
        } else {
            let until = self.session.passes_on_until();
            self.flow.cut_off();
            let arriving = async {
                // The reset was the first error; another one here does not count.
                let delivered = poll_fn(|cx| {
                    self.flow.poll(cx, source, sink, Slice::new(u64::MAX)).map_err(drop)
                })
                .await;
                if delivered.is_ok() {
                    reset::until_arrived(to.and_then(|fd| sink.write_ready(fd))).await;
                }
            };
            stopped = self.session.wait_for_arrival(until, arriving).await;
            reset::reset_when_dropped(to.and_then(|fd| sink.write_ready(fd)));
        }
        match stopped {
            Some(stopped) => error = stopped,
            None => self.session.has_passed_on(),
        }
        self.session.note(&[&self.flow]);
        error.counts = (self.flow.delivered(), 0);
        error
    }

    async fn drive<R, W>(&mut self, mut source: &mut R, mut sink: &mut W) -> Result<u64, Error>
    where
        R: AsyncSource,
        W: AsyncSink,
    {
        if self.flow.is_done() && !self.session.was_ended() {
            self.rebind();
        }
        self.flow.begin();
        loop {
            let now = poll_fn(|cx| Poll::Ready(self.poll(cx, &mut source, &mut sink))).await;
            if let Poll::Ready(outcome) = now {
                return outcome;
            }
            let unwatched = self.unwatched();
            let watched_source = match unwatched.0 {
                Some(fd) => source.read_ready(fd),
                None => None,
            };
            let watched_sink = match unwatched.1 {
                Some(fd) => sink.write_ready(fd),
                None => None,
            };
            let gathers = self.flow.gathers().and_then(|fd| source.read_ready(fd));
            let low_water = LowWater::raise(gathers, GATHERED);
            let reset = wait_for_reset(watched_source, watched_sink).await;
            if low_water.is_some() {
                // Bytes may have come that were too few to wake the task.
                self.flow.look();
            }
            drop(low_water);
            if let Some((is_source, error)) = reset {
                let side = if is_source { Side::Source } else { Side::Sink };
                return Err(self.session.was_reset(Direction::AToB, side, &error));
            }
        }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<u64, Error>>
    where
        R: AsyncSource,
        W: AsyncSink,
    {
        self.session.before(cx)?;
        let polled = self.flow.poll(cx, source, sink, self.session.slice()).map_err(|failure| {
            let error = self.session.error(Some(Direction::AToB), failure);
            // A sink is not read from, and so never looks like one that has ended.
            let is_of_source = error.side() == Some(Side::Source);
            self.session.remember(&error, || is_of_source && may_be_connection(source));
            error
        });
        let clock = self.session.after(cx, &[&self.flow]);
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.flow.delivered())),
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(Error { counts: self.session.counts(), ..error }))
            }
            Poll::Pending => clock.map(Err),
        }
    }

    /// The descriptors of source and sink, except those that it waits for.
    fn unwatched(&self) -> (Option<RawFd>, Option<RawFd>) {
        let (source, sink) = self.flow.descriptors();
        match self.flow.waits() {
            Waits::No => (None, None),
            Waits::ForSource => (None, sink),
            Waits::ForSink => (source, None),
            Waits::Until(_) => (source, sink),
        }
    }
}

/// A future that runs, until it ends or is dropped.
struct Running<'r>(&'r mut Copier);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.flow.rest();
        self.0.session.rest();
    }
}
