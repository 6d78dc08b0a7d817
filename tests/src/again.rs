//! This test binary, started again with one test selected. The process is killed if it does not end, along with all
//! that it has started.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::{cli, fds, wait};

/// How a test ended in a process of its own.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that was printed.
    pub text: String,
}

/// Runs `test`, by its name in libtest, in a process that also gets `variables`.
///
/// `patience` is a guard against hangs, and not a measure of speed. To debug a test, set `ZC_TEST_PATIENCE` to more
/// seconds.
///
/// # Panics
///
/// If the process hung and was killed, with what it printed; or if there is no such test.
pub fn start_again(test: &str, variables: &[(&str, &OsStr)], patience: Duration) -> Ended {
    // The child's pipes are descriptors, too. And half of the tests run here are races, which need both processors.
    let _leaks = fds::no_leaks();
    let mut child = Command::new(std::env::current_exe().expect("a test binary knows its path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(cli::BINARY, cli::known_binary().unwrap_or(Path::new("")))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the test binary can be started again");
    let group = Pid::from_child(&child);
    let printed = [
        everything(child.stdout.take().expect("piped")),
        everything(child.stderr.take().expect("piped")),
    ];
    let its_end = pidfd_open(group, PidfdFlags::empty()).expect("it is ours");
    let asked = std::env::var("ZC_TEST_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    let patience = asked.map_or(patience, Duration::from_secs);
    let ended = wait::is_ready_within(its_end, PollFlags::IN, patience);
    // Before the process is waited for, while its number is no other's. A test that failed may have left processes
    // behind, which would disturb the next one and hold its pipes open.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().expect("it is ours");
    // libtest does not end the line that names a test if that test ends the process.
    let text = printed.map(|thread| thread.join().expect("no panic")).join("\n");

    assert!(ended, "{test} hangs\n{text}");
    // A name that selects no test succeeds, too, without a test.
    assert!(!text.contains("running 0 tests"), "there is no test called {test}");
    for line in text.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
    Ended { status, text }
}

/// Reads to the end, on a thread of its own.
fn everything(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        from.read_to_end(&mut text).expect("a pipe");
        String::from_utf8_lossy(&text).into_owned()
    })
}
