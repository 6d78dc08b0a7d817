//! `--explain`: what moved the bytes, and what did not.

use std::fmt::Write;

use zc_std::{Kind, Mechanism, PageSharing, route};

use crate::account::{Account, Part};
use crate::done::Done;
use crate::errno;
use crate::error::one_line;
use crate::size::{group, show};

/// A transfer in one line.
pub(crate) fn summary(command: &str, done: &Done) -> String {
    let account = &done.account;
    let by = match account.mechanism() {
        Some(mechanism) => format!(", by {mechanism}"),
        None => String::new(),
    };
    format!("zc {command}: {}{by}, {} system calls", rate(account), group(account.calls))
}

/// A transfer as one of many.
pub(crate) fn received(done: &Done) -> String {
    let (from, to) = (one_line(&done.from.name), one_line(&done.to.name));
    format!("{to} from {from}: {}", rate(&done.account))
}

/// A transfer, end by end and mechanism by mechanism.
pub(crate) fn explain(command: &str, done: &Done) -> String {
    let Done { from, to, account, .. } = done;
    let mut text = summary(command, done);
    let (source, sink) = (one_line(&from.name), one_line(&to.name));
    let _ = write!(text, "\n  from {source} ({})\n  to   {sink} ({})", from.kind, to.kind);
    if account.resumed > 0 {
        let _ = write!(text, "\n  after {} bytes that were there already", group(account.resumed));
    }
    if account.holes > 0 {
        let _ = write!(text, "\n  {:<16}{} bytes left out", "holes", group(account.holes));
    }
    for (mechanism, part) in account.parts() {
        let name = mechanism.to_string();
        let story = story(mechanism, part, account, (from.kind, to.kind));
        let _ = write!(text, "\n  {name:<16}{story}");
    }
    text
}

/// What became of one mechanism.
fn story(mechanism: Mechanism, part: Part, account: &Account, ends: (Kind, Kind)) -> String {
    let moved = match part.moved {
        0 => "nothing".into(),
        n => format!("{} bytes ({:.1} %)", group(n), 100.0 * n as f64 / account.moved as f64),
    };
    match part {
        Part { refused: Some(number), .. } => {
            format!("moved {moved}, then gave way: {}", errno::show(number))
        }
        Part { tried: true, moved: 0, .. } if mechanism == Mechanism::ReadWrite => {
            "tried, and saw the end of the input".into()
        }
        Part { tried: true, moved: 0, .. } => {
            "tried, moved nothing and saw no error: left to the next".into()
        }
        Part { tried: true, .. } => format!("moved {moved}"),
        Part { tried: false, .. } => match obstacle(mechanism, ends) {
            Some(obstacle) => format!("not tried: {obstacle}"),
            None => "not tried: not needed".into(),
        },
    }
}

/// Why `mechanism` is out of the question between two such ends, if it is.
fn obstacle(mechanism: Mechanism, (from, to): (Kind, Kind)) -> Option<&'static str> {
    if route(from, to, PageSharing::default()).any(|allowed| allowed == mechanism) {
        return None;
    }
    Some(match (mechanism, from, to) {
        (Mechanism::CopyFileRange, ..) => "it copies from file to file only",
        (Mechanism::Sendfile, Kind::File, _) => "it goes to sockets only",
        (Mechanism::Sendfile, ..) => "it reads from files only",
        (Mechanism::Discard, ..) => "it drops what TCP has for the null device only",
        (Mechanism::Splice, Kind::File, Kind::Pipe) => "the pipe would share the file's pages",
        (Mechanism::Splice, Kind::File, _) => "from a file there are better ways",
        (Mechanism::Splice, Kind::Other | Kind::Null | Kind::Messages, _) => {
            "the source is neither stream socket nor pipe"
        }
        (Mechanism::Splice, ..) => "the target is neither file, stream socket nor pipe",
        _ => return None,
    })
}

/// How much in what time.
fn rate(account: &Account) -> String {
    let seconds = account.elapsed.as_secs_f64();
    let rate = account.moved as f64 / seconds.max(1e-9);
    format!("{} in {seconds:.3} s ({}/s)", show(account.moved), show(rate as u64))
}
