//! An event loop around a transfer: which readiness it hears of, and what it would sleep through.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use zc_std::{CopyError, Side};

use super::Mode;
use super::ends::{SinkEnd, SourceEnd};

/// A guard against hangs.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The event loop, if there is one.
pub(crate) struct EventLoop {
    /// The epoll instance, and whether it is edge-triggered.
    epoll: Option<(OwnedFd, bool)>,
}

impl EventLoop {
    pub(crate) fn of(mode: Mode, source: &SourceEnd<'_>, sink: &SinkEnd<'_>) -> EventLoop {
        let by_edge = match mode {
            Mode::Edge => true,
            Mode::Level => false,
            _ => return EventLoop { epoll: None },
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
        let how = if by_edge { EventFlags::ET } else { EventFlags::empty() };
        for (fd, side, flags) in [
            (source.fd(), Side::Source, EventFlags::IN),
            (sink.as_fd(), Side::Sink, EventFlags::OUT),
        ] {
            let Some(fd) = fd else { continue };
            match epoll::add(&epoll, fd, EventData::new_u64(side as u64), flags | how) {
                // A file is always ready.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => panic!("epoll_ctl: {errno}"),
            }
        }
        EventLoop { epoll: Some((epoll, by_edge)) }
    }

    /// Checks, when a copy has stopped to wait, that it could not have gone on.
    ///
    /// # Errors
    ///
    /// That the copy waits for a side that is ready.
    pub(crate) fn check(
        &self,
        error: &CopyError,
        source: &SourceEnd<'_>,
        sink: &SinkEnd<'_>,
    ) -> Result<(), String> {
        // What came before the copy stopped is not news.
        if let Some((_, true)) = self.epoll {
            while self.told(&AT_ONCE)?.is_some() {}
        }
        match error.waits_for() {
            // Edge-triggered, epoll does not tell of bytes that are there already; level-triggered, it does.
            Some(Side::Source) if matches!(self.epoll, Some((_, true))) => {
                let there = source.fd().map_or(Ok(0), ioctl_fionread);
                let there = there.map_err(|errno| format!("the harness itself failed: {errno}"))?;
                if there > 0 {
                    return Err(format!("it waits for a source that has {there} bytes: {error}"));
                }
                Ok(())
            }
            Some(Side::Sink) if sink.has_room() => {
                Err(format!("it waits for a sink that has room: {error}"))
            }
            Some(_) => Ok(()),
            None => Err(format!("it waits for neither side: {error}")),
        }
    }

    /// Waits as long as it takes until the loop hears of the side.
    ///
    /// # Errors
    ///
    /// That it does not.
    pub(crate) fn wait(&self, error: &CopyError) -> Result<(), String> {
        if self.epoll.is_none() {
            return Ok(());
        }
        let side = error.waits_for().map(|side| side as u64);
        while let Some(told) = self.told(&PATIENCE)? {
            if told.iter().any(|one| Some(*one) == side) {
                return Ok(());
            }
        }
        Err(format!("hangs: nothing tells of the side that it waits for: {error}"))
    }

    /// The sides that it hears of; `None` for none.
    fn told(&self, patience: &Timespec) -> Result<Option<Vec<u64>>, String> {
        let Some((epoll, _)) = &self.epoll else { return Ok(None) };
        let mut events: Vec<epoll::Event> = Vec::with_capacity(2);
        let wait = || epoll::wait(epoll, spare_capacity(&mut events), Some(patience));
        let n = retry_on_intr(wait).map_err(|errno| format!("epoll_wait: {errno}"))?;
        let sides = events.iter().map(|event| event.data.u64()).collect();
        Ok((n > 0).then_some(sides))
    }
}
