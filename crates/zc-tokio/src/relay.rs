//! The two-way copy.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use zc_core::Side;
use zc_linux::Report;

use crate::error::Failure;
use crate::flow::{Flow, GATHERED, Slice, Then, Waits, may_be_connection, take_part};
use crate::registered::{LowWater, wait_for_reset, wait_to_be_woken};
use crate::session::Session;
use crate::{
    AsyncSink, AsyncSource, AsyncStream, Direction, EndPolicy, Error, Handle, Options, ReadReady,
    Registered, RelayEnd, WriteReady, reset,
};

/// A relay between two streams, which owns all that is in flight: its future may be dropped at any time, and
/// not a byte is lost.
///
/// ```no_run
/// use std::time::Duration;
/// use tokio::net::{TcpListener, TcpStream};
/// use zc_tokio::{Options, Relay};
///
/// # async fn f() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// loop {
///     let (mut client, peer) = listener.accept().await?;
///     tokio::spawn(async move {
///         let mut server = TcpStream::connect("127.0.0.1:80").await?;
///         let mut options = Options::default();
///         options.idle_timeout = Some(Duration::from_secs(300));
///         match Relay::with_options(options).run(&mut client, &mut server).await {
///             Ok((up, down)) => println!("{peer}: {up} bytes up, {down} down"),
///             Err(error) if error.is_disconnect() => println!("{peer}: gone, {error}"),
///             Err(error) => eprintln!("{peer}: {error}"),
///         }
///         Ok::<(), std::io::Error>(())
///     });
/// }
/// # }
/// ```
///
/// # Cancel safety
///
/// [`run`](Relay::run) may be dropped at any await, in a `select!` for example, and called again with the same
/// two ends. The relay keeps bytes taken and not delivered, an end of input that was seen, a shutdown that was
/// sent, the counts, and the clocks of its timeouts.
///
/// # Resources
///
/// Idle, it holds no pipe and no buffer. It notices a reset of either connection even while it waits for
/// the other, or has nothing to read or write.
#[derive(Debug)]
pub struct Relay {
    there: Flow,
    back: Flow,
    /// Whether `back` is polled first: the other one has used up what the task may do.
    is_back_first: bool,
    session: Session,
}

impl Default for Relay {
    fn default() -> Self {
        Relay::new()
    }
}

impl Relay {
    /// A relay with the default options.
    pub fn new() -> Self {
        Relay::with_options(Options::default())
    }

    /// A relay with these options.
    pub fn with_options(options: Options) -> Self {
        let mut relay = Relay {
            there: Flow::new(options.linux(), Then::ShutDown),
            back: Flow::new(options.linux(), Then::ShutDown),
            is_back_first: false,
            session: Session::new(options),
        };
        relay.limit();
        relay
    }

    fn limit(&mut self) {
        let options = &self.session.options;
        (self.there.left, self.back.left) = options.limits;
        (self.there.then, self.back.then) = (Then::ShutDown, Then::ShutDown);
        for flow in [&mut self.there, &mut self.back] {
            flow.max_in_flight = options.max_in_flight.max(1);
            flow.trusts_short_reads = options.trusts_short_reads();
            flow.coalesces = options.coalesce.is_some();
        }
    }

    /// A view of it for other tasks: what has moved so far, and a way to stop it.
    pub fn handle(&mut self) -> Handle {
        self.session.handle()
    }

    /// Has `progress` called with the number of bytes that one poll has delivered in one direction, at least one.
    #[must_use]
    pub fn on_progress(mut self, progress: impl FnMut(Direction, u64) + Send + 'static) -> Self {
        self.session.on_progress(Box::new(progress));
        self
    }

    /// How many bytes have been delivered so far, from the first end to the second and back.
    pub fn counts(&self) -> (u64, u64) {
        (self.there.delivered(), self.back.delivered())
    }

