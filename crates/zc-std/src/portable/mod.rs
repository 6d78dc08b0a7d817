//! The copy where there is no engine: read and write, on any Unix.
//!
//! It has the names of `zc_linux` that the rest of the crate uses, so that `copy`, `Copier` and the types around them
//! are the same everywhere. Layers are read and written through their own `Read` and `Write`. On Linux
//! `--cfg zc_portable` takes it in the engine's place, for its tests.

pub(crate) mod fd;
mod kind;
mod patience;
mod report;

use std::cell::Cell;
use std::io::{Read, Write};

use zc_core::driver::{Buffer, Manner, StepError, each_descriptor, walk_sink};

use crate::{CopyError, ReadSource, Side, Sink, Source, WriteSink};

pub use kind::Kind;
pub(crate) use patience::Patience;
pub use report::Report;
pub use zc_core::driver::{Mechanism, Options, PageSharing};

/// A copy between two calls: what is in flight, and what was done.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    buffer: Buffer,
    report: Report,
    options: Options,
}

impl Transfer {
    pub(crate) fn new(options: Options) -> Self {
        Transfer { options, ..Transfer::default() }
    }

    pub(crate) fn with_residue(residue: Vec<u8>) -> Self {
        Transfer { buffer: Buffer::from(residue), ..Transfer::default() }
    }

    pub(crate) fn rebind(&mut self) {
        self.report = Report::default();
    }

    /// It knows nothing of the ends that it would have to forget.
    pub(crate) fn resume(&mut self) {
        self.rebind();
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn take_residue(&mut self) -> Vec<u8> {
        self.buffer.take()
    }

    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }
}

/// `zc_linux::copy`.
pub(crate) fn copy<R, W>(source: &mut R, sink: &mut W) -> Result<u64, CopyError>
where
    R: Read + Source,
    W: Write + Sink,
{
    let mut transfer = Transfer::default();
    drive_within(&Patience::default(), &mut transfer, source, sink)
        .map_err(|error| error.with_residue(transfer.take_residue()))
}

/// `zc_linux::drive_within`.
pub(crate) fn drive_within(
    patience: &Patience,
    transfer: &mut Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> Result<u64, CopyError> {
    let before = transfer.report.moved();
    let outcome = run(patience, transfer, source, sink);
    let moved = transfer.report.moved() - before;
    outcome.map(|()| moved).map_err(|error| error.into_copy_error(moved))
}

fn run(
    patience: &Patience,
    transfer: &mut Transfer,
    source: &mut dyn ReadSource,
    sink: &mut dyn WriteSink,
) -> Result<(), StepError> {
    let Transfer { buffer, report, .. } = transfer;
    let mut watch = patience::Watch::new(patience);
    loop {
        while !buffer.is_empty() {
            watch.check()?;
            match report.count(|| buffer.drain(|bytes| sink.write(bytes))) {
                Err(_) if manner(sink).limit == 0 => return Err(StepError::beyond_limit()),
                Ok(n) => report.deliver(n as u64),
                Err(error) if watch.waits_out(&error) => watch.wait_for_sink(sink, error)?,
                Err(error) => return Err(StepError::at(Side::Sink, "write", error)),
            }
        }
        buffer.release();
        // Flushed, so that no byte waits in a layer while the copy waits for the source.
        let manner = manner(sink);
        while manner.holds_back
            && let Err(error) = sink.flush()
        {
            match watch.waits_out(&error) {
                true => watch.wait_for_sink(sink, error)?,
                false => return Err(StepError::at(Side::Sink, "flush", error)),
            }
        }
        watch.check()?;
        watch.wait_for_source(source)?;
        let most = most(source, manner);
        match report.count(|| buffer.fill(most, |room| source.read(room))) {
            Ok((0, _)) => return Ok(()),
            Ok((n, _)) => watch.saw(n as u64),
            // Another reader took what was there: wait again.
            Err(error) if watch.waits_out(&error) && watch.waited() => {}
            Err(error) => return Err(StepError::at(Side::Source, "read", error)),
        }
    }
}

fn manner(sink: &mut dyn WriteSink) -> Manner {
    let mut found = Manner::default();
    walk_sink(sink, &Cell::new(0), &mut |_, manner| found = manner);
    found
}

/// How many bytes to take for a sink that takes them in this manner: what fits, or one more to find that there is
/// one. A message is taken whole, and for a sink that holds bytes back there is no limit.
fn most(source: &mut dyn ReadSource, manner: Manner) -> u64 {
    let mut is_stream = !manner.holds_back;
    if manner.limit < u64::MAX {
        each_descriptor(source, &mut |end| is_stream &= end.fd.is_stream());
    }
    if is_stream { manner.limit.max(1) } else { u64::MAX }
}
