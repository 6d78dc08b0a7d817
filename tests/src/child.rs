//! Cases that change their whole process (its limits, its user, its allowed system calls), each run
//! in a process of its own.
//!
//! The test binary starts itself again with one test selected and the case named in the
//! environment. There, and only there, the case's body runs; forking a process that has threads is
//! not needed for it.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, exit};

use crate::fds;

const CASE: &str = "ZC_TEST_CASE";

/// Runs `body` in a process of its own, which must end well. `test` is the name of the calling
/// test, `case` unique within it.
///
/// # Panics
///
/// If the process fails, with what it printed.
pub fn run(test: &str, case: &str, body: impl FnOnce()) {
    run_with(test, case, &[], body);
}

/// [`run`], with `variables` in the process's environment.
///
/// # Panics
///
/// As for [`run`].
pub fn run_with(test: &str, case: &str, variables: &[(&str, &OsStr)], body: impl FnOnce()) {
    let Some(output) = spawn(test, case, variables, body) else { return };
    let text = text(&output);
    assert!(output.status.success(), "case {case} of {test}: {}\n{text}", output.status);
    for line in text.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
}

/// Runs `body` in a process of its own, which gets `variables` and must be killed by `signal`.
/// `true` in the process that sees it happen, which is where to look at what is left behind.
///
/// # Panics
///
/// If it ends in any other way.
pub fn run_until_killed_with(
    test: &str,
    case: &str,
    variables: &[(&str, &OsStr)],
    signal: i32,
    body: impl FnOnce(),
) -> bool {
    let Some(output) = spawn(test, case, variables, body) else { return false };
    let killed = output.status.signal();
    assert_eq!(killed, Some(signal), "case {case} of {test}: {}\n{}", output.status, text(&output));
    true
}

/// What the process printed and how it ended; `None` in a child that is about another case.
fn spawn(
    test: &str,
    case: &str,
    variables: &[(&str, &OsStr)],
    body: impl FnOnce(),
) -> Option<Output> {
    if let Ok(ours) = std::env::var(CASE) {
        if ours == case {
            body();
            exit(0);
        }
        return None;
    }
    // The pipes of the child are descriptors too.
    let _leaks = fds::no_leaks();
    let exe = std::env::current_exe().expect("a test binary knows its path");
    let output = Command::new(exe)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .envs(variables.iter().copied())
        .output()
        .expect("the test binary can be started again");
    // A name that selects no test ends well too, without having run anything.
    let ran = !text(&output).contains("running 0 tests");
    assert!(ran, "there is no test called {test}");
    Some(output)
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}
