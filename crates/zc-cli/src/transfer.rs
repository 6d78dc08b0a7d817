//! The copy that a command is about.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use zc_linux::fd::{wait_readable, wait_writable};
use zc_std::{Copier, CopyError, Progress};

use crate::account::Account;
use crate::args::Bounds;
use crate::bar::{Bar, Visible};
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;

/// What is to be copied, besides everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) bounds: Bounds,
    /// How many bytes the other end has already; both ends stand after them.
    pub(crate) resumed: u64,
    pub(crate) visible: Visible,
}

/// Copies `from` into `to` until its end or the limit, with a progress bar on a terminal.
pub(crate) fn run(
    copier: &mut Copier,
    from: &mut End,
    to: &mut End,
    plan: &Plan,
) -> Result<Done, Failure> {
    let Plan { bounds, resumed, .. } = plan;
    let total = bounds.total(from.len, *resumed).or(bounds.expect);
    // Of the two ends, that which has the name of a file and not of a peer.
    let named = if from.about.kind.is_socket() { &to.about } else { &from.about };
    let bar = Bar::new(plan.visible, &named.name, total, *resumed);
    let limit = bounds.limit.unwrap_or(u64::MAX);
    let account = Account::after(*resumed);
    let mut copy = Copy { copier, from, to, bar, account };
    let started = Instant::now();
    let outcome = copy.all(limit);
    let Copy { bar, mut account, .. } = copy;
    account.elapsed = started.elapsed();
    bar.finish();

    let done = Done { from: from.about.clone(), to: to.about.clone(), account, replied: None };
    let what = || format!("cannot copy {} to {}", from.about.name, to.about.name);
    match (outcome, bounds.expect) {
        (Err(Stop::Failed(error, residue)), _) => {
            Err(Failure::copy(what(), &error, residue).with(done))
        }
        (Err(Stop::Idle(time, residue)), _) => {
            Err(Failure::timeout(what(), time, residue).with(done))
        }
        (Ok(()), Some(expected)) if done.account.moved + resumed < expected => {
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

/// A copy under way.
struct Copy<'a> {
    copier: &'a mut Copier,
    from: &'a mut End,
    to: &'a mut End,
    bar: Bar,
    account: Account,
}

impl Copy<'_> {
    /// Copies up to `limit` bytes, and where an end that we inherited in non-blocking mode is not ready, waits
    /// for it.
    fn all(&mut self, limit: u64) -> Result<(), Stop> {
        let Copy { copier, from, to, bar, account } = self;
        let timeouts = (from.timeout, to.timeout);
        let source = Progress::new(&mut from.fd, |n| bar.inc(n));
        let mut source = source.take(limit);
        let mut outcome = copier.copy(&mut source, &mut to.fd);
        loop {
            account.add(copier.report());
            let error = match outcome {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let (timeout, ready) = match error.waits_for() {
                Some(zc_std::Side::Source) if timeouts.0.is_none() => {
                    (None, wait_readable(source.get_ref().get_ref().as_fd(), None).is_ok())
                }
                Some(zc_std::Side::Sink) if timeouts.1.is_none() => {
                    (None, wait_writable(to.fd.as_fd(), None).is_ok())
                }
                Some(zc_std::Side::Source) => (timeouts.0, false),
                Some(zc_std::Side::Sink) => (timeouts.1, false),
                None => (None, false),
            };
            if !ready {
                let residue = copier.take_residue().len();
                return Err(match timeout {
                    Some(time) => Stop::Idle(time, residue),
                    None => Stop::Failed(error, residue),
                });
            }
            outcome = copier.resume(&mut source, &mut to.fd);
        }
    }
}
