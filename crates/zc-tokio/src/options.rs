//! The options of a copy or relay.

use std::time::Duration;

use zc_linux::PageSharing;

/// How many bytes a direction moves before other tasks have their turn: more than a poll has the time for.
const BUDGET: u64 = 8 << 20;

/// What to do after the end of input in one direction of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndPolicy {
    /// Pass it on, as a half-close; the other direction goes on until it ends by itself.
    #[default]
    Forward,
    /// Have the other direction deliver what it has taken and what its source has ready, and shut both ends down.
    ///
    /// A file is delivered whole, and so is all of a chain that has a file in it, to its end: a wait for the disk cannot
    /// be told from one for more. (Not a file in an [`Opaque`](crate::Opaque), of which nothing is known but its
    /// `poll_read`.)
    Close,
}

/// What to do after a reset by the peer of one end: the connection is gone, and what was in flight with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetPolicy {
    /// Report it. The other end's owner drops it as it is: to its peer that looks like a proper end.
    #[default]
    Report,
    /// Pass it on, and report it: the other end's TCP connection is reset when its owner drops it. First, what
    /// was taken from the lost connection is delivered, and the other peer's kernel acknowledges all of it.
    /// That may take as long as the write timeout, or ten seconds if there is none.
    ///
    /// It needs a runtime with its time driver enabled. Ends that are not TCP, or that can only be read and written
    /// ([`Opaque`](crate::Opaque)), cannot be reset.
    Forward,
}

/// The options of a [`Copier`](crate::Copier) or [`Relay`](crate::Relay).
///
/// ```
/// use std::time::Duration;
/// use zc_tokio::{EndPolicy, Options, Relay};
///
/// let mut options = Options::default();
/// options.idle_timeout = Some(Duration::from_secs(300));
/// options.on_end = EndPolicy::Close;
/// let relay = Relay::with_options(options);
/// # assert_eq!(relay.counts(), (0, 0));
/// ```
///
/// The timeouts, `min_rate` and `coalesce` need a runtime with its time driver enabled, and so does a
/// [`Paced`](crate::Paced) source. Without them no timer is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Fail once no byte has moved in either direction for this long. `None`, the default: never.
    ///
    /// With it, the source is taken to be empty after a short read, and looked at again later. Bytes behind TCP's
    /// urgent data may then wait for up to 50 milliseconds. Without it each read of a message looks whether there is
    /// more behind, which costs a fraction of a microsecond.
    pub idle_timeout: Option<Duration>,
    /// Fail once no byte has moved for this long after one direction of a relay has ended. `None`, the default:
    /// never.
    pub half_close_timeout: Option<Duration>,
    /// Fail once an end has taken none of the bytes that wait for it for this long. `None`, the
    /// default: never.
    ///
    /// What an end has taken and holds back (a TLS stream) has as long to be flushed, all of it: how much of that has
    /// gone is not seen.
    pub write_timeout: Option<Duration>,
    /// Fail once a source has given fewer than so many bytes in so much time spent waiting for it. `None`, the
    /// default: never. It is against clients that hold an upload open with a byte now and then.
    ///
    /// Only waiting for the source counts, so that no client is to blame for a slow sink or for a
    /// [rate limit](crate::Paced). The error is the source's, of kind `TimedOut`. In a relay it holds for each
    /// direction until that has ended, also where a peer has nothing to say.
    pub min_rate: Option<(u64, Duration)>,
    /// What to do after the end of input in one direction of a relay; [`EndPolicy::Forward`] by default.
    pub on_end: EndPolicy,
    /// What to do after a reset by the peer of one end; [`ResetPolicy::Report`] by default.
    pub on_reset: ResetPolicy,
    /// The most bytes to take from the first end, and from the second. After that many, the end counts as
    /// closed. `u64::MAX`, the default: no limit. A message (of a datagram socket, for example) is taken whole, also
    /// where that is more: what a read leaves of it would be lost.
    pub limits: (u64, u64),
    /// How long bytes of a bulk sender over TCP may wait for more to come, at most 50 milliseconds: fewer wake-ups
    /// and calls for the same bytes. `None`, the default: not at all. A millisecond is a good value. Small messages
    /// never wait.
    ///
    /// It works by SO_RCVLOWAT, set for the length of one wait and set back.
    pub coalesce: Option<Duration>,
    /// How many bytes a direction moves before other tasks have their turn; 8 MiB by default. They have it earlier
    /// if the poll has used 0.375 milliseconds of its thread's time; it then finishes its step.
    pub budget: u64,
    /// The most bytes in flight in each direction; `u64::MAX`, the default: no limit. No more
    /// than 64 KiB of them wait for a sink in any case.
    pub max_in_flight: u64,
    /// How large a pipe to splice through, in bytes, see [`zc_linux::Options::pipe_size`].
    pub pipe_size: usize,
    /// Whether zc may choose read/write where it is cheaper; `true` by default. See
    /// `zc_std::Copier::adaptive`.
    pub adaptive: bool,
    /// Whether pages of files may be lent, see [`PageSharing`].
    pub page_sharing: PageSharing,
    /// Whether a hole of a file becomes a hole of the file it is copied into, see [`zc_linux::Options::keep_holes`].
    /// Off by default.
    pub keep_holes: bool,
}

impl Default for Options {
    fn default() -> Self {
        let linux = zc_linux::Options::default();
        Options {
            idle_timeout: None,
            half_close_timeout: None,
            write_timeout: None,
            min_rate: None,
            on_end: EndPolicy::default(),
            on_reset: ResetPolicy::default(),
            limits: (u64::MAX, u64::MAX),
            coalesce: None,
            budget: BUDGET,
            max_in_flight: u64::MAX,
            pipe_size: linux.pipe_size,
            adaptive: linux.adaptive,
            page_sharing: linux.page_sharing,
            keep_holes: linux.keep_holes,
        }
    }
}

impl Options {
    /// Whether a source is taken to be empty after a short read. It takes a timer to make sure
    /// later, and only with a timeout set is the runtime known to have one.
    pub(crate) fn trusts_short_reads(&self) -> bool {
        self.idle_timeout.or(self.coalesce).is_some()
    }

    pub(crate) fn linux(&self) -> zc_linux::Options {
        let mut linux = zc_linux::Options::default();
        linux.pipe_size = self.pipe_size;
        linux.adaptive = self.adaptive;
        linux.page_sharing = self.page_sharing;
        linux.keep_holes = self.keep_holes;
        // `Headroom` does.
        linux.heeds_stalls = false;
        linux
    }
}
