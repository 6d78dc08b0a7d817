//! How a copy goes about its work.

use std::time::Duration;

use crate::pipe;

/// Whether the kernel may lend page-cache pages instead of copying bytes.
///
/// Lent pages are the file's own: a write to the file after the copy changes bytes that were "copied"
/// but are not yet read at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageSharing {
    /// From a file to a socket, as Go, nginx and everybody else does; not to a pipe.
    #[default]
    Sockets,
    /// Never: bytes are copied out of the file before the copy returns.
    Never,
    /// To sockets and to pipes.
    Always,
}

/// How a [`Pump`](crate::Pump) goes about its work.
///
/// ```
/// use zc_linux::{Options, PageSharing, Pump};
///
/// let mut options = Options::default();
/// options.page_sharing = PageSharing::Never;
/// let pump = Pump::new(options);
/// # assert_eq!(pump.in_flight(), 0);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How large a pipe to splice through, in bytes. Any value will do. The kernel rounds it up to
    /// a power of two pages, and grants ordinary users at most /proc/sys/fs/pipe-max-size.
    pub pipe_size: usize,
    /// Whether pages may be lent.
    pub page_sharing: PageSharing,
    /// Whether to go by what is known of the ends, what the source yields and what the calls cost (the
    /// default), or to use the route's first mechanism from the first byte on, whatever it yields.
    pub adaptive: bool,
    /// How long the blocking driver may let bytes of a TCP source wait for more to come; `None` (the
    /// default): not at all. A pump by itself never waits.
    pub coalesce: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pipe_size: pipe::DEFAULT_SIZE,
            page_sharing: PageSharing::default(),
            adaptive: true,
            coalesce: None,
        }
    }
}
