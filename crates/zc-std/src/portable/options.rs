//! The options of a copy: taken, and without effect on a copy by read and write.

use std::time::Duration;

/// Whether the kernel may lend pages: it never does here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageSharing {
    /// From a file to a socket.
    #[default]
    Sockets,
    /// Never.
    Never,
    /// To sockets and to pipes.
    Always,
}

/// How a copy goes about its work. None of it matters where there is only read and write.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How large a pipe to splice through, in bytes.
    pub pipe_size: usize,
    /// Whether pages may be lent.
    pub page_sharing: PageSharing,
    /// Whether to switch between mechanisms.
    pub adaptive: bool,
    /// Whether holes are kept: here they are filled with zeros.
    pub keep_holes: bool,
    /// Whether bytes that go nowhere are dropped without being copied: here they are read.
    pub discard: bool,
    /// How long bytes of a TCP source may wait for more to come.
    pub coalesce: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pipe_size: 1 << 20,
            page_sharing: PageSharing::default(),
            adaptive: true,
            keep_holes: false,
            discard: true,
            coalesce: None,
        }
    }
}
