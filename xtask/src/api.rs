//! `cargo xtask api`: the public items of each crate, a line each, as in docs/api.
//!
//! So a change of what users can type shows in a diff. It needs cargo-public-api and a nightly toolchain, whose
//! rustdoc writes JSON.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// The crates that programs depend on.
const CRATES: [&str; 4] = ["zc-core", "zc-linux", "zc-std", "zc-tokio"];

#[derive(clap::Args)]
#[command(about = "Write down each crate's public items, or see whether they have changed")]
pub(crate) struct Args {
    /// Compare, and write nothing
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let root = crate::root();
    let mut changed = Vec::new();
    for name in CRATES {
        let now = listing(root, name)?;
        let path = root.join(format!("docs/api/{name}.txt"));
        if !args.check {
            fs::write(&path, now)?;
        } else if fs::read(&path)? != now {
            changed.push(name);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let changed = changed.join(", ");
    Err(format!("the public items of {changed} are not those of docs/api: run cargo xtask api")
        .into())
}

fn listing(root: &Path, name: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let output = Command::new("rustup")
        .args(["run", "nightly", "cargo", "public-api", "-p", name, "--all-features", "-sss"])
        .args(["--target-dir", "target/api"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(output.stdout)
}
