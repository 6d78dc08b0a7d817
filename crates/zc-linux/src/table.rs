//! What is known of a pair of ends: one row a pair.
//!
//! This is the table of the README, as code. Every row ends in read/write, which moves anything that
//! can be moved. What comes before it may refuse at any moment.
//!
//! The figures behind `pays` and `max_call` are in docs/performance.md.

use zc_core::driver::{Mechanism, PageSharing};

use crate::kind::Kind;

/// A way from end to end: a mechanism, and whether it goes through a pipe of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    CopyFileRange,
    Sendfile,
    /// Taken from TCP, and dropped.
    Discard,
    /// One splice from end to end, one of which is a pipe.
    SpliceDirect,
    /// Two splices, with a pipe of our own between them.
    SpliceThrough,
    ReadWrite,
}

impl Way {
    pub(crate) fn mechanism(self) -> Mechanism {
        match self {
            Way::CopyFileRange => Mechanism::CopyFileRange,
            Way::Sendfile => Mechanism::Sendfile,
            Way::Discard => Mechanism::Discard,
            Way::SpliceDirect | Way::SpliceThrough => Mechanism::Splice,
            Way::ReadWrite => Mechanism::ReadWrite,
        }
    }
}

/// When a row's first ways pay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pay {
    /// From the first byte on.
    Always,
    /// Not at all: read/write costs less.
    Never,
    /// Once the source yields pieces of this size.
    FromPiecesOf(&'static Size),
}

/// How many bytes make a piece good.
#[derive(Debug)]
pub(crate) struct Size {
    /// A read that brings this many makes splicing worth a try.
    pub(crate) rich: u64,
    /// A splice that brings fewer than this many was not worth it.
    pub(crate) poor: u64,
    /// How many bytes in a row, with nothing more after them for now, are worth splicing; fewer are read.
    pub(crate) lone: u64,
}

/// For sinks that copy the bytes, or are lent the source's own pages.
pub(crate) static USUAL: Size = Size { rich: 16 * 1024, poor: 8 * 1024, lone: 32 * 1024 };

/// For sinks that are given whole pages, also for small pieces.
pub(crate) static PASSED_ON: Size = Size { rich: 4 * 1024, poor: 2 * 1024, lone: 0 };

/// What is known of a pair of ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The ways to be tried, in order. Never empty, and read/write is last.
    pub(crate) route: &'static [Way],
    /// The most bytes for one call.
    pub(crate) max_call: u64,
    /// When the route's first ways pay.
    pub(crate) pays: Pay,
}

/// The most that one call moves between two files. It is small enough for a progress bar, and large enough
/// to cost nothing where a call only shares blocks. (There four calls for 32 MiB take twice as long as one.)
/// A driver with other things to do has its budget.
const MAX_BETWEEN_FILES: u64 = 64 << 20;

/// The most that one call moves between two files where it shares nothing and one of the offsets is the open
/// file's. That offset is at the end of the claim while the call lasts, and stays there if the process is
/// killed. The claims of one such call take 0.8 µs, the copy 150 µs and more.
pub(crate) const MAX_CLAIMED: u64 = 1 << 20;

/// The most that one sendfile sends. Into a blocking socket the call lasts until all of it is sent, which
/// over a slow link is long for a caller that watches the progress.
///
/// All but the last 64 KiB of a call are sent as if with MSG_MORE. Into TCP over loopback that can make
/// sender and receiver take turns, at twice the cost. With 4 MiB a call they did so in half of all runs
/// (359 and 414 ns/KiB, against 215), with this much in none. Where they do not, the additional calls cost
/// 2 to 3 %.
const MAX_SENT: u64 = 512 * 1024;

/// How much goes from a file into a pipe at a time: half of what one holds by default, so that its reader
/// works on the other half. With all of it at a time the two wait for each other, and a copy takes up to
/// twice as long.
const MAX_INTO_PIPE: u64 = 32 * 1024;

const READ_WRITE: Row = Row { route: &[Way::ReadWrite], max_call: u64::MAX, pays: Pay::Always };

