//! `zc cp - -` between any two descriptors.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::cli::{self, zc};
use crate::running::{Running, start};

/// A running `zc cp - -`. It is killed when dropped, unless it has been waited for.
#[derive(Debug)]
#[must_use = "dropping it kills it"]
pub struct Tool(Running);

/// Starts a copy from `from` to `to`.
pub fn copies(from: impl Into<OwnedFd>, to: impl Into<OwnedFd>) -> Tool {
    let (from, to): (OwnedFd, OwnedFd) = (from.into(), to.into());
    let mut command = zc(["cp", "-", "-"]);
    Tool(start(command.stdin(from).stdout(to)))
}

/// Runs a script to its end with /bin/sh. `$ZC` in it is the tool.
///
/// # Panics
///
/// If it fails.
pub fn shell(script: &str, arguments: &[&str], to: impl Into<Stdio>) {
    let mut command = Command::new("/bin/sh");
    command.args(["-euc", script, "sh"]).args(arguments).env("ZC", cli::binary()).stdout(to);
    let status = command.status().expect("there is a shell");
    assert!(status.success(), "{status}: {script}");
}

impl Tool {
    /// The process, as [`until_it_sleeps`](crate::wait::until_it_sleeps) takes it.
    pub fn task(&self) -> String {
        self.0.id().to_string()
    }

    /// Waits for it, and asserts that it succeeded.
    #[track_caller]
    pub fn finish(mut self) {
        let status = self.0.wait().expect("it is ours");
        assert!(status.success(), "zc cp - -: {status}");
    }
}
