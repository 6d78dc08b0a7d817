//! The clock by which a source is judged fast or slow. Tests can stop it.

use std::time::Instant;

/// The time. It is not what a wait ends by: that goes on where a test has stopped this clock.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "hook")]
    if let Some(stopped) = crate::hook::stopped_at() {
        return stopped;
    }
    Instant::now()
}
