//! Tests that may hang, spin, fork or use up what belongs to the whole process. Each runs in a process of its own,
//! which is killed if it does not end.

use std::any::type_name_of_val;
use std::ffi::OsStr;
use std::process::exit;
use std::time::Duration;

use crate::again::{self, Ended};
use crate::cli;

/// The variable that names the test to a test binary that was started again.
const TEST: &str = "ZC_TEST_APART";

/// Runs the body of a test in a process of its own, which has to succeed, and soon. The test is the function in which
/// the closure `body` is written.
///
/// # Panics
///
/// If the process fails, with what it printed; or if it hangs, and then it is killed along with all that it has
/// started.
pub fn apart(body: impl FnOnce()) {
    // `company::fork::a_test::{{closure}}`
    let name = type_name_of_val(&body);
    let (_crate, test) = name.split_once("::").expect("a test is in a crate");
    let test = test.split_once("::{{closure}}").expect("the body of a test is a closure").0;
    match std::env::var(TEST) {
        Ok(ours) if ours == test => {
            body();
            exit(0);
        }
        Ok(_) => {}
        Err(_) => start_again(test),
    }
}

/// [`apart`] for a test that runs `zc`, which is built before the time counts.
///
/// # Panics
///
/// As [`apart`] does.
pub fn apart_with_the_tool(body: impl FnOnce()) {
    cli::binary();
    apart(body);
}

fn start_again(test: &str) {
    // Each cell that fails has its line. A backtrace for each would bury these lines.
    let variables = [(TEST, OsStr::new(test)), ("RUST_BACKTRACE", OsStr::new("0"))];
    // Such a test takes a second or two.
    let Ended { status, text } = again::start_again(test, &variables, Duration::from_secs(20));
    assert!(status.success(), "{test}: {status}\n{text}");
}
