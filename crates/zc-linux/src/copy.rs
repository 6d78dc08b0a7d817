//! The blocking driver: buffers first, then steps until the end, with every layer told.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};

use rustix::io::Errno;
use zc_core::{
    Bottom, CopyError, End, Fault, Inlet, Next, Outlet, Reach, Sink, Source, Step, generic,
};

use crate::coalesce::Coalesce;
use crate::ends::{Inflow, Outflow};
use crate::pump::Pump;
use crate::report::Mechanism;
use crate::sys;

/// Copies all of `source` into `sink`, starting with what `pump` has in flight.
///
/// Blocks as the descriptors do. A limit of 0 makes no call at all, and a limit that is reached no
/// further one.
///
/// # Errors
///
/// The first error that another mechanism could not avoid. `WouldBlock` where a descriptor in
/// non-blocking mode has nothing to give or takes nothing, or a socket's timeout has expired.
/// Whatever the error, bytes in flight stay in `pump`, and the same call again delivers them first.
///
/// ```
/// use zc_linux::Pump;
///
/// let (mut pump, mut out) = (Pump::default(), Vec::new());
/// assert_eq!(zc_linux::copy(&mut pump, &mut &b"hello"[..], &mut out)?, 5);
/// assert_eq!(out, b"hello");
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub fn copy(
    pump: &mut Pump,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
) -> Result<u64, CopyError> {
    pump.restart();
    let ending = Ending { pump, calls_before: sys::calls() };
    let mut drive = Drive {
        coalesce: ending.pump.options().coalesce.map(Coalesce::new),
        pump: &mut *ending.pump,
        inlet: Inlet::new(source),
        outlet: Outlet::new(sink),
        planned: None,
    };
    let outcome = drive.run();
    let moved = ending.pump.report().moved();
    match outcome {
        Ok(()) => Ok(moved),
        Err(fault) => Err(fault.into_copy_error(moved)),
    }
}

/// What is done at the end of a copy, be it a panic of one of the layers: the pump's owner may keep it.
struct Ending<'a> {
    pump: &'a mut Pump,
    calls_before: u64,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.pump.release();
        // The calls of a copy inside a callback of another are counted by the inner one alone.
        let calls = sys::count_from(self.calls_before);
        self.pump.report_mut().count_calls(calls);
    }
}

/// The error of a blocking copy that a [`relay`](crate::relay) stopped, with `moved` bytes delivered.
///
/// # Panics
///
/// If `next` is [`Next::Again`] or [`Next::Done`], which stop no copy.
#[cold]
pub fn stopped(next: Next, moved: u64) -> CopyError {
    generic::stopped(next, Errno::AGAIN, moved)
}

struct Drive<'a> {
    pump: &'a mut Pump,
    inlet: Inlet<'a>,
    outlet: Outlet<'a>,
    coalesce: Option<Coalesce>,
    /// The descriptors that the pump's plan is for.
    planned: Option<(RawFd, Option<RawFd>)>,
}