pub(crate) fn row(from: Kind, to: Kind, sharing: PageSharing) -> Row {
    use Kind::{File, Mptcp, Null, Pipe, StreamSocket, Tcp};
    use Way::{CopyFileRange, Discard, ReadWrite, Sendfile, SpliceDirect, SpliceThrough};

    // What comes from a socket or pipe may be pages of a file, too: of the sender's, if it used sendfile on
    // this machine. A file system copies what is spliced into it.
    let may_share = sharing != PageSharing::Never || matches!(to, File | Null);
    let (route, max_call, pays): (&'static [Way], _, _) = match (from, to) {
        // copy_file_range shares blocks where the file system can, and copies in the kernel where not.
        // (sendfile between files would take the sink's offset without its lock, see `claim`.)
        (File, File) => {
            (&[CopyFileRange, SpliceThrough, ReadWrite], MAX_BETWEEN_FILES, Pay::Always)
        }
        // sendfile and splice lend page-cache pages to the receiver instead of copying them, so a later
        // write to the file changes bytes that were already sent. Into sockets that is what servers do;
        // into pipes it has surprised users (rust-lang/rust#108283).
        (File, Tcp | Mptcp | StreamSocket) if may_share => {
            (&[Sendfile, ReadWrite], MAX_SENT, Pay::Always)
        }
        (File, Null) if sharing != PageSharing::Never => {
            (&[Sendfile, ReadWrite], MAX_BETWEEN_FILES, Pay::Always)
        }
        (File, Pipe) if sharing == PageSharing::Always => {
            (&[SpliceDirect, ReadWrite], MAX_INTO_PIPE, Pay::Always)
        }
        (File, Pipe) => (&[ReadWrite], MAX_INTO_PIPE, Pay::Always),
        // MPTCP copies every byte into the pipe.
        (Mptcp, Null) => (&[SpliceThrough, ReadWrite], u64::MAX, Pay::Never),
        // The size of the pieces decides what comes after Discard, which costs less than a read of any size.
        (Tcp, Null) => (&[Discard, SpliceThrough, ReadWrite], u64::MAX, Pay::FromPiecesOf(&USUAL)),
        (Tcp | Mptcp | StreamSocket, File | Null) => {
            (&[SpliceThrough, ReadWrite], u64::MAX, Pay::FromPiecesOf(&USUAL))
        }
        // TCP sends foreign pages one by one, which takes longer than copying them. Its own are large.
        (StreamSocket, Tcp | Mptcp) if may_share => {
            (&[SpliceThrough, ReadWrite], u64::MAX, Pay::Never)
        }
        // Not straight into another process's pipe. A splice that waits for a socket keeps the pipe that
        // it fills locked (splice_file_to_pipe), and that pipe's reader waits, even with bytes in it.
        (StreamSocket, Pipe) if may_share => {
            (&[SpliceThrough, ReadWrite], u64::MAX, Pay::FromPiecesOf(&PASSED_ON))
        }
        (Tcp | Mptcp | StreamSocket, Tcp | Mptcp | StreamSocket | Pipe) if may_share => {
            (&[SpliceThrough, ReadWrite], u64::MAX, Pay::FromPiecesOf(&USUAL))
        }
        // Not straight from a pipe into a file or socket. One call would wait with that pipe locked, and
        // with write access to the file system: fsfreeze(8) waits for that, and all writers wait for
        // fsfreeze.
        (Pipe, File) => (&[SpliceThrough, ReadWrite], u64::MAX, Pay::Always),
        (Pipe, Tcp | Mptcp | StreamSocket) if may_share => {
            (&[SpliceThrough, ReadWrite], u64::MAX, Pay::Always)
        }
        // Between two pipes the kernel waits with neither locked.
        (Pipe, Pipe) if may_share => {
            (&[SpliceDirect, SpliceThrough, ReadWrite], u64::MAX, Pay::Always)
        }
        (Pipe, Null) => (&[SpliceDirect, SpliceThrough, ReadWrite], u64::MAX, Pay::Always),
        _ => return READ_WRITE,
    };
    Row { route, max_call, pays }
}

/// The mechanisms that a copy between two ends of these kinds tries, in order: a row of the
/// [table](crate#what-moves-what). The last is always read/write.
///
/// ```
/// use zc_linux::{Kind, Mechanism, PageSharing, route};
///
/// let route = route(Kind::Tcp, Kind::File, PageSharing::default());
/// assert!(route.eq([Mechanism::Splice, Mechanism::ReadWrite]));
/// ```
pub fn route(from: Kind, to: Kind, sharing: PageSharing) -> impl Iterator<Item = Mechanism> {
    let mut last = None;
    let ways = row(from, to, sharing).route.iter().map(|way| way.mechanism());
    ways.filter(move |mechanism| last.replace(*mechanism) != Some(*mechanism))
}
