//! The blocking driver: buffers first, then steps until the end, with every layer told.

use rustix::io::Errno;
use zc_core::{Bottom, CopyError, Fault, Inlet, Next, Outlet, Sink, Source, Step};

use crate::coalesce::Coalesce;
use crate::pump::{Inflow, Outflow, Pump};
use crate::report::{Mechanism, Report};
use crate::sys::{self, FdWriter};

/// Copies all of `source` into `sink`, starting with what `pump` has in flight.
///
/// Blocks as the descriptors do. A limit of 0 makes no call at all, and a limit that is reached no
/// further one.
///
/// # Errors
///
/// The first error that no other mechanism could do without. `WouldBlock` where a descriptor in
/// non-blocking mode has nothing to give or takes nothing, or a socket's timeout has expired.
/// Whatever the error, bytes in flight stay in `pump`, and the same call again goes on from there.
pub fn copy(
    pump: &mut Pump,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
) -> Result<Report, CopyError> {
    let before = sys::calls();
    pump.restart();
    let mut drive = Drive {
        coalesce: pump.options().coalesce.map(Coalesce::new),
        pump,
        inlet: Inlet::new(source),
        outlet: Outlet::new(sink),
        buffered: 0,
    };
    let outcome = drive.run();
    let buffered = drive.buffered;
    pump.release();

    let report = pump.report_mut();
    report.deliver(Mechanism::ReadWrite, buffered);
    report.count_calls(sys::calls() - before);
    let report = report.clone();
    match outcome {
        Ok(()) => Ok(report),
        Err(Fault { syscall, error }) => {
            Err(CopyError::new(error).with_moved(report.moved()).with_syscall(syscall))
        }
    }
}

struct Drive<'a> {
    pump: &'a mut Pump,
    inlet: Inlet<'a>,
    outlet: Outlet<'a>,
    coalesce: Option<Coalesce>,
    /// Bytes that went from the source's buffers straight to the sink.
    buffered: u64,
}

impl Drive<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        if self.pump.in_flight() > 0 {
            self.flush()?;
        }
        while self.pump.in_flight() > 0 {
            let (to, past) = outflow(&mut self.outlet, true);
            let (delivered, next) = self.pump.deliver(to);
            self.settle(Step { taken: 0, delivered, next }, false, past)?;
        }

        let mut flushed = false;
        loop {
            let (bottom, limit) = self.inlet.bottom();
            if limit == 0 {
                // Its own limit ends a link of a chain; everybody's ends the chain, link by link.
                if self.next_link() { continue } else { return Ok(()) }
            }
            let opaque = matches!(bottom, Bottom::Opaque);
            // A source that can only be read may yield byte by byte, which a buffering sink is
            // there to make up for; all others go past the sink's buffer, once it is flushed.
            let past = !opaque || !self.outlet.buffers();
            if past && !flushed {
                self.flush()?;
                flushed = true;
            }
            let ended = if opaque {
                let (to, past) = outflow(&mut self.outlet, past);
                let step = self.pump.step(Inflow::Read(self.inlet.reader()), to, limit);
                self.settle(step, false, past)?
            } else if self.drain_buffered()? {
                false
            } else {
                self.step_past_layers()?
            };
            // An opaque source was read from the top: its end is everything's.
            if ended && (opaque || !self.next_link()) {
                return Ok(());
            }
        }
    }

    /// Goes on with the next link of a chain of sources, if there is one.
    fn next_link(&mut self) -> bool {
        self.pump.replan();
        self.coalesce = self.pump.options().coalesce.map(Coalesce::new);
        self.inlet.next_link()
    }

    /// One step from the source's descriptor. `true`: it has ended.
    fn step_past_layers(&mut self) -> Result<bool, Fault> {
        let (bottom, limit) = self.inlet.bottom();
        let Bottom::Fd(from) = bottom else { return Ok(true) };
        let (to, past) = outflow(&mut self.outlet, true);
        let fresh = self.pump.in_flight() == 0;
        if let Some(coalesce) = &mut self.coalesce
            && fresh
        {
            coalesce.gather(from.fd(), limit);
        }
        let step = self.pump.step(Inflow::Fd(from), to, limit);
        if let Some(coalesce) = &mut self.coalesce
            && fresh
        {
            coalesce.saw(from.fd(), step.taken);
        }
        self.settle(step, true, past)
    }

    /// Tells the layers that were gone past what went by, and makes of the step's end the copy's.
    fn settle(&mut self, step: Step, past_source: bool, past_sink: bool) -> Result<bool, Fault> {
        if past_source {
            self.inlet.taken(step.taken);
        }
        if past_sink {
            self.outlet.given(step.delivered);
        }
        let blocked = |read_side| Fault::new(self.pump.waiting_call(read_side), Errno::AGAIN);
        match step.next {
            Next::Again => Ok(false),
            Next::Done => Ok(true),
            Next::Readable => Err(blocked(true)),
            Next::Writable => Err(blocked(false)),
            Next::Failed(fault) => Err(fault),
        }
    }

    /// Writes from the source's buffers. `false`: there is nothing in them.
    fn drain_buffered(&mut self) -> Result<bool, Fault> {
        let n = match self.outlet.fd() {
            Some(fd) => self.inlet.drain_buffered(&mut FdWriter(fd.fd()))?,
            None => {
                let n = self.inlet.drain_buffered(self.outlet.writer())?;
                self.buffered += n as u64;
                return Ok(n > 0);
            }
        };
        self.buffered += n as u64;
        self.outlet.given(n as u64);
        Ok(n > 0)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.outlet.flush().map_err(|error| Fault::new("flush", error))
    }
}

/// Where to deliver, and whether that goes past the sink's layers.
fn outflow<'a>(outlet: &'a mut Outlet<'_>, past: bool) -> (Outflow<'a>, bool) {
    if past && outlet.fd().is_some() {
        let fd = outlet.fd().expect("just seen");
        return (Outflow::Fd(fd), true);
    }
    (Outflow::Write(outlet.writer()), false)
}
