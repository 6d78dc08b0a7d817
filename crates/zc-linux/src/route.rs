//! Which mechanisms a pair of descriptors allows, in order.
//!
//! This is the table of the README, as code. Every route ends in read/write, which can move
//! anything that can be moved at all; what comes before it may refuse at any moment.

use crate::Mechanism::{self, CopyFileRange, ReadWrite, Sendfile, Splice};
use crate::kind::Kind;
use crate::options::PageSharing;

pub(crate) fn route(from: Kind, to: Kind, sharing: PageSharing) -> &'static [Mechanism] {
    match (from, to) {
        (Kind::File, Kind::File) => &[CopyFileRange, Sendfile, ReadWrite],
        // sendfile and splice lend page-cache pages to the receiver instead of copying them, so a
        // later write to the file changes bytes that were already sent. For sockets everybody
        // lives with it; for pipes it has surprised people (rust-lang/rust#108283).
        (Kind::File, Kind::Socket | Kind::Null) if sharing != PageSharing::Never => {
            &[Sendfile, ReadWrite]
        }
        (Kind::File, Kind::Pipe) if sharing == PageSharing::Always => &[Splice, ReadWrite],
        (Kind::Socket | Kind::Pipe, Kind::File | Kind::Socket | Kind::Pipe | Kind::Null) => {
            &[Splice, ReadWrite]
        }
        _ => &[ReadWrite],
    }
}
