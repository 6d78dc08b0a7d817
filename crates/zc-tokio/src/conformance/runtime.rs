//! The kit's runtime, and a type under test in it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::{Failure, Property};
use crate::Registered;

/// The runtime of a kit, and the first thing that was wrong with a type's readiness.
#[derive(Debug)]
pub(super) struct Kit {
    runtime: Runtime,
    found: RefCell<Option<Failure>>,
}

impl Kit {
    pub(super) fn new() -> io::Result<Rc<Kit>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Rc::new(Kit { runtime, found: RefCell::default() }))
    }

    /// Builds a type over the near end of a pair.
    pub(super) fn build<S>(
        &self,
        near: StdUnixStream,
        make: &mut dyn FnMut(UnixStream) -> S,
    ) -> io::Result<S> {
        let _context = self.runtime.enter();
        near.set_nonblocking(true)?;
        Ok(make(UnixStream::from_std(near)?))
    }

    /// What `poll` answers now; `WouldBlock` where it is pending.
    pub(super) fn now<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        self.runtime.block_on(async {
            for _ in 0..2 {
                match poll_fn(|cx| Poll::Ready(poll(cx))).await {
                    Poll::Pending => {}
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Err(io::Error::other("ready, with `WouldBlock`: nobody is woken"));
                    }
                    Poll::Ready(answer) => return answer,
                }
                // The runtime has to poll before it knows what the other end did.
                tokio::task::yield_now().await;
            }
            Err(io::ErrorKind::WouldBlock.into())
        })
    }

    /// What `poll` answers by itself, with a count of how often it wakes.
    fn once<T>(
        &self,
        wakes: &Arc<Wakes>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let _context = self.runtime.enter();
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    /// Polls until it waits, and once more as another task: that is the one to be woken.
    pub(super) fn until_it_waits<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Waiting<T> {
        let mut has_waited = false;
        for _ in 0..TRIES {
            let woken = Arc::new(Wakes::default());
            if let Poll::Ready(answer) = self.once(&woken, &mut poll) {
                return Waiting::Ready(answer);
            }
            // The runtime may not have looked at a new socket yet.
            self.look();
            if woken.are_none() && std::mem::replace(&mut has_waited, true) {
                return Waiting::Waits(woken);
            }
        }
        Waiting::Spins
    }

    /// What `poll` answers in the end. `None`: it is pending, and wakes nobody.
    pub(super) fn in_the_end<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Option<io::Result<T>> {
        for _ in 0..TRIES {
            let woken = Arc::new(Wakes::default());
            if let Poll::Ready(answer) = self.once(&woken, &mut poll) {
                return Some(answer);
            }
            if !self.is_woken(&woken) {
                return None;
            }
        }
        Some(Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Whether the task is woken now, or by a timer that is not far.
    pub(super) fn is_woken(&self, woken: &Wakes) -> bool {
        self.look();
        for _ in 0..PATIENCE {
            if !woken.are_none() {
                break;
            }
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        !woken.are_none()
    }

    /// Lets the runtime poll.
    fn look(&self) {
        self.runtime.block_on(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Checks that a type finds the descriptor at its bottom, and no other.
    pub(super) fn check_found<'s>(
        &self,
        at: RawFd,
        names: (&str, &str),
        find: impl Fn(RawFd) -> Option<Registered<'s>>,
    ) {
        let (walks, finds) = names;
        let found = find(at).map(|end| end.poll_fd().fd().as_raw_fd());
        let what = if found.is_none() {
            format!(
                "`{finds}` does not find the descriptor that `{walks}` leads to, so the kernel never takes \
                 part: ask what the type wraps"
            )
        } else if found != Some(at) || find(RawFd::MAX).is_some() {
            format!(
                "`{finds}` finds a descriptor that it was not asked for: see `Registered::matching`"
            )
        } else {
            return;
        };
        self.note(Property::Readiness, what);
    }

    /// Takes note of what is wrong, if it is the first.
    pub(super) fn note(&self, property: Property, what: impl Into<String>) {
        self.found.borrow_mut().get_or_insert_with(|| Failure::new(property, 0, what));
    }

    /// What was found to be wrong.
    pub(super) fn found(&self) -> Result<(), Failure> {
        self.found.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// What came of polls that were to wait.
#[derive(Debug)]
pub(super) enum Waiting<T> {
    /// It does not wait.
    Ready(T),
    /// It waits, and the task with these wakes is to be woken.
    Waits(Arc<Wakes>),
    /// It wakes its task each time that it is polled.
    Spins,
}

/// How often a type is polled that wakes its task and is pending again.
const TRIES: usize = 16;

/// For how many milliseconds a type may wait for a timer of its own.
const PATIENCE: usize = 200;

/// How often a task was woken.
#[derive(Debug, Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn are_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
