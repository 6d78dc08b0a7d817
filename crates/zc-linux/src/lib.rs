//! The Linux engine of zc.
//!
//! Data flows one way through these modules:
//!
//! ```text
//! blocking  a loop around …
//!  ├ fast     … one read and one write, for frames
//!  ├ coalesce … a short wait, if asked for, so that small pieces arrive together
//!  ├ patience … an end of waiting, if asked for: a deadline, a least rate
//!  └ transfer … the resumable state machine, which never waits. A step goes down both ends, once, and
//!     ├ plan     … decides what to do for the pair of descriptors at hand, by
//!     │  ├ kind     what stands behind each of them
//!     │  ├ table    what is known of such a pair: one row
//!     │  ├ pieces   what the source is yielding
//!     │  ├ overlap  whether a file is being copied into itself
//!     │  └ holes    where a source has holes, if they are to be kept
//!     ├ flight   keeps what was taken and not yet delivered: in memory, or in a
//!     │  └ pipe     … from the process's pool
//!     ├ report   counts what was moved, and how
//!     └ backend  moves bytes: one file per mechanism, each over …
//!        ├ claim    … the range of a file that is its to move, and
//!        └ sys      … the table of system calls, which
//!           └ hook     … lets tests replace and record
//! ```
//!
//! Users want `zc-std`. Drivers for other runtimes, and event loops, want [`Transfer`].
//!
//! # What moves what
//!
//! [`route`] is the table of the project's README as a function.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

// Android's kernel is Linux.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("zc-linux is the Linux engine of zc, and there is none for another system");

mod backend;
mod blocking;
mod claim;
mod coalesce;
mod fast;
mod flight;
mod holes;
#[cfg(feature = "hook")]
pub mod hook;
mod kind;
mod patience;
mod pipe;
pub mod pool;
mod report;
mod sys;
mod table;
mod transfer;

pub use blocking::{copy, drive, drive_within};
pub use kind::Kind;
pub use patience::Patience;
pub use report::Report;
pub use table::route;
pub use transfer::Transfer;
pub use zc_core::driver::{Mechanism, Options, PageSharing};

/// For the sibling crates, whose calls a hook should see like the engine's own.
#[doc(hidden)]
pub mod fd {
    use std::io;
    use std::os::fd::BorrowedFd;

    use zc_core::{End, PollFd};

    /// read(2), by way of the table.
    pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
        Ok(crate::sys::read_fd(fd, buf)?)
    }

    /// pread(2), by way of the table.
    pub fn read_at(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(crate::sys::read_end(at(fd, offset), buf)?)
    }

    /// pwrite(2), by way of the table.
    pub fn write_at(fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
        Ok(crate::sys::write_end(at(fd, offset), buf)?)
    }

    /// Where it stands, if it has places to read and write at.
    pub fn position(fd: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(crate::sys::position(fd)?)
    }

    /// Whether it is known to be in append mode.
    pub fn appends(fd: BorrowedFd<'_>) -> bool {
        crate::sys::appends(fd)
    }

    fn at(fd: BorrowedFd<'_>, offset: u64) -> End<'_> {
        End { fd: PollFd::stream(fd), offset: Some(offset) }
    }

    /// `SO_RCVLOWAT`, in bytes.
    pub fn low_water(fd: BorrowedFd<'_>) -> io::Result<u32> {
        Ok(crate::sys::low_water(fd)?)
    }

    /// The error that a socket has to report, which it does once (`SO_ERROR`).
    pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
        Ok(crate::sys::take_error(fd)?.map(io::Error::from))
    }

    /// Sets `SO_RCVLOWAT`, in bytes.
    pub fn set_low_water(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
        Ok(crate::sys::set_low_water(fd, bytes)?)
    }

    /// About how many bytes a socket takes without waiting: what its send buffer has left, which counts more
    /// than the bytes.
    pub fn room(fd: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(crate::sys::room(fd)?)
    }

    /// How many bytes a socket was given and its peer has not acknowledged, or read (`SIOCOUTQ`).
    pub fn unsent(fd: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(crate::sys::unsent(fd)?)
    }

    /// Sees to it that a TCP connection is reset when it is closed (`SO_LINGER` of no time).
    pub fn reset_when_closed(fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(crate::sys::reset_when_closed(fd)?)
    }

    /// write(2), by way of the table.
    pub fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
        Ok(crate::sys::write_fd(fd, buf)?)
    }
}