    /// How many bytes have been taken and not delivered, in each direction.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.there.in_flight(), self.back.in_flight())
    }

    /// What has been done in each direction, by which mechanisms.
    pub fn reports(&self) -> (&Report, &Report) {
        (self.there.transfer().report(), self.back.transfer().report())
    }

    /// Takes out the bytes in flight in each direction, in order. This relay does not deliver them
    /// any more. (Not those of a file's step that is under way on another thread. After a [`rebind`](Relay::rebind)
    /// they are dropped.)
    pub fn take_residues(&mut self) -> (Vec<u8>, Vec<u8>) {
        (self.there.take_residue(), self.back.take_residue())
    }

    /// Prepares it for other ends. **Bytes in flight stay, and go to the new ends**, before any others: those of
    /// another connection have to be [taken out](Relay::take_residues) first. Counts and limits begin anew.
    pub fn rebind(&mut self) {
        self.there.rebind();
        self.back.rebind();
        self.session.rebind();
        self.limit();
    }

    /// Relays between `a` and `b` until both have ended, and returns how many bytes went from `a` to `b`, and
    /// back. Dropped before, it loses nothing: call it again, with the same two ends. (After it has returned
    /// `Ok`, a call begins a new relay.)
    ///
    /// An end of input is passed on to the other end as a shutdown (a half-close), unless
    /// [`Options::on_end`] says otherwise.
    ///
    /// # Errors
    ///
    /// The first error of either direction, which says where and what. Everything stays here, and it may be run
    /// again: after a timeout it has as much time again. A reset by a peer, or a connection that is lost (`ETIMEDOUT`),
    /// is reported again by every later run, until a [`rebind`](Self::rebind): what was cut off never looks like an end.
    pub async fn run<A, B>(&mut self, a: &mut A, b: &mut B) -> Result<(u64, u64), Error>
    where
        A: AsyncStream + ?Sized,
        B: AsyncStream + ?Sized,
    {
        let (mut a, mut b) = (a, b);
        let Running(relay) = &mut Running(self);
        let outcome = relay.drive(&mut a, &mut b).await;
        match outcome {
            // Boxed, as is all that not every relay does: what a task may hold, it has the memory for from the start.
            Err(error) if relay.session.passes_on(&error) => {
                Err(Box::pin(relay.pass_on(error, &mut a, &mut b)).await)
            }
            outcome => outcome,
        }
    }

    /// Waits for what other threads do, which is then in the counts and the residues.
    pub(crate) async fn settle<A, B>(&mut self, a: &mut A, b: &mut B)
    where
        A: AsyncStream + ?Sized,
        B: AsyncStream + ?Sized,
    {
        let (mut a, mut b) = (a, b);
        poll_fn(|cx| self.there.settle(cx, &mut a, &mut b)).await;
        poll_fn(|cx| self.back.settle(cx, &mut b, &mut a)).await;
    }

    /// Passes a reset on to the other end, once all that is in flight to that end has arrived.
    #[cold]
    async fn pass_on<A, B>(&mut self, mut error: Error, a: &mut A, b: &mut B) -> Error
    where
        A: AsyncStream,
        B: AsyncStream,
    {
        let is_for_b = error.end() == Some(RelayEnd::A);
        let (there, back) = (self.there.descriptors(), self.back.descriptors());
        let until = self.session.passes_on_until();
        let flow = if is_for_b { &mut self.there } else { &mut self.back };
        flow.cut_off();
        let arriving = async {
            // The reset was the first error; another one here does not count.
            let delivered = poll_fn(|cx| {
                let polled = match is_for_b {
                    true => flow.poll(cx, a, b, Slice::new(u64::MAX)),
                    false => flow.poll(cx, b, a, Slice::new(u64::MAX)),
                };
                polled.map_err(drop)
            })
            .await;
            let end = match is_for_b {
                true => registered(b, (back.0, there.1)),
                false => registered(a, (there.0, back.1)),
            };
            if delivered.is_ok() {
                reset::until_arrived(end).await;
            }
        };
        let stopped = self.session.wait_for_arrival(until, arriving).await;
        reset::reset_when_dropped(match is_for_b {
            true => registered(b, (back.0, there.1)),
            false => registered(a, (there.0, back.1)),
        });
        match stopped {
            Some(stopped) => error = stopped,
            None => self.session.has_passed_on(),
        }
        self.session.note(&[&self.there, &self.back]);
        error.counts = self.counts();
        error
    }

    async fn drive<A, B>(&mut self, mut a: &mut A, mut b: &mut B) -> Result<(u64, u64), Error>
    where
        A: AsyncStream,
        B: AsyncStream,
    {
        if self.there.is_done() && self.back.is_done() && !self.session.was_ended() {
            self.rebind();
        }
        self.there.begin();
        self.back.begin();
        loop {
            let now = poll_fn(|cx| Poll::Ready(self.poll(cx, &mut a, &mut b))).await;
            if let Poll::Ready(outcome) = now {
                return outcome;
            }
            let reset = if self.only_waits() {
                wait_to_be_woken().await;
                None
            } else {
                Box::pin(self.watch(a, b)).await
            };
            if let Some((is_a, error)) = reset {
                let (direction, side) = match (is_a, self.there.is_done(), self.back.is_done()) {
                    (true, false, _) => (Direction::AToB, Side::Source),
                    (true, true, _) => (Direction::BToA, Side::Sink),
                    (false, _, false) => (Direction::BToA, Side::Source),
                    (false, _, true) => (Direction::AToB, Side::Sink),
                };
                return Err(self.session.was_reset(direction, side, &error));
            }
        }
    }

    /// Whether there is nothing to do in a wait but to wait.
    fn only_waits(&self) -> bool {
        let gathers = self.there.gathers().or(self.back.gathers());
        self.unwatched() == (None, None) && gathers.is_none()
    }

    /// Waits until the task is woken, and has an eye on those of the two ends that no direction waits for, meanwhile.
    async fn watch<A, B>(&mut self, a: &mut A, b: &mut B) -> Option<(bool, io::Error)>
    where
        A: AsyncStream,
        B: AsyncStream,
    {
        let unwatched = self.unwatched();
        let watch_a = match unwatched.0 {
            Some(fd) => a.read_ready(fd).or_else(|| a.write_ready(fd)),
            None => None,
        };
        let watch_b = match unwatched.1 {
            Some(fd) => b.read_ready(fd).or_else(|| b.write_ready(fd)),
            None => None,
        };
        let gathers = (self.there.gathers(), self.back.gathers());
        let low_water = (
            LowWater::raise(gathers.0.and_then(|fd| a.read_ready(fd)), GATHERED),
            LowWater::raise(gathers.1.and_then(|fd| b.read_ready(fd)), GATHERED),
        );
        let reset = wait_for_reset(watch_a, watch_b).await;
        // Bytes may have come that were too few to wake the task.
        for (_, flow) in [(&low_water.0, &self.there), (&low_water.1, &self.back)]
            .iter()
            .filter(|(low, _)| low.is_some())
        {
            flow.look();
        }
        reset
    }

    fn poll<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        a: &mut A,
        b: &mut B,
    ) -> Poll<Result<(u64, u64), Error>>
    where
        A: AsyncStream,
        B: AsyncStream,
    {
        self.session.before(cx)?;
        let slice = || match goes_on(&self.there) && goes_on(&self.back) {
            true => self.session.slice().halved(),
            false => self.session.slice(),
        };
        let slices = [slice(), slice()];
        let order = match self.is_back_first {
            false => [Direction::AToB, Direction::BToA],
            true => [Direction::BToA, Direction::AToB],
        };
        let mut failed = order.into_iter().zip(slices).find_map(|(direction, slice)| {
            let polled = match direction {
                Direction::AToB => self.there.poll(cx, a, b, slice),
                Direction::BToA => self.back.poll(cx, b, a, slice),
            };
            failure_of(direction, polled)
        });
        // The one that comes second may have had nothing of what the task may do.
        let first = if self.is_back_first { &self.back } else { &self.there };
        self.is_back_first ^= first.has_run() && take_part(cx).is_pending();
        if failed.is_none() && self.session.options.on_end == EndPolicy::Close {
            failed = self.close(cx, a, b);
        }
        let failed = failed.map(|(direction, failure)| {
            let error = self.session.error(Some(direction), failure);
            self.session.remember(&error, || match error.end() {
                Some(RelayEnd::B) => may_be_lost(&error, b, self.there.descriptors().1),
                _ => may_be_lost(&error, a, self.back.descriptors().1),
            });
            error
        });
        let clock = self.session.after(cx, &[&self.there, &self.back]);
        if let Some(error) = failed {
            return Poll::Ready(Err(Error { counts: self.session.counts(), ..error }));
        }
        if self.there.is_done() && self.back.is_done() {
            return Poll::Ready(Ok(self.counts()));
        }
        clock.map(Err)
    }

    /// Once one direction has ended, ends the other as soon as it would have to wait for more.
    fn close<A, B>(
        &mut self,
        cx: &mut Context<'_>,
        a: &mut A,
        b: &mut B,
    ) -> Option<(Direction, Failure)>
    where
        A: AsyncStream,
        B: AsyncStream,
    {
        let (there, back) = (&self.there, &self.back);
        let (direction, flow) = match (there.is_done(), back.is_done()) {
            (true, false) => (Direction::BToA, &mut self.back),
            (false, true) => (Direction::AToB, &mut self.there),
            _ => return None,
        };
        let (source, sink): (&mut dyn AsyncSource, &mut dyn AsyncSink) = match direction {
            Direction::AToB => (a, b),
            Direction::BToA => (b, a),
        };
        if flow.waits() == Waits::ForSource {
            // Its source may have more, which no edge tells of, or none that the runtime has seen.
            // (A task that has had its share is told that nothing is ready, whatever there is. Then it does not wait.)
            flow.look();
            let polled = flow.poll(cx, source, sink, self.session.slice());
            let failed = failure_of(direction, polled);
            if failed.is_some() {
                return failed;
            }
        }
        if flow.waits() != Waits::ForSource || flow.waits_for_disk(source) {
            return None;
        }
        flow.cut();
        failure_of(direction, flow.poll(cx, source, sink, self.session.slice()))
    }

    /// The descriptors of those of the two ends that no direction waits for.
    fn unwatched(&self) -> (Option<std::os::fd::RawFd>, Option<std::os::fd::RawFd>) {
        let (there, back) = (&self.there, &self.back);
        if goes_on(there) || goes_on(back) {
            return (None, None);
        }
        let ((a, b), (b_too, a_too)) = (there.descriptors(), back.descriptors());
        let is_watched = |source: &Flow, sink: &Flow| {
            source.waits() == Waits::ForSource || sink.waits() == Waits::ForSink
        };
        (
            a.or(a_too).filter(|_| !is_watched(there, back)),
            b_too.or(b).filter(|_| !is_watched(back, there)),
        )
    }
}

