//! Wrong command lines, in one line like every other error.

use std::process::ExitCode;

use crate::error::{Failure, exit};
use crate::output::{self, print_json, to_json};
use crate::say::say;
use clap::error::ErrorKind;

/// Prints what clap has to say, and makes an exit status of it.
pub(crate) fn exit(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Its own way to print knows about colours and terminals.
            let printed = output::check_stdout().and_then(|()| error.print());
            return output::silent("help", &output::printed(printed));
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return exit::USAGE.into();
        }
        _ => {}
    }
    let message = one_line(&error.render().to_string());
    if std::env::args_os().any(|arg| arg == "--json") {
        print_json(&to_json(None, None, Some(&Failure::usage(message))), false);
    } else {
        say(format_args!("zc: {message}; see zc --help"));
    }
    exit::USAGE.into()
}

/// The first paragraph of clap's message; the rest is hints and usage.
fn one_line(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or(message);
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).into()
}
