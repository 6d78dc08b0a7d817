//! The search: single faults, pairs of faults, random schedules; and the shrinking of schedules that fail.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zc_std::hook::Record;

use super::misbehaviour::any;
use super::rng::Rng;
use super::watch::Watch;
use super::{Act, Faults, Menu, Misbehaviour, Schedule};

/// Explores one subject under faults.
///
/// A subject is a closure that builds fresh ends and runs a copy with the faults [armed](Faults::arm). It resumes the
/// copy for as long as it fails, and returns what is wrong, if anything is:
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use zc_std::{Copier, CopyError};
/// use zc_testkit::explorer::{Explorer, Faults, Menu};
///
/// let mut subject = |faults: &Faults| {
///     let (mut client, stream) = UnixStream::pair().unwrap();
///     client.write_all(b"all of it, in order").unwrap();
///     drop(client);
///
///     let (mut copier, mut out, mut moved) = (Copier::new(), Vec::new(), 0);
///     loop {
///         let armed = faults.arm();
///         let outcome = copier.copy(&mut &stream, &mut out);
///         drop(armed);
///         moved += match &outcome {
///             Ok(report) => report.moved(),
///             Err(error) => error.moved(),
///         };
///         if moved != out.len() as u64 {
///             return Err(format!("{moved} bytes reported, {} there", out.len()));
///         }
///         if outcome.is_ok() && out == b"all of it, in order" {
///             return Ok(());
///         }
///     }
/// };
/// let mut explorer = Explorer::new("unix to memory", &mut subject);
/// explorer.singles(Menu::Full).unwrap();
/// explorer.pairs(Menu::Brief).unwrap();
/// explorer.random(1, 100, 8).unwrap();
/// println!("{} schedules", explorer.runs());
/// ```
///
/// A subject has to be deterministic: under the same schedule, it makes the same calls. One that uses the pool of
/// pipes has to begin with [`pool::clear`](zc_std::pool::clear), and no other thread may copy meanwhile.
pub struct Explorer<'a> {
    name: String,
    subject: &'a mut Subject<'a>,
    watch: Watch,
    others: Vec<Act>,
    runs: u64,
    fired: u64,
    acts: u64,
    unjudged: u64,
}

/// What is explored: `Err` says what is wrong.
pub type Subject<'a> = dyn FnMut(&Faults) -> Result<(), String> + 'a;

/// A schedule under which the subject breaks its promises.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was explored, as the code that names it.
    pub subject: String,
    /// The shortest schedule that still fails.
    pub schedule: Schedule,
    /// What is wrong.
    pub violation: String,
    /// The calls that were made.
    pub trace: Vec<Record>,
}

impl fmt::Display for Failure {
    /// What is wrong, and a reproducer to be pasted into a test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation)?;
        writeln!(f, "the calls:")?;
        for (n, record) in self.trace.iter().enumerate() {
            let point = self.schedule.0.iter().find(|(at, _)| *at == n);
            let fault = point.map(|(_, fault)| format!("   <- {fault}")).unwrap_or_default();
            let call = record.call;
            writeln!(
                f,
                "  {n:3} {:?} {:?} -> {:?} len {} = {:?}{fault}",
                call.syscall, call.from, call.to, call.len, record.result
            )?;
        }
        writeln!(f, "#[test]\nfn reproducer() {{")?;
        writeln!(f, "    use zc_testkit::explorer::{{*, Misbehaviour::*, errno::*}};")?;
        writeln!(f, "    replay({}, {}).unwrap();", self.subject, self.schedule)?;
        writeln!(f, "}}")
    }
}

impl std::error::Error for Failure {}

