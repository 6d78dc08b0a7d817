//! The blocking driver: steps until the end.

#[cfg(test)]
mod in_memory;

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Instant;

use rustix::io::Errno;
use zc_core::driver::{Next, Step, StepError, retry};
use zc_core::{CopyError, ReadSource, Side, Sink, Source, WriteSink};

use crate::coalesce::Coalesce;
use crate::fast::{self, FastOutcome};
use crate::handful::Handfuls;
use crate::patience::{Patience, Watch};
use crate::sys;
use crate::transfer::Transfer;

/// Copies all of `source` into `sink`, with the default options.
///
/// Blocks as the descriptors do. A limit of 0 makes no call at all, and a limit that is reached no
/// further one.
///
/// # Errors
///
/// The first error that another mechanism could not avoid, with the bytes taken and not delivered.
///
/// ```
/// let mut out = Vec::new();
/// assert_eq!(zc_linux::copy(&mut &b"hello"[..], &mut out)?, 5);
/// assert_eq!(out, b"hello");
/// # Ok::<(), zc_core::CopyError>(())
/// ```
#[inline]
pub fn copy<R, W>(source: &mut R, sink: &mut W) -> Result<u64, CopyError>
where
    R: Read + Source,
    W: Write + Sink,
{
    let mut buffer = zc_core::driver::Buffer::default();
    match fast::copy(source, sink, &mut buffer) {
        FastOutcome::Done(moved) => Ok(moved),
        FastOutcome::Begun(moved) => {
            let residue = buffer.take();
            // The transfer takes its own from the thread's one spare buffer.
            buffer.release();
            copy_on(Transfer::with_residue(residue), source, sink, moved)
        }
        FastOutcome::Taken(moved) => copy_on(Transfer::of_all(buffer.take()), source, sink, moved),
        FastOutcome::Failed(error) => Err(error.with_residue(buffer.take())),
    }
}

/// Continues a copy that has delivered `before` bytes.
fn copy_on(
    mut transfer: Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
    before: u64,
) -> Result<u64, CopyError> {
    match drive(&mut transfer, source, sink) {
        Ok(moved) => Ok(before + moved),
        Err(error) => {
            let moved = before + error.moved();
            // This copy cannot be resumed, so the caller gets what is in flight.
            Err(error.with_moved(moved).with_residue(transfer.take_residue()))
        }
    }
}

/// Steps until the end, starting with what `transfer` has in flight. Call
/// [`rebind`](Transfer::rebind) before, or [`resume`](Transfer::resume) if the ends are those of the last
/// call.
///
/// Blocks as the descriptors do. Bytes in flight stay in `transfer`, also after an error, and nothing else
/// is held when it returns.
///
/// # Errors
///
/// The first error that another mechanism could not avoid. `WouldBlock` where a descriptor in
/// non-blocking mode has nothing to give or takes nothing, or a socket's timeout has expired.
///
/// ```
/// use zc_linux::{Transfer, drive};
///
/// let (mut transfer, mut out) = (Transfer::default(), Vec::new());
/// assert_eq!(drive(&mut transfer, &mut &b"hello"[..], &mut out)?, 5);
/// assert_eq!(out, b"hello");
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub fn drive(
    transfer: &mut Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> Result<u64, CopyError> {
    drive_within(&Patience::default(), transfer, source, sink)
}

/// [`drive`], for as long as `patience` lasts.
///
/// # Errors
///
/// As for [`drive`], but `WouldBlock` only from a type's own `read` or `write`; and `TimedOut`, when it is over.
pub fn drive_within(
    patience: &Patience,
    transfer: &mut Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> Result<u64, CopyError> {
    let before = transfer.report().moved();
    let ending = Ending { transfer, calls: sys::calls() };
    let outcome = run(patience, ending.transfer, source, sink);
    let moved = ending.transfer.report().moved() - before;
    outcome.map(|()| moved).map_err(|error| error.into_copy_error(moved))
}

/// What is done at the end of a copy, also if a layer panics: the transfer's owner may keep it.
struct Ending<'t> {
    transfer: &'t mut Transfer,
    calls: u64,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.transfer.park();
        // Those between the steps, too: a layer's own `read`, `write` and `flush` may make some.
        self.transfer.count_calls_since(self.calls);
    }
}

