//! Cases that change their whole process (its limits, its user, its allowed system calls), each in a process of its
//! own.
//!
//! The test binary starts itself again with one test selected and the case named in the environment. The case's body
//! runs only there. So no process that has threads is forked.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::process::exit;
use std::time::Duration;

use crate::again::{Ended, start_again};

/// The variable that names the case to a test binary that was started again.
const CASE: &str = "ZC_TEST_CASE";

/// Runs `body` in a process of its own, which has to succeed. `test` is the name of the calling test, and `case` is
/// unique within it.
///
/// # Panics
///
/// If the process fails, with what it printed; or if it hangs, and then it is killed along with all that it has
/// started.
#[track_caller]
pub fn run(test: &str, case: &str, body: impl FnOnce()) {
    run_with(test, case, &[], body);
}

/// [`run`], with `variables` in the process's environment.
///
/// # Panics
///
/// As for [`run`].
#[track_caller]
pub fn run_with(test: &str, case: &str, variables: &[(&str, &OsStr)], body: impl FnOnce()) {
    let Some(Ended { status, text }) = spawn(test, case, variables, body) else { return };
    assert!(status.success(), "case {case} of {test}: {status}\n{text}");
}

/// Runs `body` in a process of its own, which gets `variables` and has to be killed by `signal`. `true` in the
/// process that has seen this happen, and can look at what is left.
///
/// # Panics
///
/// If it ends in any other way.
#[track_caller]
pub fn run_until_killed_with(
    test: &str,
    case: &str,
    variables: &[(&str, &OsStr)],
    signal: i32,
    body: impl FnOnce(),
) -> bool {
    let Some(Ended { status, text }) = spawn(test, case, variables, body) else { return false };
    assert_eq!(status.signal(), Some(signal), "case {case} of {test}: {status}\n{text}");
    true
}

/// What the process printed and how it ended; `None` in a process that is started for another case.
#[track_caller]
fn spawn(
    test: &str,
    case: &str,
    variables: &[(&str, &OsStr)],
    body: impl FnOnce(),
) -> Option<Ended> {
    if let Ok(ours) = std::env::var(CASE) {
        if ours == case {
            body();
            exit(0);
        }
        return None;
    }
    let test = full_name(Location::caller().file(), test);
    let variables = [(CASE, OsStr::new(case))].iter().chain(variables).copied().collect::<Vec<_>>();
    Some(start_again(&test, &variables, Duration::from_secs(120)))
}

/// The name that libtest has for it: the modules of `file` come first.
fn full_name(file: &str, test: &str) -> String {
    let path = file.rsplit_once("tests/tests/").map_or(file, |(_, path)| path);
    let modules = path.trim_end_matches(".rs").split('/').skip(1);
    let modules = modules.filter(|module| !["main", "mod"].contains(module));
    modules.flat_map(|module| [module, "::"]).chain([test]).collect()
}
