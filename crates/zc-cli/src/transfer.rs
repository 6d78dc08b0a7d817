//! The copy that a command is about.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use zc_std::{Copier, CopyError, Progress};

use crate::account::Account;
use crate::args::Bounds;
use crate::bar::{Bar, Visible};
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::{sparse, wait};

/// What is to be copied, besides everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) bounds: Bounds,
    /// How many bytes the other end has already; both ends stand after them.
    pub(crate) resumed: u64,
    /// Whether the target is a file in which holes can be left.
    pub(crate) keep_holes: bool,
    pub(crate) visible: Visible,
}

/// Copies `from` into `to` until its end or the limit, with a progress bar on a terminal.
pub(crate) fn run(
    copier: &mut Copier,
    from: &mut End,
    to: &mut End,
    plan: &Plan,
) -> Result<Done, Failure> {
    let Plan { bounds, resumed, keep_holes, .. } = plan;
    let total = bounds.total(from.len).or(bounds.expect);
    // Of the two ends, that which has the name of a file and not of a peer.
    let named = if from.about.kind.is_socket() { &to.about } else { &from.about };
    let bar = Bar::new(plan.visible, &named.name, total, *resumed);
    let limit = bounds.limit.unwrap_or(u64::MAX);
    let account = Account::after(*resumed);
    let mut copy = Copy { copier, from, to, bar, account };
    let started = Instant::now();
    let outcome = if *keep_holes && sparse::has_holes(&copy.from.fd) {
        copy.data_only(limit)
    } else {
        copy.all(limit)
    };
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
        (Err(Stop::Io(error)), _) => Err(Failure::io(what(), &error).with(done)),
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
    /// A file's offset or length could not be set.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
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
                    (None, wait::readable(source.get_ref().get_ref(), None).is_ok())
                }
                Some(zc_std::Side::Sink) if timeouts.1.is_none() => {
                    (None, wait::writable(&to.fd).is_ok())
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

    /// Copies up to `limit` bytes of a file into another, and leaves holes where it has some.
    fn data_only(&mut self, limit: u64) -> Result<(), Stop> {
        let start = sparse::offset(&self.from.fd)?;
        let target = sparse::offset(&self.to.fd)?;
        let end = start.saturating_add(limit);
        let mut at = start;
        while at < end {
            let data = match sparse::next_data(&self.from.fd, at) {
                Ok(data) => data,
                Err(_) => {
                    // The file system knows no holes.
                    sparse::go_to(&self.from.fd, at)?;
                    return self.all(end - at);
                }
            };
            let next = match &data {
                Some(data) => data.start,
                None => sparse::len(&self.from.fd)?.max(at),
            }
            .min(end);
            self.hole(next - at, target + (next - start))?;
            sparse::go_to(&self.from.fd, next)?;
            at = next;
            let Some(data) = data else { break };
            let (before, want) = (self.account.moved, data.end.min(end).saturating_sub(at));
            self.all(want)?;
            let moved = self.account.moved - before;
            at += moved;
            if moved < want {
                // It has become shorter.
                break;
            }
        }
        Ok(())
    }

    /// Has the target end at `end`, after a hole.
    fn hole(&mut self, len: u64, end: u64) -> Result<(), Stop> {
        if len > 0 {
            sparse::end_at(&self.to.fd, end)?;
            sparse::go_to(&self.to.fd, end)?;
            self.account.skip(len);
            self.bar.inc(len);
        }
        Ok(())
    }
}
