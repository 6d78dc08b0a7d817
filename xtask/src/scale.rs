//! `cargo xtask scale`: a thousand copies at once, and one long one, as an ordinary user.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Outcome;

/// Run a thousand copies at once and one of 16 GiB, and assert that all is well
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The longest copy, in MiB
    #[arg(long, default_value_t = 16 << 10)]
    max: u64,
    /// Write the report here, too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let program = crate::bench::program()?;
    let mut scale = Command::new(program);
    scale.args(["scale", &(args.max << 20).to_string()]);
    let mut child = scale.stdout(Stdio::piped()).spawn()?;
    let mut report = String::new();
    for line in BufReader::new(child.stdout.take().expect("asked for")).lines() {
        let line = line?;
        println!("{line}");
        report += &(line + "\n");
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("scale: {status}").into());
    }
    if let Some(out) = &args.out {
        std::fs::write(out, report)?;
    }
    Ok(())
}
