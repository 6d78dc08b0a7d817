//! zc, as its users call it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use zc_std::driver::Next;
use zc_std::{Copier, Options, ReadFrom, Sink, Source, Transfer};

use super::Subject;
use crate::ends::{End, with_ends};

pub(super) struct Zc;

impl Subject for Zc {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        with_ends!(from, to, |from, to| match limit {
            None => zc_std::copy(from, to),
            Some(n) => to.read_from((&*from).take(n)),
        })
    }
}

/// An event loop: a transfer over both ends in non-blocking mode, stepped until it has to wait.
pub(super) struct Loop;

/// The budget of each step, as an event loop with many transfers has one.
const BUDGET: u64 = 1 << 20;

impl Subject for Loop {
    fn prepare(&mut self, from: &End, to: &End) -> io::Result<()> {
        from.set_nonblocking()?;
        to.set_nonblocking()
    }

    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let limit = limit.unwrap_or(u64::MAX);
        with_ends!(&*from, &*to, |f, t| event_loop(&mut f.take(limit), &mut &*t, &*from, &*to))
    }
}

fn event_loop(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    from: impl AsFd,
    to: impl AsFd,
) -> io::Result<u64> {
    let (mut transfer, mut moved) = (Transfer::default(), 0);
    loop {
        let step = transfer.step(source, sink, BUDGET);
        moved += step.delivered;
        let wants_room = match step.next {
            // Neither side is asked again to find out that it has no more.
            Next::Again if step.full => true,
            Next::Again if step.drained => false,
            Next::Again => continue,
            Next::Ended => return Ok(moved),
            Next::WantRead { .. } => false,
            Next::WantWrite => true,
            Next::Failed(error) => return Err(error.into_copy_error(moved).into()),
            other => unreachable!("no layer here wants {other:?}"),
        };
        let wanted = if wants_room {
            PollFd::new(&to, PollFlags::OUT)
        } else {
            PollFd::new(&from, PollFlags::IN)
        };
        // A sink that is read soon has room, and what is in flight stays in its pipe.
        if !wants_room {
            transfer.park();
        }
        poll(&mut [wanted], None)?;
    }
}

fn copy_by(
    copier: &mut Copier,
    from: &mut End,
    to: &mut End,
    limit: Option<u64>,
) -> io::Result<u64> {
    let limit = limit.unwrap_or(u64::MAX);
    with_ends!(from, to, |from, to| { Ok(copier.copy(&mut (&*from).take(limit), to)?.moved()) })
}

/// A copy into the null device that moves the bytes, as into any other sink.
pub(super) struct Splicing;

impl Subject for Splicing {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let mut options = Options::default();
        options.discard = false;
        copy_by(&mut Copier::with_options(options), from, to, limit)
    }
}

/// A copy that takes bytes as soon as there are some.
pub(super) struct Plain;

impl Subject for Plain {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let mut options = Options::default();
        options.handfuls = false;
        copy_by(&mut Copier::with_options(options), from, to, limit)
    }
}

/// A copy with `coalesce`: the bytes of a TCP source may wait a little for more.
pub(super) struct Coalescing;

/// A delay that people do not notice.
const MAX_DELAY: Duration = Duration::from_millis(10);

impl Subject for Coalescing {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        copy_by(&mut Copier::new().coalesce(MAX_DELAY), from, to, limit)
    }
}
