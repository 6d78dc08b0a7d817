//! A schedule of faults, and the hook that carries it out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use zc_std::hook::{self, Action, Call, Record, Recorder};

use super::{Act, Misbehaviour};

/// Which calls misbehave, and how: `(n, misbehaviour)`, where `n` counts the calls from 0.
///
/// The count goes on from one copy of a run to the next, so that a schedule also reaches the copies that resume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(pub Vec<(usize, Misbehaviour)>);

impl Schedule {
    /// This schedule and one more point.
    #[must_use]
    pub fn with(&self, n: usize, misbehaviour: Misbehaviour) -> Schedule {
        let mut longer = self.clone();
        longer.0.push((n, misbehaviour));
        longer
    }

    /// This schedule without its `at`th point.
    #[must_use]
    pub(crate) fn without(&self, at: usize) -> Schedule {
        let mut shorter = self.clone();
        shorter.0.remove(at);
        shorter
    }
}

impl fmt::Display for Schedule {
    /// As Rust source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("&[")?;
        for (i, (n, misbehaviour)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}({n}, {misbehaviour})")?;
        }
        f.write_str("]")
    }
}

type Forbid = Box<dyn Fn(&Call, Misbehaviour) -> bool>;
type BeforeCall = Box<dyn FnMut(&Call)>;
type Others = Box<dyn FnMut(Act) -> Result<bool, String>>;

/// The faults of one run, handed to the subject that is explored.
///
/// The subject [arms](Faults::arm) them around each copy, and only there: its own preparations and checks in between
/// neither misbehave nor count.
pub struct Faults {
    state: Rc<State>,
    recorder: Recorder,
    trace: RefCell<Vec<Record>>,
    _hook: hook::Guard,
    /// Stopped, so that a schedule brings about the same calls on a busy machine, too.
    _clock: hook::StoppedClock,
}

#[derive(Default)]
struct State {
    plan: BTreeMap<usize, Misbehaviour>,
    armed: Cell<bool>,
    /// How many calls there have been while armed.
    calls: Cell<usize>,
    /// The points of the schedule that were reached and had an effect.
    fired: RefCell<Vec<usize>>,
    /// How much a call that takes bytes moves at most without a fault.
    chunk: Cell<usize>,
    forbid: RefCell<Option<Forbid>>,
    before_call: RefCell<Option<BeforeCall>>,
    others: RefCell<Option<Others>>,
    /// How often other users have acted.
    acts: Cell<usize>,
    /// What went wrong in other users' acts.
    complaint: RefCell<Option<String>>,
    unjudged: Cell<bool>,
}

impl State {
    fn decide(&self, call: &Call) -> Action {
        if !self.armed.get() {
            return Action::Proceed;
        }
        if let Some(before) = self.before_call.borrow_mut().as_mut() {
            before(call);
        }
        let n = self.calls.replace(self.calls.get() + 1);
        if let Some(Misbehaviour::Meanwhile(act)) = self.plan.get(&n) {
            self.act(*act);
        } else if let Some(action) = self.fault(n, call) {
            self.fired.borrow_mut().push(n);
            return action;
        }
        match self.chunk.get() {
            0 => Action::Proceed,
            chunk if call.from.is_some() && call.len > chunk => Action::Limit(chunk),
            _ => Action::Proceed,
        }
    }

    fn act(&self, act: Act) {
        if let Some(others) = self.others.borrow_mut().as_mut() {
            match others(act) {
                Ok(did) => self.acts.set(self.acts.get() + usize::from(did)),
                Err(wrong) => *self.complaint.borrow_mut() = Some(format!("{act:?}: {wrong}")),
            }
        }
    }

    fn fault(&self, n: usize, call: &Call) -> Option<Action> {
        let misbehaviour = self.plan.get(&n).copied()?;
        let forbidden =
            self.forbid.borrow().as_ref().is_some_and(|forbid| forbid(call, misbehaviour));
        if forbidden { None } else { misbehaviour.action(call) }
    }
}

impl Faults {
    /// Installs the hook for `schedule` on this thread. It has no effect until it is armed.
    pub fn new(schedule: &Schedule) -> Self {
        let plan = schedule.0.iter().copied().collect();
        let state = Rc::new(State { plan, ..State::default() });
        let decider = Rc::clone(&state);
        Faults {
            state,
            recorder: hook::record(),
            trace: RefCell::default(),
            _hook: hook::replace(move |call| decider.decide(call)),
            _clock: hook::stop_clock(),
        }
    }

    /// Lets calls misbehave for as long as the guard lives.
    pub fn arm(&self) -> Armed<'_> {
        self.recorder.clear();
        self.state.armed.set(true);
        Armed { faults: self }
    }

    /// Forbids faults that no kernel would inject into this subject. (A short read of a datagram loses the rest of
    /// it, so it is no fault that a copy could survive.)
    pub fn forbid(&self, forbid: impl Fn(&Call, Misbehaviour) -> bool + 'static) {
        *self.state.forbid.borrow_mut() = Some(Box::new(forbid));
    }

    /// Lets calls move at most this many bytes without a fault, as from a sender of pieces.
    pub fn chunk(&self, bytes: usize) {
        self.state.chunk.set(bytes);
    }

    /// Runs `before` ahead of every call that is made while armed, to play the peer of a full sink.
    pub fn before_call(&self, before: impl FnMut(&Call) + 'static) {
        *self.state.before_call.borrow_mut() = Some(Box::new(before));
    }

    /// Calls `others` where the schedule has another user act. It returns whether the user could.
    pub fn others(&self, others: impl FnMut(Act) -> Result<bool, String> + 'static) {
        *self.state.others.borrow_mut() = Some(Box::new(others));
    }

    /// Drops what [`before_call`](Faults::before_call) and [`others`](Faults::others) were given, and so the
    /// descriptors in it.
    pub fn let_be(&self) {
        *self.state.before_call.borrow_mut() = None;
        *self.state.others.borrow_mut() = None;
    }

    /// How often other users have acted so far.
    pub fn acts(&self) -> usize {
        self.state.acts.get()
    }

    /// What went wrong in other users' acts, if anything did.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.state.complaint.borrow().clone()
    }

    /// Ends the judging of this run.
    pub(crate) fn give_up_judging(&self) {
        self.state.unjudged.set(true);
    }

    /// Whether this run was not judged to its end.
    pub(crate) fn is_unjudged(&self) -> bool {
        self.state.unjudged.get()
    }

    /// All calls made while armed, in the order in which the schedule counts them.
    pub fn trace(&self) -> Vec<Record> {
        self.trace.borrow().clone()
    }

    /// How many points of the schedule have been reached and had an effect.
    pub fn fired(&self) -> usize {
        self.state.fired.borrow().len()
    }

    /// Whether the schedule injected the answer to call `n`, or made it short.
    pub(crate) fn injected(&self, n: usize) -> bool {
        self.state.fired.borrow().contains(&n)
    }

    /// How many calls there have been while armed.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.get()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &self.state.plan).finish_non_exhaustive()
    }
}

/// While this lives, the schedule is carried out.
#[derive(Debug)]
#[must_use = "dropping it disarms the faults"]
pub struct Armed<'a> {
    faults: &'a Faults,
}

impl Armed<'_> {
    /// Disarms, and returns the calls made since arming.
    pub fn disarm(self) -> Vec<Record> {
        self.faults.recorder.calls()
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.faults.state.armed.set(false);
        self.faults.trace.borrow_mut().extend(self.faults.recorder.calls());
    }
}
