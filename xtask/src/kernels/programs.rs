//! The programs of the test kit, built as `cargo test` builds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::suite::Program;
use super::{Caught, output};

/// An executable that cargo has built.
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_test: bool,
}

/// Builds programs of the test kit, and what they start.
pub(crate) fn build(root: &Path, programs: &[Program<'_>]) -> Result<Vec<Executable>, Caught> {
    let mut messages = cargo(root, "zc-testkit", &["build", "--bins"])?;
    messages += &cargo(root, "zc-cli", &["build"])?;
    let tests = programs.iter().filter(|program| program.options.is_none());
    let names = tests.flat_map(|test| ["--test", test.binary()]);
    let args: Vec<_> = ["test", "--no-run"].into_iter().chain(names).collect();
    if args.len() > 2 {
        messages += &cargo(root, "zc-testkit", &args)?;
    }
    Ok(messages.lines().filter_map(executable).collect())
}

fn cargo(root: &Path, package: &str, args: &[&str]) -> Result<String, Caught> {
    let mut cargo = Command::new("cargo");
    cargo.args(args).args(["-p", package, "--message-format=json"]);
    output(cargo.current_dir(root))
}

fn executable(message: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?.into();
    let target = &message["target"];
    let name = target["name"].as_str()?.to_owned();
    let is_test = target["kind"].as_array()?.iter().any(|kind| kind == "test");
    Some(Executable { name, path, is_test })
}