impl fmt::Debug for Explorer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Explorer<'a> {
    /// An explorer of `subject`, which `name` identifies in reproducers.
    pub fn new(name: impl Into<String>, subject: &'a mut Subject<'a>) -> Self {
        let name = name.into();
        let watch = Watch::new(&name);
        let others = Vec::new();
        Explorer { watch, name, subject, others, runs: 0, fired: 0, acts: 0, unjudged: 0 }
    }

    /// Lets other users act at each call. What they do is part of a schedule, as faults are.
    #[must_use]
    pub fn among(mut self, others: Vec<Act>) -> Self {
        self.others = others;
        self
    }

    /// How many schedules were run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How many faults were injected in them.
    pub fn fired(&self) -> u64 {
        self.fired
    }

    /// How often other users acted in them.
    pub fn acts(&self) -> u64 {
        self.acts
    }

    /// How many of the schedules were not judged to their end.
    pub fn unjudged(&self) -> u64 {
        self.unjudged
    }

    /// Runs one schedule, and returns the calls that were made.
    ///
    /// # Errors
    ///
    /// What is wrong, with the schedule shrunk.
    pub fn run(&mut self, schedule: &Schedule) -> Result<Vec<Record>, Box<Failure>> {
        let (verdict, trace) = self.attempt(schedule);
        match verdict {
            Ok(()) => Ok(trace),
            Err(violation) => Err(Box::new(self.shrink(schedule, violation, trace))),
        }
    }

    /// Makes the Nth call misbehave in every way of `menu`, for every N until the run has fewer calls.
    ///
    /// # Errors
    ///
    /// The first schedule that fails.
    pub fn singles(&mut self, menu: Menu) -> Result<(), Box<Failure>> {
        let undisturbed = self.run(&Schedule::default())?;
        self.extend(&Schedule::default(), 0, &undisturbed, menu, 1)
    }

    /// Makes every pair of calls misbehave: for every single fault, every call after it in the run that it has
    /// changed.
    ///
    /// # Errors
    ///
    /// The first schedule that fails.
    pub fn pairs(&mut self, menu: Menu) -> Result<(), Box<Failure>> {
        let undisturbed = self.run(&Schedule::default())?;
        self.extend(&Schedule::default(), 0, &undisturbed, menu, 2)
    }

    /// Runs `schedule` with one more point at call `from` or later, for each such point, `depth` deep.
    fn extend(
        &mut self,
        schedule: &Schedule,
        from: usize,
        trace: &[Record],
        menu: Menu,
        depth: usize,
    ) -> Result<(), Box<Failure>> {
        for (n, seen) in trace.iter().enumerate().skip(from) {
            let others = self.others.iter().copied().map(Misbehaviour::Meanwhile);
            let all: Vec<_> = menu.of(seen).into_iter().chain(others).collect();
            for misbehaviour in all {
                let longer = schedule.with(n, misbehaviour);
                let disturbed = self.run(&longer)?;
                if depth > 1 {
                    self.extend(&longer, n + 1, &disturbed, menu, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Runs `count` random schedules of up to `longest` points, the same for the same `seed`.
    ///
    /// # Errors
    ///
    /// The first schedule that fails.
    pub fn random(&mut self, seed: u64, count: usize, longest: usize) -> Result<(), Box<Failure>> {
        let mut rng = Rng::new(seed);
        for _ in 0..count {
            let (mut schedule, mut n) = (Schedule::default(), rng.below(6));
            for _ in 0..1 + rng.below(longest) {
                let point = match self.others.len() {
                    others @ 1.. if rng.below(2) == 0 => {
                        // A fork takes as long as ten runs.
                        let act = match self.others[rng.below(others)] {
                            Act::Fork if rng.below(8) > 0 => self.others[0],
                            act => act,
                        };
                        Misbehaviour::Meanwhile(act)
                    }
                    _ => any(|bound| rng.below(bound)),
                };
                schedule.0.push((n, point));
                n += 1 + if rng.below(2) == 0 { 0 } else { rng.below(5) };
            }
            self.run(&schedule)?;
        }
        Ok(())
    }

    fn attempt(&mut self, schedule: &Schedule) -> (Result<(), String>, Vec<Record>) {
        self.runs += 1;
        self.watch.begin(schedule);
        let faults = Faults::new(schedule);
        let verdict = catch_unwind(AssertUnwindSafe(|| (self.subject)(&faults)))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic))));
        self.watch.end();
        self.fired += faults.fired() as u64;
        self.acts += faults.acts() as u64;
        self.unjudged += u64::from(faults.is_unjudged());
        (verdict, faults.trace())
    }

    /// Removes points for as long as the schedule still fails.
    fn shrink(&mut self, schedule: &Schedule, violation: String, trace: Vec<Record>) -> Failure {
        let subject = self.name.clone();
        let mut least = Failure { subject, schedule: schedule.clone(), violation, trace };
        let mut at = 0;
        while at < least.schedule.0.len() {
            let shorter = least.schedule.without(at);
            match self.attempt(&shorter) {
                (Err(violation), trace) => {
                    least = Failure { schedule: shorter, violation, trace, ..least };
                }
                (Ok(()), _) => at += 1,
            }
        }
        least
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("with no message")
}
