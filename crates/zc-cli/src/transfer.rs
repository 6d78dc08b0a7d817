//! The copy that a command is about.

use std::io::Read;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use zc_std::{Copier, CopyError, Progress};

use crate::account::Account;
use crate::args::Bounds;
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::wait;

/// Copies `from` into `to` until its end or the limit, with a progress bar on a terminal.
pub(crate) fn run(
    copier: &mut Copier,
    from: &mut End,
    to: &mut End,
    bounds: &Bounds,
) -> Result<Done, Failure> {
    let bar = bar(bounds.total(from.len).or(bounds.expect));
    let mut account = Account::default();
    let started = Instant::now();
    let outcome = copy(copier, from, to, bounds, &bar, &mut account);
    account.elapsed = started.elapsed();
    bar.finish_and_clear();

    let done = Done { from: from.about.clone(), to: to.about.clone(), account, replied: None };
    let what = || format!("cannot copy {} to {}", from.about.name, to.about.name);
    match (outcome, bounds.expect) {
        (Err(Stop::Failed(error, residue)), _) => {
            Err(Failure::copy(what(), &error, residue).with(done))
        }
        (Err(Stop::Idle(time, residue)), _) => {
            Err(Failure::timeout(what(), time, residue).with(done))
        }
        (Ok(()), Some(expected)) if done.account.moved < expected => {
            Err(Failure::short(what(), expected).with(done))
        }
        (Ok(()), _) => Ok(done),
    }
}

/// Why a copy did not go on, and how many bytes it could not deliver.
enum Stop {
    Failed(CopyError, usize),
    /// Nothing moved for so long.
    Idle(Duration, usize),
}

/// Copies, and where an end that we inherited in non-blocking mode is not ready, waits for it.
fn copy(
    copier: &mut Copier,
    from: &mut End,
    to: &mut End,
    bounds: &Bounds,
    bar: &ProgressBar,
    account: &mut Account,
) -> Result<(), Stop> {
    let timeouts = (from.timeout, to.timeout);
    let source = Progress::new(&mut from.fd, |n| bar.inc(n));
    let mut source = source.take(bounds.limit.unwrap_or(u64::MAX));
    loop {
        let outcome = copier.copy(&mut source, &mut to.fd);
        account.add(copier.report());
        let error = match outcome {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let (timeout, ready) = match error.waits_for() {
            Some(zc_std::End::Source) if timeouts.0.is_none() => {
                (None, wait::readable(source.get_ref().get_ref(), None).is_ok())
            }
            Some(zc_std::End::Sink) if timeouts.1.is_none() => {
                (None, wait::writable(&to.fd).is_ok())
            }
            Some(zc_std::End::Source) => (timeouts.0, false),
            Some(zc_std::End::Sink) => (timeouts.1, false),
            None => (None, false),
        };
        if !ready {
            let residue = copier.take_residue().len();
            return Err(match timeout {
                Some(time) => Stop::Idle(time, residue),
                None => Stop::Failed(error, residue),
            });
        }
    }
}

/// A progress bar on standard error; hidden if that is not a terminal.
fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {binary_bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("a valid template"))
}
