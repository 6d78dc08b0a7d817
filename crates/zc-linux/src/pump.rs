//! The resumable state machine that moves bytes from one end to another.

use rustix::io::Errno;
use zc_core::{End, Fault, Held, Next, PollFd, Step, generic};

use crate::backend::{copy_file_range, read_write, sendfile, splice, splice_direct};
use crate::ends::{Inflow, Outflow};
use crate::flight::Flight;
use crate::options::Options;
use crate::plan::Plan;
use crate::report::{Mechanism, Report};
use crate::sys;

/// Moves bytes from one end to another, a step at a time, and never waits by itself.
///
/// A step makes as few system calls as move some bytes, says what it did, and returns. On
/// descriptors in non-blocking mode no step ever blocks: it answers [`Next::Readable`] or
/// [`Next::Writable`], and the driver waits in whatever way it likes (poll(2), a runtime's reactor).
/// On blocking descriptors a step blocks as they do.
///
/// Bytes taken and not yet delivered are in the pump, not in the driver: a driver can be dropped at
/// any point between steps, and another continue with the same pump.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_core::{Next, PollFd};
/// use zc_linux::{Inflow, Outflow, Pump};
///
/// let (mut client, from) = UnixStream::pair()?;
/// let (to, mut server) = UnixStream::pair()?;
/// from.set_nonblocking(true)?;
/// client.write_all(b"hello")?;
///
/// let mut pump = Pump::default();
/// let mut moved = 0;
/// loop {
///     let step = pump.step(Inflow::Fd(PollFd::of(&from)), Outflow::Fd(PollFd::of(&to)), u64::MAX);
///     moved += step.delivered;
///     match step.next {
///         Next::Again => {}
///         Next::Readable => break, // … or poll(2), and go on
///         other => panic!("{other:?}"),
///     }
/// }
/// assert_eq!((moved, pump.in_flight()), (5, 0));
/// # drop(to);
/// # let mut got = String::new();
/// # server.read_to_string(&mut got)?;
/// # assert_eq!(got, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Pump {
    options: Options,
    flight: Flight,
    plan: Option<Plan>,
    /// How many bytes reads of these ends without a plan have brought: all of them together, and the
    /// largest one.
    unplanned: (u64, u64),
    /// Whether bytes from these ends have been waited for.
    has_gathered: bool,
    report: Report,
    /// The mechanism of the last call that was to move bytes.
    last_tried: Option<Mechanism>,
}

impl Pump {
    /// A pump that goes about its work as `options` say.
    pub fn new(options: Options) -> Self {
        Pump { options, ..Pump::default() }
    }

    /// A pump with the default options and `held` in flight.
    pub fn holding(held: Held) -> Self {
        Pump { flight: Flight { held, pipe: None }, ..Pump::default() }
    }

    /// How it goes about its work; changes take effect with the next copy.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// How many bytes have been taken and not been delivered.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Readies the pump for another pair of ends. Bytes in flight stay, and are delivered first.
    pub fn restart(&mut self) {
        self.replan();
        self.report = Report::default();
        self.release();
    }

    /// The ends are about to change, within one copy.
    pub(crate) fn replan(&mut self) {
        self.plan = None;
        (self.unplanned, self.has_gathered) = ((0, 0), false);
    }

    /// The source's next bytes have been waited for, as small pieces are.
    pub(crate) fn gathered(&mut self) {
        self.has_gathered = true;
        if let Some(plan) = &mut self.plan {
            plan.learn.gathered();
        }
    }

    /// Gives back memory and pipe if they hold no bytes in flight; the next step gets them anew. For a
    /// driver that is about to wait.
    pub fn release(&mut self) {
        self.flight.release();
    }

    /// What was done since the last [`restart`](Pump::restart). Its count of calls is the business
    /// of the driver.
    pub fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Takes the bytes in flight out, in order.
    ///
    /// If the pipe cannot be read, which only a hook can cause, the bytes in it stay in flight.
    pub fn take_residue(&mut self) -> Vec<u8> {
        // Reading from a pipe of our own does not fail. A hook can make it seem so; the bytes are
        // worth asking for again.
        const PATIENCE: usize = 256;
        for _ in 0..PATIENCE {
            if self.flight.land().is_ok() {
                break;
            }
        }
        self.flight.held.take()
    }

