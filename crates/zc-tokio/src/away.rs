//! A file's half of a step, on a thread of the runtime's blocking pool, which may wait for the
//! disk.
//!
//! Bytes that come from a socket, or go to one, are in flight before or after: in a pipe, if the socket can be
//! spliced to.

use std::fs::File;
use std::sync::Arc;
#[cfg(feature = "fs")]
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use zc_core::driver::Step;
use zc_linux::Transfer;

use crate::error::Failure;

/// A file that is bypassed: its owner's descriptor, duplicated.
pub(crate) type PastFile = Arc<File>;

/// A file that is bypassed, and where its next byte lies if a layer keeps an offset of its own.
#[derive(Debug)]
#[cfg_attr(not(feature = "fs"), allow(dead_code))]
pub(crate) struct Past {
    pub(crate) file: PastFile,
    pub(crate) offset: Option<u64>,
}

#[cfg(feature = "fs")]
impl Past {
    fn end(&self) -> zc_core::End<'_> {
        zc_core::End { fd: zc_core::PollFd::of(&*self.file), offset: self.offset }
    }
}

/// A step that another thread makes, with the transfer.
#[derive(Debug)]
pub(crate) struct Away {
    #[cfg(feature = "fs")]
    task: tokio::task::JoinHandle<Step>,
    /// It comes back also from a step that was never made, or has panicked.
    #[cfg(feature = "fs")]
    transfer: Arc<Mutex<Transfer>>,
    /// How many bytes were in flight when it left.
    pub(crate) in_flight: usize,
    /// Whether it takes, and does not only deliver what is in flight.
    pub(crate) takes: bool,
    /// Whether no link of a chain comes after the source's present one.
    pub(crate) last: bool,
    /// Whether the sink's layers are to be told what it delivers.
    pub(crate) delivers: bool,
    /// Whether the copy has got other ends since, which are not told of it.
    pub(crate) is_of_others: bool,
    /// Whether the bytes in flight have been taken out since, and so are not for the other ends.
    pub(crate) is_taken_out: bool,
}

impl Away {
    /// Takes at most `budget` bytes from a file, or else what is in flight; and delivers to a file, if there is one.
    /// `splices`: the sink is a socket, which takes them from a pipe. At most `fits` bytes go to the sink, and all of
    /// the copy's steps take at most `limit`: only that tells whether a file is copied over its own bytes.
    ///
    /// `transfer` is a new one then. The runtime may have no thread for it, and panics: until it has taken the task, the
    /// transfer stays where it is.
    #[cfg(feature = "fs")]
    pub(crate) fn start(
        transfer: &mut Transfer,
        from: Option<(Past, u64)>,
        (to, fits): (Option<Past>, u64),
        budget: u64,
        last: bool,
        splices: bool,
    ) -> Away {
        use crate::TokioIo;
        use crate::flat::{FlatSink, FlatSource, From};

        let (in_flight, takes) = (transfer.in_flight(), from.is_some());
        let delivers = to.is_some();
        let shared = Arc::new(Mutex::new(Transfer::new(*transfer.options())));
        let theirs = Arc::clone(&shared);
        // The other thread waits until it has got the transfer.
        let mut left = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tokio::task::spawn_blocking(move || {
            let mut transfer = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some((file, limit)), None, true) = (&from, &to, splices) {
                return transfer.take_from_file(file.end(), budget.min(*limit));
            }
            let mut source = match &from {
                Some((file, limit)) => FlatSource { from: From::Fd(file.end()), limit: *limit },
                None => FlatSource::nowhere(),
            };
            let to = to.as_ref().map(Past::end);
            let mut sink = FlatSink { to, holds_back: false, is_nowhere: false, limit: fits };
            transfer.step::<TokioIo>(&mut source, &mut sink, budget)
        });
        std::mem::swap(&mut *left, transfer);
        drop(left);
        let (transfer, is_of_others, is_taken_out) = (shared, false, false);
        Away { task, transfer, in_flight, takes, last, delivers, is_of_others, is_taken_out }
    }

    #[cfg(not(feature = "fs"))]
    pub(crate) fn start(
        _: &mut Transfer,
        _: Option<(Past, u64)>,
        _: (Option<Past>, u64),
        _: u64,
        _: bool,
        _: bool,
    ) -> Away {
        unreachable!("no type says that it is a file")
    }

    /// What has become of it.
    #[cfg(feature = "fs")]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Transfer, Result<Step, Failure>)> {
        use std::future::Future;
        use zc_core::driver::StepError;

        std::pin::Pin::new(&mut self.task).poll(cx).map(|ended| {
            let mut transfer = self.transfer.lock().unwrap_or_else(PoisonError::into_inner);
            let step = ended.map_err(|error| {
                // The runtime is shutting down, or a step has panicked.
                StepError::new("spawn_blocking", std::io::Error::other(error)).into()
            });
            (std::mem::take(&mut *transfer), step)
        })
    }

    #[cfg(not(feature = "fs"))]
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<(Transfer, Result<Step, Failure>)> {
        unreachable!("it never starts")
    }
}
