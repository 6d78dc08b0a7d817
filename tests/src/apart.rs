//! Tests that may hang, spin, fork or use up what is the whole process's: each in a process of its own,
//! which is killed if it does not end.

use std::any::type_name_of_val;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cli;
use crate::serial::serial;

/// Says to a test binary which test it has been started again for.
const TEST: &str = "ZC_TEST_APART";

/// A guard against hangs, and no measure of speed: a test takes a second or two. To debug one, set
/// `ZC_TEST_PATIENCE` to more seconds.
fn patience() -> Duration {
    let asked = std::env::var("ZC_TEST_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(20))
}

/// Runs the body of a test in a process of its own, which must end well, and soon. The test is the function
/// that the closure `body` is written in.
///
/// # Panics
///
/// If the process fails, with what it printed; or if it had to be killed, along with all that it has
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

/// [`apart`], for a test that runs `zc`, which is built before time counts.
///
/// # Panics
///
/// As [`apart`] does.
pub fn apart_with_the_tool(body: impl FnOnce()) {
    cli::binary();
    apart(body);
}

fn start_again(test: &str) {
    // Half of what is tested here are races, which need both processors.
    let _alone = serial();
    let mut child = Command::new(std::env::current_exe().expect("a test binary knows its path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(TEST, test)
        // Each cell that fails has its line; a trace for each would bury them.
        .env("RUST_BACKTRACE", "0")
        .env(cli::BINARY, cli::known_binary().unwrap_or(Path::new("")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the test binary can be started again");
    let group = Pid::from_child(&child);
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let hangs = ended.recv_timeout(patience()) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            let _ = kill_process_group(group, Signal::KILL);
        }
        hangs
    });
    let mut stderr = child.stderr.take().expect("piped");
    let errors = thread::spawn(move || {
        let mut said = Vec::new();
        stderr.read_to_end(&mut said).map(|_| said)
    });
    let mut text = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut text).expect("a pipe");
    text.extend(errors.join().expect("no panic").expect("a pipe"));
    let status = child.wait().expect("it is ours");
    drop(done);
    let hangs = watchdog.join().expect("no panic");
    // A test that has failed may have left processes behind, which would be in the way of the next.
    let _ = kill_process_group(group, Signal::KILL);

    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("running 0 tests"), "there is no test called {test}");
    assert!(!hangs, "{test} hangs\n{text}");
    assert!(status.success(), "{test}: {status}\n{text}");
    for line in text.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
}
