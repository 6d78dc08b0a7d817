//! Completions and manual pages, made of the command line's own description.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::{Cli, Completions, ManPages};
use crate::error::Failure;
use crate::output;

const NAME: &str = "zc";

/// Prints the completions of a shell.
pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    // clap_complete offers hidden subcommands, too.
    let all = Cli::command();
    let visible = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command =
        clap::Command::new(NAME).version(env!("CARGO_PKG_VERSION")).subcommands(visible);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    let print = || {
        output::check_stdout()?;
        io::stdout().write_all(&script)?;
        io::stdout().flush()
    };
    output::printed(print())
}

/// Writes a manual page for zc and for each of its subcommands.
pub(crate) fn pages(args: &ManPages) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .map_err(|error| Failure::io(format!("cannot write to {}", args.dir.display()), &error))
}
