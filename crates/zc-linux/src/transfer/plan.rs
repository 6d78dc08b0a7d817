//! How one transfer moves bytes between its two descriptors.

use rustix::fs::FileType;
use rustix::io::Errno;
use zc_core::driver::{Options, StepError};
use zc_core::{End, PollFd};

use super::overlap;
use super::pieces::Pieces;
use crate::backend;
use crate::claim::KnownEnd;
use crate::holes::Holes;
use crate::kind::{Kind, Nature};
use crate::sys;
use crate::table::{self, Pay, Way};

/// Copies limited to this many bytes go straight to read/write. They fit one read, and to ask what the
/// descriptors are, or to fetch a pipe, would cost more than it saves.
pub(crate) const SMALL: u64 = 64 * 1024;

/// A file of at most this many bytes goes by read/write: what it shares is not worth a call. (4 KiB on
/// ext4: a sixth less than by copy_file_range; on btrfs half as much.)
pub(crate) const TINY: u64 = 8 * 1024;

/// A socket is read without a plan until this many bytes have come: so few are read in any case, if they come alone.
const NOTABLE: u64 = 32 * 1024;

const READ_WRITE: &[Way] = &[Way::ReadWrite];

#[derive(Debug)]
pub(crate) struct Plan {
    /// What the ends are.
    pub(crate) source: Kind,
    pub(crate) sink: Kind,
    /// The ways still to be tried, the current one first. Never empty, and read/write is last.
    route: &'static [Way],
    /// The most bytes for one call.
    max_call: u64,
    /// The size of the pieces that the source yields, if that decides between the route and read/write.
    pieces: Option<Pieces>,
    /// How many more bytes the copy of a file into itself may take.
    remaining: u64,
    /// How far the source is known to go, for a file.
    pub(crate) known_end: KnownEnd,
    /// The most bytes to try with a way that is likely to refuse.
    trial: u64,
    /// The sink cannot be spliced to.
    pub(crate) refuses_splice: bool,
    /// The sink is in blocking mode, if it has been asked.
    sink_waits: Option<bool>,
    /// Where the source's holes are, if they are to be kept: not often, and a transfer is small.
    pub(crate) holes: Option<Box<Holes>>,
}

impl Plan {
    /// Whether a copy of `limit` more bytes, of which `so_far` have been read, is worth a plan.
    #[inline]
    pub(crate) fn pays(from: PollFd<'_>, limit: u64, so_far: u64, options: &Options) -> bool {
        let quiet_socket = from.is_socket() && so_far < NOTABLE;
        let may_have_holes = options.keep_holes && !from.is_socket();
        !options.adaptive || may_have_holes || limit > SMALL && !quiet_socket
    }

