//! Chores of the workspace: `cargo xtask --help`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api;
mod bench;
mod ci;
mod cost;
mod dist;
mod kernels;
mod kit;
mod scale;
mod skips;
mod test;

/// The result of a chore. An error is a message.
type Outcome = Result<(), Box<dyn Error>>;

#[derive(Parser)]
#[command(about, bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run what the gate runs
    Ci,
    Test(test::Args),
    Api(api::Args),
    Bench(bench::Args),
    /// Build the tool as it is handed out, with manual pages and completions
    Dist,
    /// Copy under every fault that can be injected, a million schedules and more
    Explore(kit::Args),
    /// Copy on many threads for a long time, and watch memory and descriptors
    Soak(kit::Args),
    Scale(scale::Args),
    Cost(cost::Args),
    Kernels(kernels::Args),
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Ci => ci::run(),
        Chore::Test(args) => test::run(&args),
        Chore::Api(args) => api::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Dist => dist::run(),
        Chore::Explore(args) => kit::run("explore", &args),
        Chore::Soak(args) => kit::run("soak", &args),
        Chore::Scale(args) => scale::run(&args),
        Chore::Cost(args) => cost::run(&args),
        Chore::Kernels(args) => kernels::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
