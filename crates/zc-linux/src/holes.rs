//! Where a source has holes, looked up without a trace on its offset.
//!
//! `SEEK_DATA` is the only call that finds every byte that was written; FIEMAP leaves out what xfs has in its
//! copy-on-write fork, and tmpfs has none. But it moves the offset, and a read of another thread's or
//! process's in that moment would come from the wrong place. So the file is opened once more, by its name in
//! /proc, asked, and closed again at once.
//!
//! Closing it drops this process's record locks on the file (fcntl(2)), whichever descriptor took
//! them. So a file with record locks is left alone.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::sys::{self, Identity};

/// What a file has at an offset, and where that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Data(u64),
    Hole(u64),
    /// The file does not reach so far.
    Nothing,
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
    match sys::next_data(own, at) {
        Ok(data) if data > at => Ok(Extent::Hole(data)),
        Ok(_) => Ok(Extent::Data(sys::next_hole(own, at)?)),
        Err(Errno::NXIO) => match sys::stat(own)?.len {
            end if end > at => Ok(Extent::Hole(end)),
            _ => Ok(Extent::Nothing),
        },
        Err(errno) => Err(errno),
    }
}
