//! Go's `io.Copy` as a receiver: a program of a few lines, built by the user's toolchain.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::cell::Method;
use super::figures::Run;
use crate::error::Failure;

/// The built program, gone when dropped.
#[derive(Debug)]
pub(crate) struct Go {
    program: PathBuf,
    _directory: tempfile::TempDir,
}

impl Go {
    /// Builds it with the toolchain `go`.
    pub(crate) fn build(go: &Path) -> Result<Go, Failure> {
        let what = || format!("cannot build the Go receiver with {}", go.display());
        let build = || -> io::Result<(Go, Output)> {
            let directory = tempfile::tempdir()?;
            std::fs::write(directory.path().join("main.go"), include_str!("upload.go"))?;
            let mut build = Command::new(go);
            build.current_dir(&directory).args(["build", "-o", "receiver", "main.go"]);
            let output = build.stdin(Stdio::null()).output()?;
            let program = directory.path().join("receiver");
            Ok((Go { program, _directory: directory }, output))
        };
        match build() {
            Ok((go, output)) if output.status.success() => Ok(go),
            Ok((_, output)) if said(&output).is_empty() => Err(Failure::new(what(), output.status)),
            Ok((_, output)) => Err(Failure::new(what(), said(&output))),
            Err(error) => Err(Failure::io(what(), &error)),
        }
    }

    /// Has it copy all of `socket` into `file`, from where that stands.
    pub(crate) fn copy(&self, socket: OwnedFd, file: &File) -> io::Result<Run> {
        let output = Command::new(&self.program)
            .stdin(socket)
            .stdout(file.try_clone()?)
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?;
        let text = said(&output);
        let times: Option<Vec<u64>> = text.split(' ').map(|word| word.parse().ok()).collect();
        match times.as_deref() {
            Some(&[wall, cpu]) if output.status.success() => Ok(Run {
                method: Method::Go,
                seconds: wall as f64 / 1e9,
                cpu_seconds: cpu as f64 / 1e9,
                calls: None,
            }),
            _ => Err(io::Error::other(format!("the Go receiver says: {text}"))),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
