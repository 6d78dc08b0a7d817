//! A fault explorer. It makes the Nth system call of a copy misbehave, for every N, then every pair of calls, then
//! random schedules, and checks that no byte is lost.
//!
//! It stands on [`zc_std::hook`], and is of use to other crates. A type of your own that implements `Source`, `Sink`
//! or `ReadFrom`, a relay, an upload handler: all end in copies whose system calls can fail. [`Explorer`] takes any
//! closure that runs a copy and checks what you promise of it.
//!
//! zc's own copies are explored as [`Scenario`]s: an end each from the chain table, the layers around them, and how
//! the copy is made. [`Trial`] says what has to hold after each call of the copy; [`cells`](cells()) lists the
//! scenarios; [`Effort`] says how many schedules each one gets. `cargo test` explores for some seconds, and
//!
//! ```text
//! cargo run --release -p zc-testkit --bin explore
//! ```
//!
//! runs millions of schedules; with `--driver tokio`, of the [async driver](tokio). A schedule that fails is shrunk,
//! and printed as a test to paste, which calls [`replay`].
//!
//! # What is not a fault
//!
//! Only what a kernel may do is injected; [`Misbehaviour`] says what that is. No program could survive bytes that are
//! counted and not moved, or moved and not reported.

mod audit;
mod bytes;
mod cells;
mod census;
mod company;
mod drive;
mod ends;
mod event_loop;
mod faults;
mod layers;
mod misbehaviour;
mod rng;
mod scenario;
pub mod tokio;
mod trial;
mod watch;

pub use bytes::decode;
pub use cells::all as cells;
pub use census::Census;
pub use drive::{Explorer, Failure, Subject};
pub use faults::{Armed, Faults, Schedule};
pub use misbehaviour::{Act, Menu, Misbehaviour, errno};
pub use rng::Rng;
pub use scenario::{Engine, Mode, Scenario, SinkKind, SinkWrap, SourceKind, SourceWrap, Waiting};
pub use trial::Trial;

/// How many schedules one scenario gets.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The menu for single faults; `None` for none.
    pub singles: Option<Menu>,
    /// The menu for pairs of faults; `None` for none.
    pub pairs: Option<Menu>,
    /// How many schedules are random.
    pub random: usize,
    /// The seed of the random schedules.
    pub seed: u64,
}

impl Effort {
    fn spend(&self, explorer: &mut Explorer<'_>) -> Result<(), Box<Failure>> {
        if let Some(menu) = self.singles {
            explorer.singles(menu)?;
        }
        if let Some(menu) = self.pairs {
            explorer.pairs(menu)?;
        }
        explorer.random(self.seed, self.random, 12)
    }
}

/// How many schedules were run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Schedules.
    pub runs: u64,
    /// Faults injected in them.
    pub faults: u64,
    /// What other users did in them.
    pub acts: u64,
    /// Schedules that were not judged to their end. A fault and another user together took from a shared file what
    /// docs/reliability.md says that they may.
    pub unjudged: u64,
}

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
    let mut trial = Trial::new(scenario);
    let mut subject = |faults: &Faults| trial.run(faults);
    let mut explorer = Explorer::new(scenario.to_string(), &mut subject).among(scenario.acts());
    let outcome = effort.spend(&mut explorer);
    tally.runs += explorer.runs();
    tally.faults += explorer.fired();
    tally.acts += explorer.acts();
    tally.unjudged += explorer.unjudged();
    outcome
}

/// Runs one schedule of one scenario, as a reproducer does.
///
/// # Errors
///
/// What does not hold, with the schedule shrunk further if possible.
pub fn replay(scenario: &Scenario, schedule: &[(usize, Misbehaviour)]) -> Result<(), Box<Failure>> {
    let mut trial = Trial::new(scenario);
    let mut subject = |faults: &Faults| trial.run(faults);
    let mut explorer = Explorer::new(scenario.to_string(), &mut subject);
    explorer.run(&Schedule(schedule.to_vec())).map(|_| ())
}

/// Runs what `bytes` decode to, if they do, as a fuzzer does.
///
/// # Errors
///
/// What does not hold.
pub fn replay_bytes(bytes: &[u8]) -> Result<(), Box<Failure>> {
    decode(bytes).map_or(Ok(()), |(scenario, schedule)| replay(&scenario, &schedule))
}
