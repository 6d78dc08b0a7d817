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

// Android's kernel is Linux. The `cfg` of each module keeps this the only error.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!(
    "zc-linux, and so zc-tokio and the tool, are for Linux and Android; on other Unixes zc-std copies by read and write"
);

#[cfg(any(target_os = "linux", target_os = "android"))]
mod backend;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod blocking;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod claim;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod clock;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod coalesce;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod fast;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[doc(hidden)]
pub mod fd;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod flight;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod handful;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod holes;
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "hook"))]
pub mod hook;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod kind;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod outcome;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod patience;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod pipe;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod pool;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod report;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod sys;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod syscall;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod table;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod transfer;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use blocking::{copy, drive, drive_within};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use kind::Kind;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use patience::Patience;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use report::Report;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use table::route;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use transfer::Transfer;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use zc_core::driver::{Mechanism, Options, PageSharing};
