//! Where a source has holes, looked up without a trace on its offset.
//!
//! `SEEK_DATA` is the only call that finds every byte that was written; FIEMAP leaves out what xfs has in its
//! copy-on-write fork, and tmpfs has none. But it moves the offset, and meanwhile another thread or process
//! would read from the wrong place. So the file is opened once more, by its name in /proc, asked, and closed
//! at once.
//!
//! Closing it drops all record locks that this process has on the file (fcntl(2)). So a file with
//! record locks is left alone.

use std::ops::Range;
use std::os::fd::AsFd;

use rustix::io::Errno;
use zc_core::End;

use crate::kind::Nature;
use crate::sys::{self, Identity};

/// The most of a hole that one step passes over, alone. What is claimed must be moved, by way of memory if
/// others have gone on in the source and the sink then fails.
const ALONE: u64 = 16 << 30;

/// What a file has at an offset, and where that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Data(u64),
    Hole(u64),
    /// The file does not reach so far.
    Nothing,
}

/// What is known of a source's holes.
#[derive(Debug)]
pub(crate) struct Holes {
    pub(crate) identity: Identity,
    /// How long the source is known to be.
    pub(crate) known_end: u64,
    /// The most of a hole to pass over at once.
    pub(crate) max_step: u64,
    /// Where data was seen last. A hole is looked up at each step: what is written there meanwhile must not be
    /// missed.
    data: Range<u64>,
}

impl Holes {
    pub(crate) fn new(source: &Nature) -> Self {
        Holes { identity: source.identity, known_end: source.len, max_step: ALONE, data: 0..0 }
    }

    /// Whether it is worth while to look for any.
    pub(crate) fn are_likely(from: End<'_>) -> bool {
        sys::has_fewer_blocks(from.fd.fd())
    }

    /// Where the source stands, and what it has there.
    pub(crate) fn at(&mut self, from: End<'_>) -> Result<(u64, Extent), Errno> {
        let at = from.offset.map_or_else(|| sys::position(from.fd.fd()), Ok)?;
        if at >= self.known_end {
            return Ok((at, Extent::Nothing));
        }
        if self.data.contains(&at) {
            return Ok((at, Extent::Data(self.data.end)));
        }
        let extent = look(from.fd, self.identity, at)?;
        if let Extent::Data(until) = extent {
            // What lies before that end is moved as if the file had no holes: one opened with O_DIRECT is read
            // in whole blocks.
            self.data = at..if until < self.known_end { until } else { u64::MAX };
        }
        Ok((at, extent))
    }
}

/// What the file of this `identity` has at `at`. `Err`: that cannot be found out.
pub(crate) fn look(file: impl AsFd, identity: Identity, at: u64) -> Result<Extent, Errno> {
    let fd = file.as_fd();
    if sys::is_locked(fd)? {
        return Err(Errno::BUSY);
    }
    let own = sys::reopen(fd)?;
    let own = own.as_fd();
    // What is mounted on /proc may be something else.
    if sys::stat(own)?.identity != identity {
        return Err(Errno::BADF);
    }
    // Between the two calls others may make a hole where data was. No bytes of data would pass for the end.
    const PATIENCE: usize = 4;
    for _ in 0..PATIENCE {
        match sys::next_data(own, at) {
            Ok(data) if data > at => return Ok(Extent::Hole(data)),
            Ok(_) => match sys::next_hole(own, at)? {
                hole if hole > at => return Ok(Extent::Data(hole)),
                _ => {}
            },
            Err(Errno::NXIO) => {
                return Ok(match sys::stat(own)?.len {
                    end if end > at => Extent::Hole(end),
                    _ => Extent::Nothing,
                });
            }
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::AGAIN)
}
