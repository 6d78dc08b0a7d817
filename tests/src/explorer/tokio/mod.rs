//! The async driver under faults: relays and one-way copies of `zc-tokio`, polled by hand.
//!
//! The ends are real, on a runtime of this thread with its clock stopped. A future is polled once at a time, and
//! [dropped](Drops) after every poll, after some, or never. In between, the peers feed and read, and the reactor
//! looks. The faults are those of copies, so that every call that the driver makes inside a poll can misbehave.
//!
//! An injected EAGAIN is false where the descriptor is ready: no edge follows. So the kernel is made to tell of the
//! readiness once more, once for each such answer. A run that stands still for another reason gets no help: it has
//! lost an edge.

mod ends;
mod run;
mod scenario;

pub use run::Trial;
pub use scenario::{Drops, EndKind, Ends, Scenario, Setup, SinkKind, SourceKind, all as cells};

use super::{Effort, Explorer, Failure, Faults, Misbehaviour, Schedule, Tally};

/// Explores one scenario, and adds to `tally`.
///
/// # Errors
///
/// The first schedule that fails, shrunk.
pub fn explore(
    scenario: &Scenario,
    effort: &Effort,
    tally: &mut Tally,
) -> Result<(), Box<Failure>> {
    let trial = Trial::new(*scenario);
    let mut subject = |faults: &Faults| trial.run(faults);
    let mut explorer = Explorer::new(scenario.to_string(), &mut subject);
    let outcome = effort.spend(&mut explorer);
    tally.runs += explorer.runs();
    tally.faults += explorer.fired();
    outcome
}

/// Runs one schedule of one scenario, as a reproducer does.
///
/// # Errors
///
/// What does not hold, with the schedule shrunk further if possible.
pub fn replay(scenario: &Scenario, schedule: &[(usize, Misbehaviour)]) -> Result<(), Box<Failure>> {
    let trial = Trial::new(*scenario);
    let mut subject = |faults: &Faults| trial.run(faults);
    let mut explorer = Explorer::new(scenario.to_string(), &mut subject);
    explorer.run(&Schedule(schedule.to_vec())).map(|_| ())
}
