//! `cargo xtask explore` and `cargo xtask soak`: the long-running programs of the test kit.

use std::process::Command;

use crate::Outcome;

/// What is passed on to the program; `-- --help` shows it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Builds and runs a program of the test kit.
pub(crate) fn run(program: &str, args: &Args) -> Outcome {
    let status = Command::new("cargo")
        .args(["run", "--release", "-p", "zc-testkit", "--bin", program, "--"])
        .args(&args.options)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}").into()) }
}
