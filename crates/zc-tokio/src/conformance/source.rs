//! Sources.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;

use tokio::io::ReadBuf;
use tokio::net::UnixStream;
use zc_core::conformance::{AtSource, SourceAccess};
use zc_core::driver::{Bottom, Link, StepError, walk_source};

use super::runtime::{Kit, Waiting};
use super::{Failure, Property, raise};
use crate::{AsyncSource, TokioIo};

type Make<'k, S> = dyn FnMut(UnixStream) -> S + 'k;
type Count<'k, S> = Box<dyn Fn(&S) -> u64 + 'k>;

/// The checks of a source, with options: what [`source`](super::source()) runs.
///
/// ```
/// use tokio::io::AsyncReadExt;
/// use zc_tokio::conformance::SourceKit;
///
/// SourceKit::new(|stream| stream.take(777)).count(|take| 777 - take.limit()).assert();
/// ```
pub struct SourceKit<'k, S> {
    make: Box<Make<'k, S>>,
    count: Option<Count<'k, S>>,
}

impl<'k, S: AsyncSource> SourceKit<'k, S> {
    /// Will check the source that `make` builds over a stream.
    pub fn new(make: impl FnMut(UnixStream) -> S + 'k) -> Self {
        SourceKit { make: Box::new(make), count: None }
    }

    /// Also checks the source's own count: after every step, `count` must answer how many bytes the
    /// source has given out so far, by `poll_read` and past it.
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
        let built = |near| {
            let source = kit.build(near, &mut **make.borrow_mut()).expect("a Unix socket");
            Polled { source, kit: Rc::clone(&kit) }
        };
        let mut schedules = zc_core::conformance::SourceKit::with_access(built);
        if let Some(count) = &self.count {
            schedules = schedules.count(move |polled: &Polled<S>| count(&polled.source));
        }
        schedules.check()?;
        kit.found()
    }

    /// [`check`](SourceKit::check), for tests.
    ///
    /// # Panics
    ///
    /// If a property does not hold.
    #[track_caller]
    pub fn assert(self) {
        raise(self.check());
    }
}

impl<S> fmt::Debug for SourceKit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceKit").finish_non_exhaustive()
    }
}

/// How many reads a source may give before it waits for its stream.
const READS: usize = 4096;

/// A task that waits for bytes is woken when there are some: the one that has polled last, and each time.
fn wakes<S: AsyncSource>(kit: &Kit, make: &mut Make<'_, S>) -> Result<(), Failure> {
    let setup = |error: io::Error| Failure::setup(&error);
    let failure = |what: &str| Err(Failure::new(Property::Readiness, 0, what));
    let (near, mut far) = StdUnixStream::pair().map_err(setup)?;
    let mut source = kit.build(near, make).map_err(setup)?;
    let mut waits = 0;
    for _ in 0..READS {
        let polled = kit.until_it_waits(|cx| {
            let mut room = [0; 64];
            let mut room = ReadBuf::new(&mut room);
            let polled = Pin::new(&mut source).poll_read(cx, &mut room);
            polled.map_ok(|()| room.filled().len())
        });
        match polled {
            Waiting::Ready(Ok(n)) if n > 0 => {}
            // It has ended.
            Waiting::Ready(_) => break,
            Waiting::Waits(_) if waits == 2 => break,
            Waiting::Waits(woken) => {
                waits += 1;
                far.write_all(&[7; 64]).map_err(setup)?;
                if !kit.is_woken(&woken) {
                    return failure(
                        "`poll_read` is pending, and wakes nobody when there are bytes, or a task that has polled it \
                         before: hand its context on, each time",
                    );
                }
            }
            Waiting::Spins => {
                return failure(
                    "`poll_read` is pending, and wakes its task at once, again and again: let the stream wake it",
                );
            }
        }
    }
    Ok(())
}

/// What the buffer holds before each read.
const BEFORE: &[u8] = b"before";

/// A source under test, polled to see what it has now.
struct Polled<S> {
    source: S,
    kit: Rc<Kit>,
}

impl<S: AsyncSource> SourceAccess for Polled<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let source = &mut self.source;
        let mut room = vec![0; BEFORE.len() + buf.len()];
        let n = self.kit.now(|cx| {
            let mut room = ReadBuf::new(&mut room);
            room.put_slice(BEFORE);
            let polled = Pin::new(&mut *source).poll_read(cx, &mut room);
            polled.map_ok(|()| room.filled().len().saturating_sub(BEFORE.len()))
        })?;
        if !room.starts_with(BEFORE) {
            let what =
                "`poll_read` changes bytes that the buffer held before: put its own behind them";
            self.kit.note(Property::Order, what);
        }
        buf.copy_from_slice(&room[BEFORE.len()..]);
        Ok(n)
    }

    fn walk(&mut self, link: Link, visit: &mut AtSource<'_>) -> Result<(), StepError> {
        let mut at = None;
        walk_source::<TokioIo>(&mut self.source, link, &mut |reach| {
            if let Bottom::Fd(end) = &reach.bottom {
                at = Some(end.fd.fd().as_raw_fd());
            }
            visit(reach)
        })?;
        if let Some(at) = at {
            let find = |fd| self.source.read_ready(fd);
            self.kit.check_found(at, ("upstream", "read_ready"), find);
        }
        Ok(())
    }
}