fn run(
    patience: &Patience,
    transfer: &mut Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> Result<(), StepError> {
    let mut coalesce = transfer.options().coalesce.map(Coalesce::new);
    let mut handfuls = Handfuls::new(transfer.options());
    let mut watch = Watch::new(patience);
    loop {
        let mut waits = false;
        if let Some(watch) = &mut watch {
            watch.check()?;
            if transfer.in_flight() == 0 {
                // What the sink holds back may be what the source's peer waits for.
                if transfer.flushes_next(source, sink) {
                    flush(transfer, sink, Some(watch))?;
                }
                waits = watch.wait_for_source(source, transfer.link())?;
            }
        }
        // What is in flight does not wait for what may come.
        let mut has_waited = false;
        if let Some(handfuls) = &mut handfuls
            && transfer.in_flight() == 0
        {
            has_waited = handfuls.wait(source, sink, transfer, watch.as_mut());
        }
        let mut coalesce = coalesce.as_mut().filter(|_| transfer.in_flight() == 0);
        if let Some(coalesce) = &mut coalesce
            && !has_waited
            && coalesce.gather(source, transfer.link(), watch.as_mut())
        {
            transfer.gathered();
        }
        let step = transfer.step(source, sink, u64::MAX);
        if let Some(coalesce) = coalesce {
            coalesce.saw(&step);
        }
        if let Some(handfuls) = &mut handfuls {
            handfuls.saw(&step, transfer);
        }
        let step = match step.next {
            Next::FlushSink => {
                flush(transfer, sink, watch.as_ref())?;
                continue;
            }
            Next::ReadSource(most) => transfer.read_source(source, most),
            Next::WriteSink => transfer.write_with(source, |bytes| sink.write(bytes)),
            _ => step,
        };
        if let Some(watch) = &mut watch {
            watch.saw(step.taken);
        }
        match step {
            Step { next: Next::Again, .. } => {}
            Step { next: Next::Ended, .. } => return Ok(()),
            Step { next: Next::NotBefore(time), .. } => {
                transfer.park();
                match &watch {
                    Some(watch) => watch.sleep_until(time),
                    None => thread::sleep(time.saturating_duration_since(Instant::now())),
                }
            }
            // The next turn of the loop waits; for what has no descriptor it would not, and spin.
            Step { next: Next::WantRead { .. }, .. } if waits => transfer.park(),
            Step { next: Next::WantRead { .. }, .. } => {
                return Err(would_block(transfer, Side::Source));
            }
            Step { next: Next::WantWrite, .. } => {
                let Some(watch) = &watch else { return Err(would_block(transfer, Side::Sink)) };
                transfer.park();
                if !watch.wait_for_sink(sink)? {
                    return Err(would_block(transfer, Side::Sink));
                }
            }
            Step { next: Next::Failed(error), .. } => return Err(*error),
            Step { next: Next::FlushSink | Next::ReadSource(_) | Next::WriteSink, .. } => {
                unreachable!("done above")
            }
        }
    }
}

/// Flushes the sink. Where it has no room, `watch` waits, if there is one and a descriptor to wait by.
fn flush(
    transfer: &mut Transfer,
    sink: &mut dyn WriteSink,
    watch: Option<&Watch>,
) -> Result<(), StepError> {
    while let Err(error) = retry(|| sink.flush()) {
        let has_waited = match watch {
            Some(watch) if error.kind() == ErrorKind::WouldBlock => {
                transfer.park();
                watch.wait_for_sink(sink)?
            }
            _ => false,
        };
        if !has_waited {
            return Err(StepError::at(Side::Sink, "flush", error));
        }
    }
    transfer.flushed();
    Ok(())
}

fn would_block(transfer: &Transfer, side: Side) -> StepError {
    StepError::at(side, transfer.waiting_call(side), Errno::AGAIN)
}
