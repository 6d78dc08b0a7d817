//! Sources.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::ReadBuf;
use tokio::net::UnixStream;
use zc_core::conformance::{AtSource, SourceAccess};
use zc_core::driver::{Bottom, Link, StepError, walk_source};

use super::runtime::{Kit, Wakes};
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

/// A task that waits for bytes is woken when there are some.
fn wakes<S: AsyncSource>(kit: &Kit, make: &mut Make<'_, S>) -> Result<(), Failure> {
    let setup = |error: io::Error| Failure::setup(&error);
    let (near, mut far) = StdUnixStream::pair().map_err(setup)?;
    let mut source = kit.build(near, make).map_err(setup)?;
    let (woken, mut room) = (Arc::new(Wakes::default()), [0; 64]);
    let polled =
        kit.once(&woken, |cx| Pin::new(&mut source).poll_read(cx, &mut ReadBuf::new(&mut room)));
    // A source that yields bytes without its stream, or has ended, does not wait.
    if polled.is_ready() {
        return Ok(());
    }
    far.write_all(&[7; 64]).map_err(setup)?;
    kit.look();
    if woken.are_none() {
        let what =
            "`poll_read` is pending, and wakes nobody when there are bytes: hand its context on";
        return Err(Failure::new(Property::Readiness, 0, what));
    }
    Ok(())
}

/// A source under test, polled to see what it has now.
struct Polled<S> {
    source: S,
    kit: Rc<Kit>,
}

impl<S: AsyncSource> SourceAccess for Polled<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let source = &mut self.source;
        self.kit.now(|cx| {
            let mut room = ReadBuf::new(buf);
            Pin::new(&mut *source).poll_read(cx, &mut room).map_ok(|()| room.filled().len())
        })
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
