//! The two ends as one step sees them: without their layers.
//!
//! A step runs while the bottom of each end is borrowed for its readiness. So it cannot walk the
//! layers, which takes them by `&mut`: they are walked before, and told after.

use zc_core::{Downstream, End, Sink, Source, Upstream};

use crate::TokioIo;

/// Where the next bytes of a source are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlatSource<'a> {
    pub(crate) from: From<'a>,
    /// How many bytes its layers let through.
    pub(crate) limit: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum From<'a> {
    /// It does not matter: what is in flight goes first.
    Nowhere,
    Fd(End<'a>),
    Bytes(&'a [u8]),
}

impl FlatSource<'_> {
    pub(crate) fn nowhere() -> Self {
        FlatSource { from: From::Nowhere, limit: 0 }
    }
}

impl Source<TokioIo> for FlatSource<'_> {
    fn upstream(&mut self) -> Upstream<'_, TokioIo> {
        match self.from {
            From::Nowhere => Upstream::opaque(),
            From::Fd(End { fd, offset }) => {
                let upstream = offset.map_or(Upstream::fd(fd), |at| Upstream::fd_at(fd, at));
                upstream.ends_for_good().limit(self.limit)
            }
            From::Bytes(_) => Upstream::spent(),
        }
    }
    fn buffered(&self) -> &[u8] {
        match self.from {
            From::Bytes(bytes) => bytes,
            From::Nowhere | From::Fd(_) => &[],
        }
    }
    fn consume_buffered(&mut self, n: usize) {
        if let From::Bytes(bytes) = &mut self.from {
            *bytes = &bytes[n..];
        }
    }
}

/// Where bytes go to: a descriptor, nowhere, or the sink's own `poll_write`.
#[derive(Debug)]
pub(crate) struct FlatSink<'a> {
    pub(crate) to: Option<End<'a>>,
    /// Whether one of its layers may hold bytes back.
    pub(crate) holds_back: bool,
    /// Whether it has no descriptor and keeps nothing.
    pub(crate) is_nowhere: bool,
    /// How many bytes its layers let through.
    pub(crate) limit: u64,
}

impl Sink<TokioIo> for FlatSink<'_> {
    fn downstream(&mut self) -> Downstream<'_, TokioIo> {
        let downstream = match self.to {
            Some(End { fd, offset: None }) => Downstream::fd(fd),
            Some(End { fd, offset: Some(at) }) => Downstream::fd_at(fd, at),
            None if self.is_nowhere => Downstream::nowhere(),
            None => Downstream::opaque(),
        };
        let downstream = downstream.limit(self.limit);
        if self.holds_back { downstream.flush_first() } else { downstream }
    }
}
