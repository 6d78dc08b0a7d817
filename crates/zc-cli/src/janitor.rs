//! Removes a temporary file whose writer is killed.
//!
//! A signal handler could do that only for the signals that can be caught, and takes unsafe code. A
//! process of its own sees every death of its parent, as the end of a pipe.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// A process that removes a file once this one is gone. Dropped, it is dismissed.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    /// Starts a janitor for `path`, if a process can be started.
    pub(crate) fn hire(path: &Path) -> Option<Janitor> {
        let child = Command::new("/proc/self/exe")
            .arg0("zc")
            .args(["janitor", "--"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the whole process group.
            .process_group(0)
            .spawn();
        child.ok().map(Janitor)
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b".");
        }
        let _ = self.0.wait();
    }
}

/// The janitor's process: waits for the other's end, or for its word that all is well.
pub(crate) fn run(path: &Path) -> ExitCode {
    let writer = parent_id();
    // Without, it does its work all the same, but for those signals.
    let _ = outlive_signals();
    if let Ok(0) = io::stdin().read_to_end(&mut Vec::new()) {
        // A dying process closes its pipes before it is gone, and perhaps before its files; FUSE
        // renames what is removed while it is open.
        for _ in 0..100 {
            if parent_id() != writer {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = std::fs::remove_file(path);
    }
    ExitCode::SUCCESS
}

/// A service manager that stops a service signals all its processes (systemd: `KillMode=control-group`), this one
/// perhaps before the one that it watches.
fn outlive_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
        // The handler stays.
        drop(signal(kind)?);
    }
    Ok(())
}