    /// Looks at the descriptors. No read from the source has brought more than `largest` bytes.
    ///
    /// # Errors
    ///
    /// A file that is copied into itself over its own bytes, see [`overlap::check`].
    pub(crate) fn make(
        from: End<'_>,
        to: End<'_>,
        limit: u64,
        largest: u64,
        options: &Options,
    ) -> Result<Plan, StepError> {
        let source = Nature::of(from.fd);
        let sink = match source.kind {
            // For so few bytes read/write is right for every socket.
            Kind::File if options.adaptive && is_tiny(&source, limit) && to.fd.is_socket() => {
                Nature::unasked()
            }
            Kind::File => Nature::of_sink_of_a_file(to.fd),
            _ => Nature::of(to.fd),
        };
        let row = table::row(source.kind, sink.kind, options.page_sharing);
        let plain = Plan::reading(source.kind, sink.kind);
        let mut plan = Plan { route: row.route, max_call: row.max_call, ..plain };
        if source.kind == Kind::File {
            // A length of 0 says nothing: procfs files have it too. What is not known to be there is not
            // claimed.
            if source.len > 0 {
                plan.known_end = KnownEnd::of(source.len);
            }
            // For so few bytes read/write is right.
            if source.len == 0 || options.adaptive && is_tiny(&source, limit) {
                plan.only_read_write();
            }
            // Between devices copy_file_range refuses, as a rule (EXDEV).
            if source.identity.0 != sink.identity.0 && sink.kind == Kind::File {
                plan.trial = SMALL;
            }
            let claims = from.offset.is_none() || to.offset.is_none();
            let is_long = plan.known_end.left.min(limit) > table::MAX_CLAIMED;
            if sink.kind == Kind::File
                && claims
                && is_long
                && sink.may_share_none
                && sys::shares_no_blocks(to.fd.fd())
            {
                plan.max_call = table::MAX_CLAIMED;
            }
        }
        let keeps_holes = options.keep_holes
            && (source.kind, sink.kind) == (Kind::File, Kind::File)
            && !source.is_same_file(&sink)
            && Holes::are_likely(from);
        // Into a file in append mode the kernel chooses each write's offset, and splice refuses. For small
        // claims the refusal costs less than asking.
        let is_asked = source.kind != Kind::File || plan.known_end.left.min(limit) > SMALL;
        let appends = sink.kind == Kind::File
            && (plan.route != READ_WRITE && is_asked || keeps_holes)
            && sys::appends(to.fd.fd());
        if appends {
            plan.only_read_write();
        } else if keeps_holes {
            plan.holes = Some(Box::new(Holes::new(&source)));
        }
        if plan.route[0] == Way::Discard
            && !(options.discard && can_discard(from) && sys::is_written_to(to.fd.fd()))
        {
            plan.next_way();
        }
        // Only files can be read at an offset. read/write reports the error (ESPIPE).
        let can_seek = |end: End<'_>, kind| end.offset.is_none() || kind == Kind::File;
        if !can_seek(from, source.kind) || !can_seek(to, sink.kind) {
            plan.only_read_write();
        }
        if source.is_same_file(&sink) {
            plan.remaining = overlap::check(from, to, source.len, limit)?;
        }
        if !options.adaptive {
            return Ok(plan);
        }
        // Nothing can be shared between devices, so that small files are not worth trying.
        let is_local = source.identity.0 == sink.identity.0;
        let is_small = plan.known_end.left.min(limit) <= SMALL;
        let not_worth_it =
            is_tiny(&source, limit) || is_small && sink.kind == Kind::File && !is_local;
        match row.pays {
            _ if plan.route == READ_WRITE => {}
            _ if source.kind == Kind::File && not_worth_it => plan.only_read_write(),
            Pay::Always => {}
            Pay::Never => plan.only_read_write(),
            Pay::FromPiecesOf(size) => plan.pieces = Some(Pieces::new(size, largest)),
        }
        Ok(plan)
    }

    /// For a copy of which nothing is kept.
    pub(crate) fn to_nowhere(from: End<'_>, options: &Options) -> Plan {
        let kind = Nature::of(from.fd).kind;
        let discards =
            options.discard && kind == Kind::Tcp && from.offset.is_none() && can_discard(from);
        let route = if discards { &[Way::Discard, Way::ReadWrite] } else { READ_WRITE };
        Plan { route, ..Plan::reading(kind, Kind::Null) }
    }

    /// For a file that is being copied into itself by read and write: no more than it had before the next
    /// write. `None`: the ends are not one file.
    #[cold]
    pub(crate) fn of_own_tail(from: End<'_>, to: End<'_>) -> Option<Plan> {
        let left = left_of_same_file(from, to).ok().flatten()?;
        Some(Plan {
            remaining: left,
            known_end: KnownEnd { left, ..KnownEnd::NONE },
            ..Plan::reading(Kind::File, Kind::File)
        })
    }

    /// Whether the sink was in blocking mode when it was asked. Its mode may change; this only decides how much
    /// to claim for it.
    pub(crate) fn sink_waits(&mut self, to: End<'_>) -> bool {
        *self.sink_waits.get_or_insert_with(|| backend::waits(to))
    }

