//! A source, seen through all its layers.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use super::{StepError, in_drop};
use crate::source::{Origin, Source, Upstream};
use crate::{End, Side};

/// The link of a chain of sources that a copy is at; the first by default.
///
/// `Chain` remembers whether its first half has ended, and does not show it. A copy that bypasses it has to
/// remember by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    ended: usize,
}

impl Link {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Link {
        Link { ended: self.ended + 1 }
    }

    /// Has the source read by its own `read`, in `read`, and returns the link that a copy at this one is at then: the
    /// same, or the first if the source has dropped links meanwhile. Those that it has kept end again.
    ///
    /// ```
    /// use std::io::Read;
    /// use zc_core::driver::Link;
    ///
    /// let mut source = (&b"head"[..]).chain(&b"tail"[..]);
    /// source.read_exact(&mut [0; 4])?;
    /// let link = Link::default().next();
    /// let (tail, link_then) = link.across(&mut source, |source| std::io::read_to_string(source));
    /// assert_eq!((tail?.as_str(), link_then), ("tail", link));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn across<Io, S: Source<Io> + ?Sized, T>(
        self,
        source: &mut S,
        read: impl FnOnce(&mut S) -> T,
    ) -> (T, Link) {
        if self == Link::default() {
            return (read(source), self);
        }
        let before = links(source);
        let answer = read(source);
        let link = if links(source) == before { self } else { Link::default() };
        (answer, link)
    }
}

/// How many links a source has.
fn links<Io, S: Source<Io> + ?Sized>(source: &mut S) -> usize {
    let mut count = 0;
    each_link(source, &mut |_| count += 1);
    count
}

/// Where the next bytes of a source are.
#[derive(Debug)]
pub enum Bottom<'a> {
    /// In a layer's buffer: these, which are within the limits and not empty.
    Buffered(&'a [u8]),
    /// At a descriptor.
    Fd(End<'a>),
    /// Nowhere: this link of the source has ended.
    Spent,
    /// Only the source's own `read` knows.
    Opaque,
}

/// What [`walk_source`] finds.
#[derive(Debug)]
pub struct Reach<'a> {
    /// Where the next bytes are.
    pub bottom: Bottom<'a>,
    /// How many may be taken at most, by all limits on the way; `u64::MAX` for no limit.
    pub limit: u64,
    /// How many may be taken by this step at most; `u64::MAX` for no limit.
    pub step_limit: u64,
    /// Before this time none may be taken.
    pub not_before: Option<Instant>,
    /// Whether no link of a chain comes after this one.
    pub last: bool,
}

