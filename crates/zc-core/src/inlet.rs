//! A source seen through all its layers.

use std::cell::Cell;
use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};

use crate::held::write_some;
use crate::source::{Origin, Source, Upstream};
use crate::{End, Fault, PollFd};

/// A [`Source`] as an engine sees it: one descriptor under any number of layers, whose buffers come
/// first and whose limits all count.
///
/// The engine asks how far down it can [`reach`](Inlet::reach), takes some bytes there, says so with
/// [`taken`](Inlet::taken), which tells every layer, and begins anew.
///
/// ```
/// use std::io::{BufRead, BufReader, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_core::{Bottom, Inlet};
///
/// let (mut client, stream) = UnixStream::pair()?;
/// client.write_all(b"header\nbody")?;
///
/// let mut reader = BufReader::new(stream);
/// reader.read_line(&mut String::new())?; // reads ahead
/// let mut source = reader.take(100);
///
/// let mut inlet = Inlet::new(&mut source);
/// let mut sink = Vec::new();
/// inlet.drain_buffered(&mut sink).map_err(|fault| fault.error)?;
/// assert_eq!(sink, b"body");
///
/// let reach = inlet.reach();
/// assert!(matches!(reach.bottom, Bottom::Fd(_)) && reach.limit == 96);
/// // … an engine takes 10 bytes at the descriptor …
/// inlet.taken(10);
/// assert_eq!(source.limit(), 86);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Inlet<'s> {
    source: &'s mut (dyn Source + 's),
    /// How many of the leaves, in the order their bytes come, this copy has read to their end.
    ended: usize,
}

/// What an [`Inlet`] finds on its way down.
#[derive(Debug)]
pub struct Reach<'a> {
    /// Where the next bytes come from.
    pub bottom: Bottom<'a>,
    /// How many at most, by all limits on the way; `u64::MAX` for no limit. Limits below a layer
    /// that has bytes buffered do not count: what it holds has passed them already.
    pub limit: u64,
    /// Whether a layer on the way has bytes buffered, which come first.
    pub buffered: bool,
    /// Whether no link of a chain comes after this one.
    pub last: bool,
}

/// Where the next bytes of a source come from, below all layers.
#[derive(Debug)]
pub enum Bottom<'a> {
    /// At a descriptor, once the layers' buffers are empty.
    Fd(PollFd<'a>),
    /// In the layers' buffers and nowhere else.
    Spent,
    /// Only from the source's own `read`, buffers and all.
    Opaque,
}

impl<'s> Inlet<'s> {
    /// Looks at `source`; does not read from it.
    #[inline]
    pub fn new(source: &'s mut (dyn Source + 's)) -> Self {
        Inlet { source, ended: 0 }
    }

    /// Goes down through the layers to where the next bytes come from.
    #[inline]
    pub fn reach(&mut self) -> Reach<'_> {
        let mut skip = self.ended;
        let way = Way { limit: u64::MAX, buffered: false, last: true };
        match descend(self.source, &mut skip, way) {
            Some(leaf) => leaf.reach,
            None => Reach { bottom: Bottom::Spent, limit: 0, buffered: false, last: true },
        }
    }

    /// The source's own `read`, for when the bottom is opaque.
    #[inline]
    pub fn reader(&mut self) -> &mut dyn Read {
        self.source
    }

    /// Offers bytes that a layer has buffered, the outermost first and no more than the limits
    /// allow, to `sink`, once; tells the layers how many it took. `Ok(0)`: nothing is buffered.
    ///
    /// Blocks as `sink` does. Every layer is told even if one of them panics.
    ///
    /// # Errors
    ///
    /// Those of `sink`; `InvalidData` if a layer's buffer does not fall by what was taken from it.
    /// By then `sink` has taken the bytes, and the layers have been told.
    pub fn drain_buffered(&mut self, sink: &mut dyn io::Write) -> Result<usize, Fault> {
        let mut skip = self.ended;
        let drained = Cell::new(0);
        drain(self.source, &mut skip, u64::MAX, sink, &drained)?;
        Ok(usize::try_from(drained.get()).expect("they were in memory"))
    }

    /// `n` bytes were taken at the bottom: tells every layer above it.
    ///
    /// Every layer is told even if one of them panics.
    #[inline]
    pub fn taken(&mut self, n: u64) {
        if n > 0 {
            let mut skip = self.ended;
            settle(self.source, &mut skip, n, &Cell::new(0));
        }
    }

    /// The bottom has ended. Moves on to the next in a chain; `false` if it was the last.
    #[inline]
    pub fn next_link(&mut self) -> bool {
        self.ended += 1;
        let mut skip = self.ended;
        let way = Way { limit: u64::MAX, buffered: false, last: true };
        descend(self.source, &mut skip, way).is_some()
    }
}

impl std::fmt::Debug for Inlet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").field("ended", &self.ended).finish_non_exhaustive()
    }
}

struct Leaf<'a> {
    reach: Reach<'a>,
    ends_for_good: bool,
}

