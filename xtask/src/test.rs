//! `cargo xtask test`: the tests, and at their end what they skipped.

use std::process::Command;

use crate::Outcome;
use crate::skips::Skips;

/// Run the tests, and say at the end what they skipped, and why
#[derive(clap::Args)]
pub(crate) struct Args {
    /// As `cargo test` takes them [default: --workspace]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs `cargo test`.
pub(crate) fn run(args: &Args) -> Outcome {
    let skips = Skips::begin()?;
    let workspace = ["--workspace".to_owned()];
    let options = if args.options.is_empty() { &workspace[..] } else { &args.options };
    let (name, path) = skips.variable();
    let status = Command::new("cargo").arg("test").args(options).env(name, path).status()?;
    skips.show()?;
    if status.success() { Ok(()) } else { Err(format!("cargo test: {status}").into()) }
}
