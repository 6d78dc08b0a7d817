//! The Linux engine of zc. Users want `zc-std`; drivers for other runtimes, and event loops, want [`Transfer`].
//!
//! Data flows one way through these modules:
//!
//! ```text
//! blocking  a loop around …
//!  ├ fast     … one read and one write, for frames
//!  ├ coalesce … a short wait, if asked for, so that small pieces arrive together
//!  ├ patience … an end of waiting, if asked for: a deadline, a minimum rate
//!  └ transfer … the resumable state machine. A step goes down both ends, once, and
//!     ├ plan     … decides how bytes go between its two descriptors, by
//!     │  ├ kind     what each of them is
//!     │  ├ table    what is known of such a pair: one row
//!     │  ├ pieces   what the source is yielding
//!     │  ├ overlap  whether a file is being copied into itself
//!     │  └ holes    where a source has holes, if they are to be kept
//!     ├ flight   keeps what was taken and not yet delivered: in memory, or in a
//!     │  └ pipe     … from the process's pool
//!     ├ report   counts what was moved, and how
//!     └ backend  moves bytes: one file per mechanism, each with an outcome, and over …
//!        ├ claim    … the range of a file that it moves, and
//!        └ sys      … the table of system calls (syscall: their names), which
//!           └ hook     … lets tests replace and record
//! ```
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
#[doc(hidden)]
pub mod fd;
mod flight;
mod handful;
mod holes;
#[cfg(feature = "hook")]
pub mod hook;
mod kind;
mod outcome;
mod patience;
mod pipe;
pub mod pool;
mod report;
mod sys;
mod syscall;
mod table;
mod transfer;

pub use blocking::{copy, drive, drive_within};
pub use kind::Kind;
pub use patience::Patience;
pub use report::Report;
pub use table::route;
pub use transfer::Transfer;
pub use zc_core::driver::{Mechanism, Options, PageSharing};
