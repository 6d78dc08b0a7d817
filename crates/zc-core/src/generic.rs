//! The read/write copy that every chain of mechanisms ends in.
//!
//! It needs nothing but `Read` and `Write`, and it is the only judge of the end of input: a system
//! call that returned 0 without having moved anything proves nothing (procfs), a `read` does.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use std::io::{self, Read, Write};

use crate::{CopyError, End, Fault, Held, Inlet, Next, Outlet, Sink, Source, Step};

/// One step: writes what is held, or else reads once, at most `limit` bytes, and writes once.
///
/// Blocks as `source` and `sink` do. [`Next::Done`] means that `limit` is 0 or that `source` has
/// ended, and nothing is held.
#[inline(always)]
pub fn step<R, W>(held: &mut Held, source: &mut R, sink: &mut W, limit: u64) -> Step
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut taken = 0;
    if held.is_empty() {
        match take(held, source, limit) {
            Step { next: Next::Again, taken: n, .. } => taken = n,
            step => return step,
        }
    }
    let (delivered, next) = deliver(held, sink);
    Step { taken, delivered, next }
}

/// Reads once, at most `limit` bytes, and holds them: the first half of a [`step`]. Blocks as `source`
/// does.
#[inline(always)]
pub fn take<R: Read + ?Sized>(held: &mut Held, source: &mut R, limit: u64) -> Step {
    match held.fill(source, limit) {
        Ok(0) => Step::idle(Next::Done),
        Ok(n) => Step { taken: n as u64, delivered: 0, next: Next::Again },
        Err(error) => Step::idle(stop(error, "read", Next::Readable)),
    }
}

/// Writes once what is held: the second half of a [`step`]. Blocks as `sink` does.
#[inline(always)]
pub fn deliver<W: Write + ?Sized>(held: &mut Held, sink: &mut W) -> (u64, Next) {
    match held.drain(sink) {
        Ok(n) => (n as u64, Next::Again),
        Err(error) => (0, stop(error, "write", Next::Writable)),
    }
}

/// What to make of an error: `wait` for a descriptor in non-blocking mode, or a fault.
#[cold]
fn stop(error: io::Error, syscall: &'static str, wait: Next) -> Next {
    match error.kind() {
        io::ErrorKind::WouldBlock => wait,
        _ => Next::Failed(Fault::new(syscall, error)),
    }
}

/// Copies all of `source` into `sink` with `read` and `write` alone.
///
/// It never asks the kernel for more; `zc_std::copy` does.
/// Blocks as the two ends do.
///
/// # Errors
///
/// The first error of either end but `Interrupted`, with the count so far and the residue.
///
/// ```
/// let mut out = Vec::new();
/// let moved = zc_core::generic::copy(&mut &b"all of it"[..], &mut out)?;
/// assert_eq!((moved, &out[..]), (9, &b"all of it"[..]));
/// # Ok::<(), zc_core::CopyError>(())
/// ```
pub fn copy(source: &mut dyn Source, sink: &mut dyn Sink) -> Result<u64, CopyError> {
    let (mut inlet, mut outlet) = (Inlet::new(source), Outlet::new(sink));
    let (mut held, mut moved) = (Held::default(), 0);
    loop {
        let step = step(&mut held, inlet.reader(), outlet.writer(), u64::MAX);
        moved += step.delivered;
        match step.next {
            Next::Again => {}
            Next::Done => return Ok(moved),
            next => {
                let error = stopped(next, io::ErrorKind::WouldBlock, moved);
                return Err(error.with_residue(held.take()));
            }
        }
    }
}

/// The error of a blocking copy that a [`step`] stopped, with `moved` bytes delivered: `would_block`
/// where it had to wait.
///
/// # Panics
///
/// If `next` is [`Next::Again`] or [`Next::Done`], which stop no copy.
#[cold]
pub fn stopped(next: Next, would_block: impl Into<io::Error>, moved: u64) -> CopyError {
    let fault = match next {
        Next::Readable => Fault::at(End::Source, "read", would_block),
        Next::Writable => Fault::at(End::Sink, "write", would_block),
        Next::Failed(fault) => fault,
        Next::Again | Next::Done => unreachable!("that is no reason to stop"),
    };
    fault.into_copy_error(moved)
}
