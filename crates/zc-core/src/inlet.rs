//! A source seen through all its layers.

use std::io::{self, Read};

use crate::held::write_some;
use crate::source::{Origin, Source, Upstream};
use crate::{Fault, PollFd};

/// A [`Source`] as an engine sees it: one descriptor under any number of layers, whose buffers come
/// first and whose limits all count.
///
/// The engine alternates between asking [`bottom`](Inlet::bottom) where bytes can be had, taking
/// some, and saying so with [`taken`](Inlet::taken), which tells every layer.
pub struct Inlet<'s> {
    source: &'s mut (dyn Source + 's),
    /// How many of the leaves, in the order their bytes come, this copy has read to their end.
    ended: usize,
}

/// Where the next bytes of a source are to be had, below all layers.
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
    pub fn new(source: &'s mut (dyn Source + 's)) -> Self {
        Inlet { source, ended: 0 }
    }

    /// Where the next bytes are to be had, and how many at most by all limits on the way there
    /// (`u64::MAX`: no limit).
    pub fn bottom(&mut self) -> (Bottom<'_>, u64) {
        let mut skip = self.ended;
        match descend(self.source, &mut skip, u64::MAX, true) {
            Some(leaf) => (leaf.bottom, leaf.limit),
            None => (Bottom::Spent, 0),
        }
    }

    /// The source's own `read`, for when the [`bottom`](Inlet::bottom) is opaque.
    pub fn reader(&mut self) -> &mut dyn Read {
        self.source
    }

    /// Offers bytes that a layer has buffered, the outermost first and no more than the limits
    /// allow, to `write`; tells the layers how many it took. `Ok(0)`: nothing is buffered.
    ///
    /// # Errors
    ///
    /// Those of `write`; `InvalidData` if a layer's buffer does not fall by what was taken from it.
    pub fn drain_buffered(&mut self, sink: &mut dyn io::Write) -> Result<usize, Fault> {
        let mut skip = self.ended;
        Ok(drain(self.source, &mut skip, u64::MAX, sink)?.unwrap_or(0))
    }

    /// `n` bytes were taken at the bottom: tells every layer above it.
    ///
    /// Every layer is told even if one of them panics.
    pub fn taken(&mut self, n: u64) {
        if n > 0 {
            let mut skip = self.ended;
            settle(self.source, &mut skip, n);
        }
    }

    /// The bottom has ended. Moves on to the next in a chain; `false` if it was the last.
    pub fn next_link(&mut self) -> bool {
        self.ended += 1;
        let mut skip = self.ended;
        descend(self.source, &mut skip, u64::MAX, true).is_some()
    }
}

impl std::fmt::Debug for Inlet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").field("ended", &self.ended).finish_non_exhaustive()
    }
}

struct Leaf<'a> {
    bottom: Bottom<'a>,
    limit: u64,
    ends_for_good: bool,
}

/// Finds the leaf after `skip` others; `None` if there are no more than those, with `skip` less
/// their number.
fn descend<'a>(
    source: &'a mut (dyn Source + 'a),
    skip: &mut usize,
    limit: u64,
    last: bool,
) -> Option<Leaf<'a>> {
    let Upstream { origin, limit: own, ends_for_good } = source.upstream();
    let limit = limit.min(own);
    let bottom = match origin {
        Origin::Through(inner) => return descend(inner, skip, limit, last),
        Origin::Then(first, second) => {
            // A leaf that is passed over has ended, and in this very copy: that is for good enough.
            let Some(leaf) = descend(first, skip, limit, false) else {
                return descend(second, skip, limit, last);
            };
            if leaf.ends_for_good {
                return Some(leaf);
            }
            // It may have ended before this copy began and have grown since. Only the chain's own
            // `read` knows whether its bytes are still wanted.
            return Some(Leaf { bottom: Bottom::Opaque, limit, ends_for_good: false });
        }
        _ if *skip > 0 => {
            *skip -= 1;
            return None;
        }
        Origin::Fd(fd) => Bottom::Fd(fd),
        Origin::Spent => Bottom::Spent,
        Origin::Opaque => Bottom::Opaque,
    };
    Some(Leaf { bottom, limit, ends_for_good: ends_for_good || last })
}

/// Drains the outermost buffer that has bytes. `None`: all of `source` has ended.
fn drain(
    source: &mut dyn Source,
    skip: &mut usize,
    limit: u64,
    sink: &mut dyn io::Write,
) -> Result<Option<usize>, Fault> {
    let buffered = source.buffered();
    let len = buffered.len();
    let offer = usize::try_from(limit).map_or(len, |limit| limit.min(len));
    if offer > 0 {
        let n = write_some(sink, &buffered[..offer]).map_err(|error| Fault::new("write", error))?;
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
        return Ok(Some(n));
    }
    let Upstream { origin, limit: own, .. } = source.upstream();
    let limit = limit.min(own);
    let drained = match origin {
        Origin::Through(inner) => drain(inner, skip, limit, sink)?,
        Origin::Then(first, second) => match drain(first, skip, limit, sink)? {
            None => drain(second, skip, limit, sink)?,
            some => some,
        },
        _ if *skip > 0 => {
            *skip -= 1;
            None
        }
        Origin::Fd(_) | Origin::Spent | Origin::Opaque => return Ok(Some(0)),
    };
    if let Some(n @ 1..) = drained {
        source.taken(n as u64);
    }
    Ok(drained)
}

/// Tells every layer above the leaf, and the leaf, from the inside out. `false`: all of `source`
/// has ended before.
fn settle(source: &mut dyn Source, skip: &mut usize, n: u64) -> bool {
    /// Tells its layer when the layers below have been told, or one of them has panicked.
    struct Tell<'a>(Option<&'a mut dyn Source>, u64);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            if let Some(layer) = self.0.take() {
                layer.taken(self.1);
            }
        }
    }

    let mut tell = Tell(Some(source), n);
    let layer = tell.0.as_deref_mut().expect("set above");
    let found = match layer.upstream().origin {
        Origin::Through(inner) => settle(inner, skip, n),
        Origin::Then(first, second) => settle(first, skip, n) || settle(second, skip, n),
        _ if *skip > 0 => {
            *skip -= 1;
            false
        }
        Origin::Fd(_) | Origin::Spent | Origin::Opaque => true,
    };
    if !found {
        tell.0 = None;
    }
    found
}
