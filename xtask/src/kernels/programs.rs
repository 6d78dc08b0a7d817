//! The test programs, built as `cargo test` builds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Caught, output};

/// An executable that cargo has built.
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_test: bool,
}

/// Builds the named tests of the test kit, and what they start.
pub(crate) fn build(root: &Path, names: &[&str]) -> Result<Vec<Executable>, Caught> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "-p", "zc-testkit", "--no-run", "--message-format=json"]);
    for name in names {
        cargo.args(["--test", name]);
    }
    let messages = output(cargo.current_dir(root))?;
    Ok(messages.lines().filter_map(executable).collect())
}

fn executable(message: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    Some(Executable {
        path: message["executable"].as_str()?.into(),
        name: target["name"].as_str()?.to_owned(),
        is_test: target["kind"].as_array()?.iter().any(|kind| kind == "test"),
    })
}