    /// By read/write from end to end, of which nothing more is known.
    pub(crate) fn reading(source: Kind, sink: Kind) -> Plan {
        Plan {
            source,
            sink,
            route: READ_WRITE,
            max_call: u64::MAX,
            pieces: None,
            remaining: u64::MAX,
            known_end: KnownEnd::NONE,
            trial: u64::MAX,
            refuses_splice: false,
            sink_waits: None,
            holes: None,
        }
    }

    /// For a copy that takes no more.
    #[cold]
    pub(crate) fn exhausted() -> Plan {
        Plan { remaining: 0, ..Plan::reading(Kind::File, Kind::File) }
    }

    /// The way of the next bytes.
    pub(crate) fn way(&self) -> Way {
        let reads =
            self.known_end.is_at_end() || self.pieces.as_ref().is_some_and(Pieces::are_small);
        // To drop bytes costs the same at any size.
        if reads && self.route[0] != Way::Discard { Way::ReadWrite } else { self.route[0] }
    }

    /// The most bytes for one call.
    pub(crate) fn most(&self) -> u64 {
        self.remaining.min(self.max_call)
    }

    /// The most bytes for one claim.
    pub(crate) fn most_of_file(&self) -> u64 {
        self.known_end.left.min(self.trial)
    }

    /// Whether the source may give more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.remaining == 0
    }

    /// A step took `n` bytes.
    pub(crate) fn took(&mut self, n: u64) {
        if n > 0 {
            self.trial = u64::MAX;
        }
        self.took_aside(n);
        if let Some(pieces) = &mut self.pieces {
            pieces.saw(n);
        }
    }

    /// A step took `n` bytes by a call that says nothing about the size of the source's pieces.
    pub(crate) fn took_aside(&mut self, n: u64) {
        self.known_end.left = self.known_end.left.saturating_sub(n);
        self.remaining = self.remaining.saturating_sub(n);
    }

    /// The driver has waited for small pieces to gather.
    pub(crate) fn gathered(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.gathered();
        }
    }

    /// The source has nothing more for now.
    pub(crate) fn ran_dry(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.ran_dry();
        }
    }

    /// There is no pipe now: reads until a read brings a good piece.
    pub(crate) fn no_pipe(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.back_to_reading();
        }
    }

    /// There is nothing more where the file was known to end, or others have read it.
    pub(crate) fn found_end(&mut self) {
        self.known_end.left = 0;
    }

    /// The current way cannot do it: on to the next, if there is one.
    pub(crate) fn next_way(&mut self) -> bool {
        let [_, rest @ ..] = self.route else { return false };
        if rest.is_empty() {
            return false;
        }
        self.route = rest;
        true
    }

    /// Nothing but read/write from here on.
    pub(crate) fn only_read_write(&mut self) {
        (self.route, self.pieces) = (READ_WRITE, None);
    }
}

fn is_tiny(source: &Nature, limit: u64) -> bool {
    source.len > 0 && source.len.min(limit) <= TINY
}

/// Whether the bytes of `from`, which speaks TCP, may be discarded.
fn can_discard(from: End<'_>) -> bool {
    sys::has_protocol_above(from.fd.fd()) == Ok(false)
}

/// Whether both are descriptors of one file.
#[cold]
pub(crate) fn is_same_file(from: End<'_>, to: End<'_>) -> bool {
    matches!(left_of_same_file(from, to), Ok(Some(_)))
}

/// How many bytes a file has beyond the source's offset, if both ends are that file: two stats tell.
#[cold]
pub(crate) fn left_of_same_file(from: End<'_>, to: End<'_>) -> Result<Option<u64>, Errno> {
    let source = sys::stat(from.fd.fd())?;
    if source.kind != FileType::RegularFile || source.identity != sys::stat(to.fd.fd())?.identity {
        return Ok(None);
    }
    let position = from.offset.map_or_else(|| sys::position(from.fd.fd()), Ok)?;
    Ok(Some(source.len.saturating_sub(position)))
}