/// What has been met on the way down so far.
#[derive(Clone, Copy)]
struct Way {
    limit: u64,
    buffered: bool,
    /// No link of a chain comes after this one.
    last: bool,
}

/// Finds the leaf after `skip` others; `None` if there are no more than those, with `skip` less
/// their number.
fn descend<'a>(
    source: &'a mut (dyn Source + 'a),
    skip: &mut usize,
    mut way: Way,
) -> Option<Leaf<'a>> {
    way.buffered |= way.limit > 0 && !source.buffered().is_empty();
    let Upstream { origin, limit, ends_for_good } = source.upstream();
    // A `BufReader` may be full of what a `Take` under it, now at 0, has let through.
    if !way.buffered {
        way.limit = way.limit.min(limit);
    }
    let leaf = |bottom, ends_for_good| {
        let Way { limit, buffered, last } = way;
        Some(Leaf { reach: Reach { bottom, limit, buffered, last }, ends_for_good })
    };
    // Nothing that lies deeper changes anything any more: this is where a framed copy ends.
    if way.limit == 0 && way.last && !way.buffered {
        return if *skip == 0 { leaf(Bottom::Spent, true) } else { None };
    }
    let bottom = match origin {
        Origin::Through(inner) => return descend(inner, skip, way),
        Origin::Then(first, second) => {
            // A link that is passed over has ended in this very copy: that is for good enough.
            let Some(found) = descend(first, skip, Way { last: false, ..way }) else {
                return descend(second, skip, way);
            };
            if found.ends_for_good {
                return Some(found);
            }
            // It may have ended before this copy began and have grown since. Only the chain's own
            // `read` knows whether its bytes are still wanted.
            return leaf(Bottom::Opaque, false);
        }
        _ if *skip > 0 => {
            *skip -= 1;
            return None;
        }
        Origin::Fd(fd) => Bottom::Fd(fd),
        Origin::Spent => Bottom::Spent,
        Origin::Opaque => Bottom::Opaque,
    };
    leaf(bottom, ends_for_good || way.last)
}

/// Tells its layer how many bytes have `passed` from below, when the layers below have been told or
/// one of them has panicked.
struct Tell<'a> {
    layer: &'a mut dyn Source,
    passed: &'a Cell<u64>,
}

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        let passed = self.passed.get();
        if passed > 0 {
            in_drop(|| self.layer.taken(passed));
        }
    }
}

/// Calls what may panic, in a destructor: if it does while another panic unwinds, the first one goes
/// on. (Two at a time would end the process.)
pub(crate) fn in_drop(tell: impl FnOnce()) {
    if std::thread::panicking() {
        let _ = panic::catch_unwind(AssertUnwindSafe(tell));
    } else {
        tell();
    }
}

/// Drains the outermost buffer that has bytes, and tells every layer above it. `false`: all of
/// `source` has ended.
fn drain(
    source: &mut dyn Source,
    skip: &mut usize,
    limit: u64,
    sink: &mut dyn io::Write,
    passed: &Cell<u64>,
) -> Result<bool, Fault> {
    let buffered = source.buffered();
    let len = buffered.len();
    let offer = usize::try_from(limit).map_or(len, |limit| limit.min(len));
    if offer > 0 {
        let n = write_some(sink, &buffered[..offer])
            .map_err(|error| Fault::at(End::Sink, "write", error))?;
        passed.set(n as u64);
        source.consume_buffered(n);
        if source.buffered().len() != len - n {
            return Err(Fault::new(
                "consume_buffered",
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "a source buffered {len} bytes, and {} after {n} were consumed",
                        source.buffered().len()
                    ),
                ),
            ));
        }
        return Ok(true);
    }
    let tell = Tell { layer: source, passed };
    let Upstream { origin, limit: own, .. } = tell.layer.upstream();
    let limit = limit.min(own);
    match origin {
        Origin::Through(inner) => drain(inner, skip, limit, sink, passed),
        Origin::Then(first, second) => {
            Ok(drain(first, skip, limit, sink, passed)?
                || drain(second, skip, limit, sink, passed)?)
        }
        Origin::Fd(_) | Origin::Spent | Origin::Opaque => Ok(is_leaf_sought(skip)),
    }
}

/// Tells every layer above the leaf, and the leaf, from the inside out, that `n` bytes were taken
/// there. `false`: all of `source` has ended before.
fn settle(source: &mut dyn Source, skip: &mut usize, n: u64, passed: &Cell<u64>) -> bool {
    let tell = Tell { layer: source, passed };
    match tell.layer.upstream().origin {
        Origin::Through(inner) => settle(inner, skip, n, passed),
        Origin::Then(first, second) => {
            settle(first, skip, n, passed) || settle(second, skip, n, passed)
        }
        Origin::Fd(_) | Origin::Spent | Origin::Opaque => {
            let found = is_leaf_sought(skip);
            if found {
                passed.set(n);
            }
            found
        }
    }
}

/// Whether the leaf just met is the one after `skip` others, which become fewer by it if not.
fn is_leaf_sought(skip: &mut usize) -> bool {
    let sought = *skip == 0;
    *skip = skip.saturating_sub(1);
    sought
}
