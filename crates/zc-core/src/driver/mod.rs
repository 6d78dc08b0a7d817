//! What a driver or an engine needs, and users of a copy do not.
//!
//! An engine sees a source or a sink through all its layers at once. [`walk_source`] goes down to where the next
//! bytes come from, and lets the engine take some there. It tells every layer on the way back up. [`walk_sink`] does
//! the same for where the bytes go. The engine tells its driver what it did by a [`Step`]. Bytes that it has taken
//! and not delivered wait in a [`Buffer`]. A driver chooses by [`Options`]; [`Mechanism`] names what moved the bytes.
//!
//! The engine for Linux is `zc_linux::Transfer`.

mod buffer;
// As `Watch` below.
#[doc(hidden)]
pub mod file_range;
mod mechanism;
pub mod one_layer;
mod options;
mod sink_walk;
mod source_walk;
mod step;
pub mod straight;
mod watch;

pub use buffer::{Buffer, retry, write_once};
pub use mechanism::Mechanism;
pub use options::{Options, PageSharing};
pub use sink_walk::{Manner, walk_sink};
pub use source_walk::{Bottom, Link, Reach, each_descriptor, walk_source};
pub use step::{Next, Step, StepError};
// What the crates of the drivers share, and nobody else needs.
#[doc(hidden)]
pub use source_walk::has_opaque_link;
#[doc(hidden)]
pub use watch::Watch;

use std::panic::{self, AssertUnwindSafe};

/// Calls what may panic, in a destructor: if it does while another panic unwinds, the first one goes
/// on. (Two at a time would end the process.)
fn in_drop(tell: impl FnOnce()) {
    if std::thread::panicking() {
        let _ = panic::catch_unwind(AssertUnwindSafe(tell));
    } else {
        tell();
    }
}
