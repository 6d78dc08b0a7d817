//! The Linux engine of zc.
//!
//! Data flows one way through these modules:
//!
//! ```text
//! copy      the blocking driver: layers, limits and errors around …
//!  ├ coalesce waits a little, if asked to, so that small pieces arrive together
//!  └ pump   … the resumable state machine, which never waits, over …
//!     ├ route    which mechanisms a pair of descriptors deserves, in order
//!     ├ learn    which of them pays for what the source is yielding
//!     ├ flight   bytes taken and not yet delivered: in a pipe, or in memory
//!     └ backend  one file per mechanism, each making one kind of call of …
//!        └ sys   … the table of system calls, which `hook` can replace
//! ```
//!
//! Users want `zc-std`. Drivers for other runtimes want [`Pump`].

#![deny(unsafe_code)]

mod backend;
mod coalesce;
mod copy;
mod flight;
#[cfg(feature = "hook")]
pub mod hook;
mod kind;
mod learn;
mod overlap;
mod pipe;
mod pump;
mod report;
mod route;
mod sys;

pub use copy::copy;
pub use kind::Kind;
pub use pipe::pool;
pub use pump::{Inflow, Options, Outflow, PageSharing, Pump};
pub use report::{Mechanism, Report};
pub use sys::{is_stream, read, write};