/// Goes down through the layers of `source` to where its next bytes are, and calls `take` there, once.
/// Tells every layer on the way, from the inside out, how many bytes `take` says that it took.
///
/// A layer's buffer comes before what is below it, the outermost first. Every layer is told even if one
/// of them panics.
///
/// # Errors
///
/// `InvalidData` if a layer's buffer does not fall by what was taken from it. The layers above have
/// been told all the same. Also if the source has no such `link`.
///
/// ```
/// use std::io::{BufRead, BufReader, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_core::driver::{Bottom, Link, walk_source};
///
/// let (mut client, stream) = UnixStream::pair()?;
/// client.write_all(b"header\nbody")?;
///
/// let mut reader = BufReader::new(stream);
/// reader.read_line(&mut String::new())?; // reads ahead
/// let mut source = reader.take(100);
///
/// walk_source(&mut source, Link::default(), &mut |reach| {
///     assert!(matches!(reach.bottom, Bottom::Buffered(b"body")));
///     4 // … which went somewhere
/// }).map_err(|failed| failed.error)?;
/// walk_source(&mut source, Link::default(), &mut |reach| {
///     assert!(matches!(reach.bottom, Bottom::Fd(_)) && reach.limit == 96);
///     10 // … taken at the descriptor
/// }).map_err(|failed| failed.error)?;
/// assert_eq!(source.limit(), 86);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn walk_source<Io>(
    source: &mut (dyn Source<Io> + '_),
    link: Link,
    take: &mut dyn FnMut(Reach<'_>) -> u64,
) -> Result<(), StepError> {
    let mut skip = link.ended;
    let above = Above { limit: u64::MAX, step_limit: u64::MAX, not_before: None, last: true };
    if descend(source, &mut skip, above, &Cell::new(0), take)? {
        return Ok(());
    }
    // Which one the copy is at cannot be told. To go on would skip bytes, and to end would lose them.
    let what = "a chain of sources has fewer links than have ended";
    Err(StepError::at(Side::Source, "upstream", io::Error::new(io::ErrorKind::InvalidData, what)))
}

/// What the layers above have said.
#[derive(Clone, Copy)]
struct Above {
    limit: u64,
    step_limit: u64,
    not_before: Option<Instant>,
    last: bool,
}

impl Above {
    fn reach(self, bottom: Bottom<'_>) -> Reach<'_> {
        let Above { limit, step_limit, not_before, last } = self;
        Reach { bottom, limit, step_limit, not_before, last }
    }
}

/// Tells its layer how many bytes were `taken` below it, when the layers below have been told or one of
/// them has panicked.
pub(super) struct Tell<'t, 's, Io> {
    pub(super) layer: &'t mut (dyn Source<Io> + 's),
    pub(super) taken: &'t Cell<u64>,
}

impl<Io> Drop for Tell<'_, '_, Io> {
    fn drop(&mut self) {
        let taken = self.taken.get();
        if taken > 0 {
            in_drop(|| self.layer.taken(taken));
        }
    }
}

/// `false`: this part of the source has no more than `skip` links, which is then less by their number.
fn descend<Io>(
    source: &mut (dyn Source<Io> + '_),
    skip: &mut usize,
    mut above: Above,
    taken: &Cell<u64>,
    take: &mut dyn FnMut(Reach<'_>) -> u64,
) -> Result<bool, StepError> {
    // What a `BufReader` holds has passed the limits below it.
    if above.limit > 0 && !source.buffered().is_empty() {
        return take_buffered(source, above, taken, take).map(|()| true);
    }
    let tell = Tell { layer: source, taken };
    let Upstream { origin, limit, step_limit, not_before, ends_for_good: _ } =
        tell.layer.upstream();
    above.limit = above.limit.min(limit);
    if step_limit < u32::MAX {
        above.step_limit = above.step_limit.min(step_limit.into());
    }
    above.not_before = above.not_before.max(not_before);
    // No deeper layer can matter: this is where a framed copy ends.
    if above.limit == 0 && above.last {
        take(above.reach(Bottom::Spent));
        return Ok(true);
    }
    let bottom = match origin {
        Origin::Through(inner) => return descend(inner, skip, above, taken, take),
        Origin::Then(first, second) => {
            let mut left = *skip;
            match ends_for_good(first, &mut left) {
                // A link that is passed over has ended in this very copy.
                None => {
                    *skip = left;
                    return descend(second, skip, above, taken, take);
                }
                Some(true) => {
                    return descend(first, skip, Above { last: false, ..above }, taken, take);
                }
                // It may have ended before this copy began and have grown since. Only the chain's own
                // `read` knows whether its bytes are still wanted.
                Some(false) => Bottom::Opaque,
            }
        }
        _ if *skip > 0 => {
            *skip -= 1;
            return Ok(false);
        }
        Origin::Fd(end) => Bottom::Fd(end),
        Origin::Spent => Bottom::Spent,
        Origin::Opaque => Bottom::Opaque,
    };
    taken.set(take(above.reach(bottom)));
    Ok(true)
}

/// Offers the bytes that `source` itself has buffered, and has it forget what was taken.
fn take_buffered<Io>(
    source: &mut (dyn Source<Io> + '_),
    above: Above,
    taken: &Cell<u64>,
    take: &mut dyn FnMut(Reach<'_>) -> u64,
) -> Result<(), StepError> {
    let buffered = source.buffered();
    let len = buffered.len();
    if len == 0 {
        // To look again each time would let a copy run for ever.
        return Err(inconsistent("a source had bytes buffered, and none a moment later".into()));
    }
    let offer = usize::try_from(above.limit).map_or(len, |limit| limit.min(len));
    let n = take(above.reach(Bottom::Buffered(&buffered[..offer])));
    if n == 0 {
        return Ok(());
    }
    taken.set(n);
    let n = usize::try_from(n).expect("it was in memory");
    source.consume_buffered(n);
    let left = source.buffered().len();
    if left == len - n {
        return Ok(());
    }
    Err(inconsistent(format!("a source buffered {len} bytes, and {left} after {n} were consumed")))
}

fn inconsistent(what: String) -> StepError {
    let error = io::Error::new(io::ErrorKind::InvalidData, what);
    StepError::at(Side::Source, "consume_buffered", error)
}

/// Whether the link after `skip` others never yields another byte once it has ended; `None` if there
/// are no more than those, with `skip` less their number.
fn ends_for_good<Io>(source: &mut (dyn Source<Io> + '_), skip: &mut usize) -> Option<bool> {
    let Upstream { origin, ends_for_good: itself, .. } = source.upstream();
    match origin {
        Origin::Through(inner) => ends_for_good(inner, skip).map(|inner| itself || inner),
        Origin::Then(first, second) => {
            ends_for_good(first, skip).or_else(|| ends_for_good(second, skip))
        }
        _ if *skip > 0 => {
            *skip -= 1;
            None
        }
        _ => Some(itself),
    }
}

/// Shows where the bytes of each link of `source` come from, in their order, also of links that only the source's own
/// `read` may cross.
fn each_link<Io, S: Source<Io> + ?Sized>(source: &mut S, show: &mut dyn FnMut(Origin<'_, Io>)) {
    match source.upstream().origin {
        Origin::Through(inner) => each_link(inner, show),
        Origin::Then(first, second) => {
            each_link(first, show);
            each_link(second, show);
        }
        origin @ (Origin::Fd(_) | Origin::Spent | Origin::Opaque) => show(origin),
    }
}

/// Shows every descriptor at the bottom of `source`, in the order in which their bytes come, also those
/// in links that only the source's own `read` may cross.
pub fn each_descriptor<Io>(source: &mut (dyn Source<Io> + '_), show: &mut dyn FnMut(End<'_>)) {
    each_link(source, &mut |origin| {
        if let Origin::Fd(end) = origin {
            show(end);
        }
    });
}

/// Whether only the own `read` of some link of `source` knows where its bytes come from.
pub fn has_opaque_link<Io>(source: &mut (dyn Source<Io> + '_)) -> bool {
    let mut has_one = false;
    each_link(source, &mut |origin| has_one |= matches!(origin, Origin::Opaque));
    has_one
}
