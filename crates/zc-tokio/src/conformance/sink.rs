//! Sinks.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;

use tokio::net::UnixStream;
use zc_core::conformance::{AtSink, SinkAccess};
use zc_core::driver::walk_sink;

use super::runtime::{Kit, Waiting};
use super::{Failure, Property, raise};
use crate::{AsyncSink, TokioIo};

type Make<'k, S> = dyn FnMut(UnixStream) -> S + 'k;
type Count<'k, S> = Box<dyn Fn(&S) -> u64 + 'k>;

/// A sink that takes this many bytes without its stream being read will take all there are.
const BOTTOMLESS: usize = 4 << 20;

/// The checks of a sink, with options: what [`sink`](super::sink()) runs.
///
/// ```
/// use tokio::io::BufWriter;
/// use zc_tokio::conformance::SinkKit;
///
/// SinkKit::new(|stream| BufWriter::with_capacity(300, stream)).assert();
/// ```
pub struct SinkKit<'k, S> {
    make: Box<Make<'k, S>>,
    count: Option<Count<'k, S>>,
}

impl<'k, S: AsyncSink> SinkKit<'k, S> {
    /// Will check the sink that `make` builds over a stream.
    pub fn new(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SinkKit { make: Box::new(make), count: None }
    }

    /// Also checks the sink's own count: after every step, `count` must answer how many bytes the
    /// sink has taken so far, by `poll_write` and past it.
    #[must_use]
    pub fn count(mut self, count: impl Fn(&S) -> u64 + 'k) -> Self {
        self.count = Some(Box::new(count));
        self
    }

    /// Runs every schedule.
    ///
    /// # Errors
    ///
    /// The first property that was found not to hold.
    ///
    /// # Panics
    ///
    /// Inside of a runtime: the kit has its own.
    pub fn check(self) -> Result<(), Failure> {
        let kit = Kit::new().map_err(|error| Failure::setup(&error))?;
        let make = Rc::new(RefCell::new(self.make));
        wakes(&kit, &mut **make.borrow_mut())?;
        shuts_down(&kit, &mut **make.borrow_mut())?;
        let built = |near| {
            let sink = kit.build(near, &mut **make.borrow_mut()).expect("a Unix socket");
            Polled { sink, kit: Rc::clone(&kit) }
        };
        let mut schedules = zc_core::conformance::SinkKit::with_access(built);
        if let Some(count) = &self.count {
            schedules = schedules.count(move |polled: &Polled<S>| count(&polled.sink));
        }
        schedules.check()?;
        kit.found()
    }

    /// [`check`](SinkKit::check), for tests.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    #[track_caller]
    pub fn assert(self) {
        raise(self.check());
    }
}

impl<S> fmt::Debug for SinkKit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkKit").finish_non_exhaustive()
    }
}

/// A task that waits for room is woken when there is some: the one that has polled last.
fn wakes<S: AsyncSink>(kit: &Kit, make: &mut Make<'_, S>) -> Result<(), Failure> {
    let setup = |error: io::Error| Failure::setup(&error);
    let failure = |at, what: &str| Err(Failure::new(Property::Readiness, at, what));
    let (near, far) = StdUnixStream::pair().map_err(setup)?;
    far.set_nonblocking(true).map_err(setup)?;
    let mut sink = kit.build(near, make).map_err(setup)?;
    let mut taken = 0;
    loop {
        let polled = kit.until_it_waits(|cx| Pin::new(&mut sink).poll_write(cx, &[7; 4096]));
        let woken = match polled {
            Waiting::Ready(Ok(n)) if n > 0 && taken < BOTTOMLESS => {
                taken += n;
                continue;
            }
            // A sink that refuses bytes, or keeps them all, does not wait.
            Waiting::Ready(_) => return Ok(()),
            Waiting::Waits(woken) => woken,
            Waiting::Spins => {
                return failure(
                    taken,
                    "`poll_write` is pending, and wakes its task at once, again and again: let the stream wake it",
                );
            }
        };
        let mut rest = Vec::new();
        // It ends with `WouldBlock`.
        let _ = (&far).read_to_end(&mut rest);
        if kit.is_woken(&woken) {
            return Ok(());
        }
        return failure(
            rest.len(),
            "`poll_write` is pending, and wakes nobody when there is room, or a task that has polled it before: hand \
             its context on, each time",
        );
    }
}

/// A shutdown passes on what a flush does, and reaches the stream.
fn shuts_down<S: AsyncSink>(kit: &Kit, make: &mut Make<'_, S>) -> Result<(), Failure> {
    let (Some((flushed, _)), Some((got, ended))) =
        (written(kit, make, false)?, written(kit, make, true)?)
    else {
        return Ok(());
    };
    if ended && got >= flushed {
        return Ok(());
    }
    let what = format!(
        "after `poll_shutdown` {got} bytes have arrived, of {flushed} that a flush passes on, and {}: hand it on to \
         what the type wraps",
        if ended { "the end" } else { "no end" }
    );
    Err(Failure::new(Property::End, got, what))
}

/// How many bytes of a write arrive that is flushed, or followed by a shutdown; and whether an end does. `None`: it
/// refuses one of these.
fn written<S: AsyncSink>(
    kit: &Kit,
    make: &mut Make<'_, S>,
    shuts_down: bool,
) -> Result<Option<(usize, bool)>, Failure> {
    let setup = |error: io::Error| Failure::setup(&error);
    let (near, mut far) = StdUnixStream::pair().map_err(setup)?;
    far.set_nonblocking(true).map_err(setup)?;
    let mut sink = kit.build(near, make).map_err(setup)?;
    let wrote = kit.in_the_end(|cx| Pin::new(&mut sink).poll_write(cx, &[7; 100]));
    let passed_on = kit.in_the_end(|cx| match shuts_down {
        true => Pin::new(&mut sink).poll_shutdown(cx),
        false => Pin::new(&mut sink).poll_flush(cx),
    });
    let Some(passed_on) = passed_on else {
        let what = format!(
            "`{}` is pending where the stream has room, and wakes nobody: hand its context on",
            if shuts_down { "poll_shutdown" } else { "poll_flush" }
        );
        return Err(Failure::new(Property::Readiness, 0, what));
    };
    if !matches!(wrote, Some(Ok(_))) || passed_on.is_err() {
        return Ok(None);
    }
    let mut got = Vec::new();
    let ended = far.read_to_end(&mut got).is_ok();
    Ok(Some((got.len(), ended)))
}

/// A sink under test, polled to see what it takes now.
struct Polled<S> {
    sink: S,
    kit: Rc<Kit>,
}

impl<S: AsyncSink> SinkAccess for Polled<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sink = &mut self.sink;
        self.kit.now(|cx| Pin::new(&mut *sink).poll_write(cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        let sink = &mut self.sink;
        self.kit.now(|cx| Pin::new(&mut *sink).poll_flush(cx))
    }

    fn walk(&mut self, delivered: &Cell<u64>, visit: &mut AtSink<'_>) {
        let mut at = None;
        walk_sink::<TokioIo>(&mut self.sink, delivered, &mut |end, manner| {
            at = end.map(|end| end.fd.fd().as_raw_fd());
            visit(end, manner);
        });
        if let Some(at) = at {
            let find = |fd| self.sink.write_ready(fd);
            self.kit.check_found(at, ("downstream", "write_ready"), find);
        }
    }
}
