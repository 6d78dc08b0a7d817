//! How a command says how it went.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::args::Output;
use crate::done::Done;
use crate::error::Failure;
use crate::say::say;
use crate::{errno, explain, sys};

/// Reports the outcome of `command`, and makes an exit status of it.
pub(crate) fn finish(
    command: &str,
    how: &Output,
    stdout_is_data: bool,
    outcome: &Result<Done, Failure>,
) -> ExitCode {
    let (done, failure) = match outcome {
        Ok(done) => (Some(done), None),
        Err(failure) => (failure.done.as_deref(), Some(failure)),
    };
    if let Some(done) = done {
        if how.explain {
            say(explain::explain(command, done));
        } else if failure.is_none() && !how.json && !how.quiet && io::stderr().is_terminal() {
            say(explain::summary(command, done));
        }
    }
    // With --json the object takes the place of the line that it contains.
    if how.json {
        print_json(&to_json(Some(command), done, failure), stdout_is_data);
    } else if let Some(failure) = failure {
        say(format_args!("zc {command}: {failure}"));
    }
    failure.map_or(ExitCode::SUCCESS, |failure| failure.exit.into())
}

/// Reports the outcome of one of the connections of `zc recv --keep-open`, in one line or object.
pub(crate) fn each(how: &Output, outcome: &Result<Done, Failure>) {
    const COMMAND: &str = "recv";
    let (done, failure) = match outcome {
        Ok(done) => (Some(done), None),
        Err(failure) => (failure.done.as_deref(), Some(failure)),
    };
    if how.json {
        print_json(&to_json(Some(COMMAND), done, failure), false);
    }
    match (done, failure) {
        (Some(done), _) if how.explain => say(explain::explain(COMMAND, done)),
        (Some(done), None) if !how.json && !how.quiet => {
            say(format_args!("zc {COMMAND}: {}", explain::received(done)));
        }
        _ => {}
    }
    if let (Some(failure), false) = (failure, how.json) {
        say(format_args!("zc {COMMAND}: {failure}"));
    }
}

/// The same for a command that has nothing to report but failure.
pub(crate) fn silent(command: &str, outcome: &Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("zc {command}: {failure}"));
            failure.exit.into()
        }
    }
}

/// Fails if standard output was closed before we began; std would print to /dev/null.
pub(crate) fn check_stdout() -> io::Result<()> {
    sys::inherited(1).map(drop)
}

/// What a command comes to whose whole work is to print.
pub(crate) fn printed(printed: io::Result<()>) -> Result<(), Failure> {
    match printed {
        // A reader that has gone does not need the rest.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Failure::io("cannot write -", &error)),
    }
}

/// Prints one object on standard output, or on standard error if that carries data or was closed.
pub(crate) fn print_json(object: &Value, stdout_is_data: bool) {
    // A reader that has gone does not need it.
    let _ = if stdout_is_data || check_stdout().is_err() {
        writeln!(io::stderr(), "{object}")
    } else {
        writeln!(io::stdout(), "{object}")
    };
}

/// The object that `zc --help` documents; without a command, if none could be made out.
pub(crate) fn to_json(
    command: Option<&str>,
    done: Option<&Done>,
    failure: Option<&Failure>,
) -> Value {
    let account = done.map(|done| done.account.clone()).unwrap_or_default();
    let mechanisms: Vec<Value> = account
        .parts()
        .map(|(mechanism, part)| {
            json!({
                "name": mechanism.to_string(),
                "tried": part.tried,
                "moved": part.moved,
                "errno": part.refused,
                "errno_name": part.refused.and_then(errno::name),
                "errno_text": part.refused.map(errno::text),
            })
        })
        .collect();
    let errno = failure.and_then(|failure| failure.errno);
    json!({
        "ok": failure.is_none(),
        "exit": failure.map_or(0, |failure| failure.exit),
        "command": command,
        "from": done.map(|done| &done.from.name),
        "to": done.map(|done| &done.to.name),
        "moved": account.moved,
        "holes": account.holes,
        "resumed": account.resumed,
        "residue": failure.map_or(0, |failure| failure.residue),
        "seconds": account.elapsed.as_secs_f64(),
        "calls": account.calls,
        "mechanism": account.mechanism().map(|mechanism| mechanism.to_string()),
        "mechanisms": mechanisms,
        "replied": done.and_then(|done| done.replied),
        "unacknowledged": failure.and_then(|failure| failure.unacknowledged),
        "kept": failure.and_then(|failure| failure.kept.as_deref()),
        "error": failure.map(|failure| failure.to_string()),
        "syscall": failure.and_then(|failure| failure.syscall),
        "errno": errno,
        "errno_name": errno.and_then(errno::name),
    })
}