impl Drive<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        let mut flushed = false;
        if self.pump.in_flight() > 0 && self.outlet.reach().0.is_some() {
            self.flush()?;
            flushed = true;
        }
        loop {
            // What an earlier copy or a short write has left goes before whatever the layers have
            // next, be it the end.
            if self.pump.in_flight() > 0 {
                self.deliver_in_flight(flushed)?;
                continue;
            }
            let Reach { bottom, limit, buffered, last } = self.inlet.reach();
            if limit == 0 {
                // Its own limit ends a link of a chain; everybody's ends the chain, link by link.
                if last || !self.next_link() {
                    return Ok(());
                }
                continue;
            }
            let (to, holds_back) = self.outlet.reach();
            let ended = match bottom {
                // A source that can only be read may yield byte by byte, which a buffering sink is
                // there to make up for. It is read from the top, so its end is the end of everything.
                Bottom::Opaque => {
                    // Where a source is read and bypassed in turn (a header, a body), each turn has its
                    // own plan.
                    self.pump.replan();
                    if self.read_into(limit, !holds_back)? {
                        return Ok(());
                    }
                    // The sink may hold these back, and a descriptor may come next.
                    flushed = false;
                    continue;
                }
                // Where nothing goes past the sink a flush is useless, and costs the likes of a
                // compressor.
                _ if holds_back && !flushed && to.is_some() => {
                    self.flush()?;
                    flushed = true;
                    continue;
                }
                _ if buffered => {
                    self.drain_buffered()?;
                    continue;
                }
                Bottom::Spent => true,
                Bottom::Fd(from) => {
                    // A source of several files and sockets goes from one to the next by itself. What
                    // was planned for one kind of descriptor may lend another's pages unasked.
                    let pair = (from.fd().as_raw_fd(), to.map(|to| to.fd().as_raw_fd()));
                    if self.planned.replace(pair).is_some_and(|planned| planned != pair) {
                        begin_anew(self.pump, &mut self.coalesce);
                    }
                    if let Some(coalesce) = &mut self.coalesce
                        && coalesce.gather(from.fd(), limit)
                    {
                        self.pump.gathered();
                    }
                    let past = to.is_some();
                    let to = match to {
                        Some(to) => Outflow::Fd(to),
                        None => Outflow::Write(self.outlet.writer()),
                    };
                    let step = self.pump.step(Inflow::Fd(from), to, limit);
                    if let Some(coalesce) = &mut self.coalesce {
                        coalesce.saw(from.fd(), step.taken);
                    }
                    self.settle(step, true, past)?
                }
            };
            if ended && !self.next_link() {
                return Ok(());
            }
        }
    }

    /// One step by the source's own `read`, to the sink's descriptor or its `write`. `true`: it has
    /// ended.
    #[inline(never)]
    fn read_into(&mut self, limit: u64, past_sink: bool) -> Result<bool, Fault> {
        let (to, past) = outflow(&mut self.outlet, past_sink);
        let step = self.pump.step(Inflow::Read(self.inlet.reader()), to, limit);
        self.settle(step, false, past)
    }

    /// Delivers once from what is in flight, the way that bytes went before: past a sink that may hold
    /// bytes back only if it has been `flushed`.
    #[cold]
    fn deliver_in_flight(&mut self, flushed: bool) -> Result<(), Fault> {
        let holds_back = self.outlet.reach().1;
        let (to, past) = outflow(&mut self.outlet, flushed || !holds_back);
        let (delivered, next) = self.pump.deliver(to);
        self.settle(Step { taken: 0, delivered, next }, false, past)?;
        Ok(())
    }

    /// Goes on with the next link of a chain of sources, if there is one.
    #[cold]
    fn next_link(&mut self) -> bool {
        begin_anew(self.pump, &mut self.coalesce);
        self.inlet.next_link()
    }

    /// Tells the layers that were bypassed how many bytes went by, and turns the step's end into the
    /// copy's. `true`: it has ended.
    fn settle(&mut self, step: Step, past_source: bool, past_sink: bool) -> Result<bool, Fault> {
        /// Tells the sink's layers, also if one of the source's panics.
        struct Given<'a, 's>(&'a mut Outlet<'s>, u64);
        impl Drop for Given<'_, '_> {
            fn drop(&mut self) {
                self.0.given(self.1);
            }
        }
        let given = past_sink.then(|| Given(&mut self.outlet, step.delivered));
        if past_source {
            self.inlet.taken(step.taken);
        }
        drop(given);
        let blocked = |end| Fault::at(end, self.pump.waiting_call(end), Errno::AGAIN);
        match step.next {
            Next::Again => Ok(false),
            Next::Done => Ok(true),
            Next::Readable => Err(blocked(End::Source)),
            Next::Writable => Err(blocked(End::Sink)),
            Next::Failed(fault) => Err(fault),
        }
    }

    /// Writes once from the source's buffers. What went counts, even if the source then fails or
    /// panics.
    #[inline(never)]
    fn drain_buffered(&mut self) -> Result<(), Fault> {
        let (to, past) = outflow(&mut self.outlet, true);
        let mut writer = Counted { to, written: 0 };
        let drain = AssertUnwindSafe(|| self.inlet.drain_buffered(&mut writer));
        let outcome = panic::catch_unwind(drain);
        let written = writer.written;
        self.pump.report_mut().deliver(Mechanism::ReadWrite, written);
        if past {
            self.outlet.given(written);
        }
        match outcome {
            // To look again, and again, is how a copy would never end.
            Ok(Ok(0)) => {
                let what = "a source had bytes buffered, and none a moment later";
                let error = io::Error::new(io::ErrorKind::InvalidData, what);
                Err(Fault::new("buffered", error))
            }
            Ok(outcome) => outcome.map(drop),
            Err(panic) => panic::resume_unwind(panic),
        }
    }

    #[cold]
    fn flush(&mut self) -> Result<(), Fault> {
        self.outlet.flush().map_err(|error| Fault::at(End::Sink, "flush", error))
    }
}

/// The ends change here: what was learned about the old ones no longer holds.
fn begin_anew(pump: &mut Pump, coalesce: &mut Option<Coalesce>) {
    pump.replan();
    *coalesce = pump.options().coalesce.map(Coalesce::new);
}

/// Where to deliver, and whether that goes past the sink's layers.
fn outflow<'a>(outlet: &'a mut Outlet<'_>, past: bool) -> (Outflow<'a>, bool) {
    if past && outlet.reach().0.is_some() {
        let fd = outlet.reach().0.expect("just seen");
        return (Outflow::Fd(fd), true);
    }
    (Outflow::Write(outlet.writer()), false)
}

/// Writes to the sink, and counts what it took.
struct Counted<'a> {
    to: Outflow<'a>,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = match &mut self.to {
            Outflow::Fd(fd) => sys::give(*fd, buf)?,
            Outflow::Write(to) => to.write(buf)?,
        };
        // A claim to have taken more than there was is not believed by anybody.
        if n <= buf.len() {
            self.written += n as u64;
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
