//! A transfer driven by hand.

use zc_core::driver::{Next, Step};
use zc_core::{Sink, Source};
use zc_linux::{Options, Transfer, pool};

/// What a driver saw when it stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Bytes taken from the source.
    pub taken: u64,
    /// Bytes delivered to the sink.
    pub delivered: u64,
    /// Steps made.
    pub steps: usize,
    /// [`Next::Again`] if all steps were made.
    pub next: Next,
}

/// Makes one step, and asserts what has to hold after each.
#[track_caller]
pub fn step(
    transfer: &mut Transfer,
    from: &mut dyn Source,
    to: &mut dyn Sink,
    budget: u64,
) -> Step {
    let before = transfer.in_flight() as u64;
    let step = transfer.step(from, to, budget);
    let after = transfer.in_flight() as u64;
    assert_eq!(before + step.taken, step.delivered + after, "conservation: {step:?}");
    assert!(step.taken <= budget, "{} bytes for a budget of {budget}", step.taken);
    step
}

/// At most `steps` steps, until one has to wait.
#[track_caller]
pub fn run(
    transfer: &mut Transfer,
    from: &mut dyn Source,
    to: &mut dyn Sink,
    steps: usize,
) -> Stopped {
    let mut stopped = Stopped { taken: 0, delivered: 0, steps: 0, next: Next::Again };
    while stopped.steps < steps && matches!(stopped.next, Next::Again) {
        let step = step(transfer, from, to, u64::MAX);
        stopped.taken += step.taken;
        stopped.delivered += step.delivered;
        stopped.steps += 1;
        stopped.next = step.next;
    }
    stopped
}

/// No limit on the steps.
pub const ALL: usize = usize::MAX;

/// A transfer that adapts, or that uses the first mechanism from the first byte on.
pub fn transfer(adaptive: bool) -> Transfer {
    let mut options = Options::default();
    options.adaptive = adaptive;
    Transfer::new(options)
}

/// Parks the transfer, as a driver does before it waits. Then it keeps a pipe only if its bytes fill half of it.
#[track_caller]
pub fn park(transfer: &mut Transfer) {
    let in_flight = transfer.in_flight();
    transfer.park();
    assert_eq!(transfer.in_flight(), in_flight, "parking delivers nothing, and loses nothing");
    let fills_half = in_flight >= transfer.options().pipe_size / 2;
    assert!(fills_half || pool::in_use() == 0, "a pipe is held for {in_flight} bytes");
}