    /// The call to name when `end` made the copy stop: the last one tried. The plan
    /// does not tell, since a copy that learns reads while it plans to splice.
    pub(crate) fn waiting_call(&self, end: End) -> &'static str {
        match self.last_tried {
            Some(Mechanism::Splice) => "splice",
            Some(Mechanism::Sendfile) => "sendfile",
            Some(Mechanism::CopyFileRange) => "copy_file_range",
            _ => match end {
                End::Source => "read",
                End::Sink => "write",
            },
        }
    }

    #[inline]
    fn tries(&mut self, mechanism: Mechanism) {
        self.last_tried = Some(mechanism);
        self.report.try_with(mechanism);
    }

    /// Delivers what is in flight, or else takes at most `limit` bytes and delivers what it can.
    ///
    /// [`Next::Done`]: the source has ended or `limit` is 0, and nothing is in flight. Between
    /// [`restart`](Pump::restart)s the two ends must stay the same, and `limit` may only fall.
    ///
    /// # Errors
    ///
    /// [`Next::Failed`] names the call and its error: the first that another mechanism could not
    /// avoid, or `InvalidInput` for a file copied into itself over its own bytes. Bytes in flight
    /// stay here, and another step begins with them. The step's counts hold all the same.
    #[inline(always)]
    pub fn step(&mut self, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
        // Small copies come by the thousand, and their cost is the way to the two calls and back.
        if let (Inflow::Fd(source), Outflow::Fd(sink)) = (&from, &to)
            && self.needs_no_plan(*source, limit)
        {
            return self.step_unplanned(*source, *sink, limit);
        }
        self.long_step(from, to, limit)
    }

    /// Whether there is nothing to do but to read and write.
    #[inline]
    fn needs_no_plan(&self, source: PollFd<'_>, limit: u64) -> bool {
        self.plan.is_none()
            && self.flight.pipe.is_none()
            && !Plan::pays(source, limit, self.unplanned.0, &self.options)
    }

    #[inline(always)]
    fn step_unplanned(&mut self, source: PollFd<'_>, sink: PollFd<'_>, limit: u64) -> Step {
        self.tries(Mechanism::ReadWrite);
        let step = read_write::relay_inline(&mut self.flight.held, source, sink, limit);
        self.report.deliver(Mechanism::ReadWrite, step.delivered);
        let (all, largest) = self.unplanned;
        self.unplanned = (all + step.taken, largest.max(step.taken));
        step
    }

    #[inline(never)]
    fn long_step(&mut self, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
        if self.in_flight() > 0 {
            let (delivered, next) = self.deliver(to);
            return Step { taken: 0, delivered, next };
        }
        if limit == 0 {
            return Step::idle(Next::Done);
        }
        if let (Inflow::Fd(source), Outflow::Fd(sink), None) = (&from, &to, &self.plan)
            && Plan::pays(*source, limit, self.unplanned.0, &self.options)
        {
            match Plan::make(*source, *sink, limit, self.unplanned.1, &self.options) {
                Ok(mut plan) => {
                    if self.has_gathered {
                        plan.learn.gathered();
                    }
                    self.plan = Some(plan);
                }
                Err(fault) => return Step::idle(Next::Failed(fault)),
            }
        }
        if self.plan.is_none() {
            // The read may have to wait; an earlier plan, or an earlier copy's bytes, may have left a
            // pipe here.
            self.flight.release_pipe();
            return match (from, to) {
                (Inflow::Fd(source), Outflow::Fd(sink)) => self.step_unplanned(source, sink, limit),
                (from, to) => self.read_write(from, to, limit),
            };
        }
        self.fill(from, to, limit)
    }

    /// Delivers once from what is in flight.
    #[inline(never)]
    pub(crate) fn deliver(&mut self, to: Outflow<'_>) -> (u64, Next) {
        if self.flight.held.is_empty() {
            if let Outflow::Fd(to) = &to
                && to.is_stream()
            {
                self.tries(Mechanism::Splice);
                match splice::deliver(&mut self.flight, to.fd()) {
                    Ok((delivered, next)) => {
                        self.report.deliver(Mechanism::Splice, delivered);
                        return (delivered, next);
                    }
                    Err(errno) => self.refuse(errno),
                }
            }
            if let Err(errno) = self.flight.land() {
                return (0, Next::Failed(Fault::new("read", errno)));
            }
        }
        self.tries(Mechanism::ReadWrite);
        let (delivered, next) = read_write::deliver(&mut self.flight, to);
        self.report.deliver(Mechanism::ReadWrite, delivered);
        (delivered, next)
    }

    /// Takes bytes by the first mechanism of the route that does not refuse, or by read/write if that
    /// pays.
    #[inline(never)]
    fn fill(&mut self, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
        loop {
            // Without two descriptors there is nothing to plan: a source may be read for its header,
            // and only then show one.
            let (Inflow::Fd(source), Outflow::Fd(sink), Some(plan)) = (&from, &to, &mut self.plan)
            else {
                return self.read_write(from, to, limit);
            };
            let limit = limit.min(plan.remaining).min(plan.piece());
            let (source, sink) = (*source, *sink);
            if plan.reads() {
                return self.read_as_planned(from, to, limit);
            }
            let mechanism = plan.route[0];
            let (from_fd, to_fd) = (source.fd(), sink.fd());
            let limit = limit.min(plan.learn.window_left()).min(plan.expected);
            let attempt = match mechanism {
                Mechanism::CopyFileRange => copy_file_range::step(from_fd, to_fd, limit),
                Mechanism::Sendfile => sendfile::step(from_fd, to_fd, limit),
                Mechanism::Splice if plan.needs_pipe() => {
                    splice::step(&mut self.flight, from_fd, to_fd, limit, self.options.pipe_size)
                }
                Mechanism::Splice => splice_direct::step(from_fd, to_fd, limit),
                Mechanism::ReadWrite => unreachable!("dealt with above"),
            };
            self.last_tried = Some(mechanism);
            self.report.try_with(mechanism);
            match attempt {
                // Only a read that returned 0 is the end of input.
                Ok(Step { next: Next::Done, .. }) => {
                    plan.only_read_write();
                    self.flight.release();
                }
                Ok(step) => {
                    plan.took(step.taken);
                    self.report.deliver(mechanism, step.delivered);
                    return step;
                }
                // No pipe can be had now, which says nothing about later.
                Err(errno @ (Errno::NOBUFS | Errno::MFILE | Errno::NFILE)) if plan.needs_pipe() => {
                    self.report.refuse(mechanism, errno);
                    plan.learn.no_pipe();
                    return self.read_as_planned(from, to, limit);
                }
                Err(Errno::AGAIN) if plan.needs_pipe() => {
                    self.flight.release();
                    return self.read_what_is_there(source, sink, limit);
                }
                Err(errno) => self.refuse(errno),
            }
        }
    }

    /// Reads and writes within the plan, unless that would mean to wait.
    ///
    /// The splice before it has already waited out the socket's timeout; this must not wait again.
    #[cold]
    fn read_what_is_there(&mut self, source: PollFd<'_>, sink: PollFd<'_>, limit: u64) -> Step {
        let (mut from, mut to) = (sys::ReaderOfWhatIsThere(source.fd()), sys::EndWriter(sink));
        self.tries(Mechanism::ReadWrite);
        let step = generic::step(&mut self.flight.held, &mut from, &mut to, limit);
        self.report.deliver(Mechanism::ReadWrite, step.delivered);
        if let Some(plan) = &mut self.plan {
            plan.took(step.taken);
        }
        step
    }

    /// Reads and writes within the plan.
    fn read_as_planned(&mut self, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
        self.flight.release();
        let step = self.read_write(from, to, limit);
        if let Some(plan) = &mut self.plan {
            plan.took(step.taken);
        }
        step
    }

    #[inline]
    fn read_write(&mut self, from: Inflow<'_>, to: Outflow<'_>, limit: u64) -> Step {
        self.tries(Mechanism::ReadWrite);
        let step = read_write::step(&mut self.flight, from, to, limit);
        self.report.deliver(Mechanism::ReadWrite, step.delivered);
        step
    }

    /// The current mechanism cannot do this copy: on to the next.
    fn refuse(&mut self, errno: Errno) {
        if let Some(plan) = &mut self.plan
            && let Some(refused) = plan.next_mechanism()
        {
            self.report.refuse(refused, errno);
        }
        self.flight.release();
    }
}