fn failure_of(
    direction: Direction,
    polled: Poll<Result<(), Failure>>,
) -> Option<(Direction, Failure)> {
    match polled {
        Poll::Ready(Err(failure)) => Some((direction, failure)),
        _ => None,
    }
}

/// Whether it has had its turn, and goes on at once.
fn goes_on(flow: &Flow) -> bool {
    !flow.is_done() && flow.waits() == Waits::No
}

/// Whether the end that failed may be a connection. It may also be one to read from, and a file to write to.
fn may_be_lost(error: &Error, end: &mut impl AsyncStream, to: Option<std::os::fd::RawFd>) -> bool {
    let writes_to_file = to.and_then(|fd| end.write_ready(fd)).is_some_and(Registered::is_file);
    (error.side() == Some(Side::Source) || !writes_to_file) && may_be_connection(end)
}

/// An end by its descriptor: that of the direction from there, or of the one to there.
fn registered<S: ReadReady + WriteReady>(
    end: &S,
    (from, to): (Option<std::os::fd::RawFd>, Option<std::os::fd::RawFd>),
) -> Option<Registered<'_>> {
    from.and_then(|fd| end.read_ready(fd)).or_else(|| to.and_then(|fd| end.write_ready(fd)))
}

/// A future that runs, until it ends or is dropped.
struct Running<'r>(&'r mut Relay);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.there.rest();
        self.0.back.rest();
        self.0.session.rest();
    }
}
