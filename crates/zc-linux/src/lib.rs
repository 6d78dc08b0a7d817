//! The Linux engine of zc.
//!
//! Data flows one way through these modules:
//!
//! ```text
//! copy      the blocking driver: layers, limits and errors around …
//!  ├ coalesce waits a little, if asked to, so that small pieces arrive together
//!  └ pump   … the resumable state machine, which never waits, over …
//!     ├ options  how its user wants it to work
//!     ├ ends     the two ends of a step: descriptors, or a `read` and a `write`
//!     ├ plan     what to do for the pair of descriptors at hand:
//!     │  ├ kind    what stands behind each of them
//!     │  ├ route   which mechanisms they allow, in order
//!     │  ├ prior   what is known about them beforehand
//!     │  ├ learn   which of them pays for what the source is yielding
//!     │  └ overlap whether a file is being copied into itself
//!     ├ flight   bytes taken and not yet delivered: in memory, or in a
//!     │  └ pipe    … from the process's pool
//!     ├ report   what was moved, and how
//!     └ backend  one file per mechanism, each making one kind of call of …
//!        └ sys   … the table of system calls, which
//!           └ hook  … lets tests replace and record
//! ```
//!
//! Users want `zc-std`. Drivers for other runtimes want [`Pump`].

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("zc-linux is the Linux engine of zc, and there is none for another system");

mod backend;
mod coalesce;
mod copy;
mod ends;
mod flight;
#[cfg(feature = "hook")]
pub mod hook;
mod kind;
mod learn;
mod options;
mod overlap;
mod pipe;
mod plan;
mod prior;
mod pump;
mod report;
mod route;
mod sys;

pub use backend::read_write::relay;
pub use copy::{copy, stopped};
pub use ends::{Inflow, Outflow};
pub use options::{Options, PageSharing};
pub use pipe::pool;
pub use plan::SMALL;
pub use pump::Pump;
pub use report::{Mechanism, Report};
pub use sys::{Make, make, read, write};
