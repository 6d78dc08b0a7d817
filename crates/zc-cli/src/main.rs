//! `zc`: receives, sends and copies bytes, with the kernel doing the moving.
//!
//! One file per subcommand ([`recv`], [`send`], [`cp`], [`relay`], [`demo`]); they meet in [`transfer`], which
//! runs the one copy of the process, and in [`output`], which says how it went.

#![deny(unsafe_code)]
// They panic if the reader has gone, and a finished copy has not failed for that.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod account;
mod args;
mod bar;
mod copier;
mod cp;
mod demo;
mod descriptor;
mod done;
mod end;
mod endpoint;
mod errno;
mod error;
mod explain;
mod janitor;
mod keep_open;
mod manual;
mod output;
mod peer;
mod recv;
mod relay;
mod reply;
mod resume;
mod say;
mod seconds;
mod send;
mod sink;
mod size;
mod sys;
mod target;
mod transfer;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::exit(&error),
    };
    if let Err(error) = cli.command.check() {
        return usage::exit(&error);
    }
    match &cli.command {
        Command::Recv(args) if args.keep_open => output::silent("recv", &keep_open::run(args)),
        Command::Recv(args) => {
            output::finish("recv", &args.output, sink::is_standard(&args.file), &recv::run(args))
        }
        Command::Send(args) => {
            let replied_to = args.reply.as_deref().is_some_and(sink::is_standard);
            output::finish("send", &args.output, replied_to, &send::run(args))
        }
        Command::Cp(args) => {
            output::finish("cp", &args.output, sink::is_standard(&args.to), &cp::run(args))
        }
        Command::Completions(args) => output::silent("completions", &manual::completions(args)),
        Command::ManPages(args) => output::silent("man-pages", &manual::pages(args)),
        Command::Relay(args) => relay::run(args),
        Command::Demo(args) => demo::run(args),
        Command::DemoSender(args) => demo::sender(args),
        Command::Janitor(args) => janitor::run(&args.path),
    }
}
