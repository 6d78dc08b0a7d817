//! What a test says when this machine has not got what it needs.
//!
//! With `ZC_NO_SKIP` set, as it is where everything is known to be there, it fails instead.

/// What there is, or `None` and a line that says why there is nothing.
///
/// # Panics
///
/// If there is nothing and `ZC_NO_SKIP` is set.
#[track_caller]
pub fn or_skip<T>(wanted: Result<T, String>) -> Option<T> {
    match wanted {
        Ok(there) => Some(there),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

/// Says that something is skipped, and why.
///
/// # Panics
///
/// If `ZC_NO_SKIP` is set.
#[track_caller]
pub fn skip(why: &str) {
    assert!(std::env::var_os("ZC_NO_SKIP").is_none(), "ZC_NO_SKIP is set, but: {why}");
    eprintln!("skipped: {why}");
}
