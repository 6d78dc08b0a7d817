//! Hooks for tests: make the engine's system calls fail, fall short, or be recorded (feature
//! `hook`).
//!
//! [`replace`] decides call by call: let it proceed, let it move less, make it fail. [`record`] keeps
//! what was called and what came back. Both act on the calling thread alone, for as long as their
//! guard lives. They nest: the innermost hook is asked first, and the next one about what the first
//! lets proceed. Recorders see every call, with the answer that the engine saw.
//!
//! ```
//! use zc_linux::hook::{self, Action, Syscall};
//!
//! let file = std::fs::File::create("/dev/null")?;
//! let recorder = hook::record();
//! let _full_disk = hook::full_disk(&file, 1 << 20).install();
//! // … copy into `file`, and assert on the error and on `recorder.calls()`.
//! # assert!(recorder.calls().is_empty());
//! let _no_pipes = hook::replace(|call| match call.syscall {
//!     Syscall::Pipe => Action::Fail(24), // EMFILE
//!     _ => Action::Proceed,
//! });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`full_disk`], [`failing()`] and [`short`] are ready-made. [`every_thread()`] is for programs that copy on threads
//! of their own.

mod every_thread;
mod faults;
mod stopped_clock;

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::rc::Rc;

use rustix::io::Errno;

pub use crate::syscall::Syscall;
pub use every_thread::{EveryThread, ProcessGuard, VARIABLE, every_thread};
pub use faults::{Fault, FaultGuard, failing, full_disk, short};
pub(crate) use stopped_clock::stopped_at;
pub use stopped_clock::{StoppedClock, stop_clock};

/// A system call about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which one.
    pub syscall: Syscall,
    /// The descriptor that bytes come from, or that is asked about.
    pub from: Option<RawFd>,
    /// The descriptor that bytes go to, or that is changed.
    pub to: Option<RawFd>,
    /// How many bytes it may move at most; 0 for calls that move none.
    pub len: usize,
}

/// What becomes of a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call is made as it is.
    Proceed,
    /// The call is made, but moves at most this many bytes. With 0, a call that would move some is not
    /// made, and returns 0.
    Limit(usize),
    /// The call is not made, and fails with this errno.
    Fail(i32),
    /// The call is not made, and returns this number. Numbers other than 0 tell the engine of bytes that
    /// no call moved: mind what you are testing.
    Return(usize),
}

/// A call that was made, or kept from being made, and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The call, as the engine asked for it.
    pub call: Call,
    /// What the engine was told: a count, or an errno.
    pub result: Result<usize, i32>,
}

impl Record {
    /// How many bytes the call moved; 0 if it failed or is not one that moves bytes.
    pub fn moved(&self) -> usize {
        if self.call.len == 0 { 0 } else { self.result.unwrap_or(0) }
    }
}

type Hook = dyn FnMut(&Call) -> Action;
type Observer = dyn FnMut(&Record);

#[derive(Clone)]
enum Layer {
    Hook(Rc<RefCell<Hook>>),
    Observer(Rc<RefCell<Observer>>),
}

thread_local! {
    static LAYERS: RefCell<Vec<(u64, Layer)>> = const { RefCell::new(Vec::new()) };
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

/// Undoes a [`replace`] when dropped. Guards may be dropped in any order, also by a panic.
#[derive(Debug)]
#[must_use = "dropping the guard takes the hook away"]
pub struct Guard {
    id: u64,
    /// A guard belongs to its thread.
    not_send: PhantomData<Rc<()>>,
}

impl Guard {
    fn install(layer: Layer) -> Guard {
        let id = NEXT_ID.replace(NEXT_ID.get() + 1);
        LAYERS.with_borrow_mut(|layers| layers.push((id, layer)));
        Guard { id, not_send: PhantomData }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A guard in a thread-local of the user's, or in another hook, may outlive the list itself.
        let layer = LAYERS.try_with(|layers| {
            let mut layers = layers.borrow_mut();
            layers.iter().position(|(id, _)| *id == self.id).map(|at| layers.remove(at))
        });
        // Outside the borrow: the hook may own things whose drop copies bytes.
        drop(layer);
    }
}

/// Asks `hook` about every call that the engine makes on this thread, until the guard is dropped.
///
/// A call that the engine makes while the hook itself is running (the hook copies something) bypasses
/// that hook.
pub fn replace(hook: impl FnMut(&Call) -> Action + 'static) -> Guard {
    Guard::install(Layer::Hook(Rc::new(RefCell::new(hook))))
}

/// Records every call that the engine makes on this thread, until the recorder is dropped.
#[must_use = "dropping the recorder ends the recording"]
pub fn record() -> Recorder {
    let records = Rc::new(RefCell::new(Vec::new()));
    let list = Rc::clone(&records);
    Recorder { _guard: observe(move |record| list.borrow_mut().push(*record)), records }
}

/// Shows `observer` every call that the engine has made on this thread, with its outcome, until the guard is dropped.
///
/// A call that the engine makes while the observer itself is running bypasses that observer. An observer must not panic
/// where the copy goes on: the call has been made, and the engine would not learn what it moved. (A hook may, since it
/// is asked before.)
pub fn observe(observer: impl FnMut(&Record) + 'static) -> Guard {
    Guard::install(Layer::Observer(Rc::new(RefCell::new(observer))))
}

/// What [`record`] returns: the calls so far.
#[derive(Debug)]
pub struct Recorder {
    _guard: Guard,
    records: Rc<RefCell<Vec<Record>>>,
}

impl Recorder {
    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Record> {
        self.records.borrow().clone()
    }

    /// The calls so far to `syscall`, in order.
    pub fn calls_to(&self, syscall: Syscall) -> Vec<Record> {
        self.records
            .borrow()
            .iter()
            .filter(|record| record.call.syscall == syscall)
            .copied()
            .collect()
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        self.records.borrow_mut().clear();
    }
}

/// Where the table hands over a call that it is about to make.
pub(crate) fn intercept(
    syscall: Syscall,
    from: Option<RawFd>,
    to: Option<RawFd>,
    len: usize,
    real: &mut dyn FnMut(usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    // A thread that is being torn down has no hooks any more, and may still copy.
    let layers = LAYERS
        .try_with(|layers| {
            let layers = layers.borrow();
            if layers.is_empty() { None } else { Some(layers.clone()) }
        })
        .ok()
        .flatten();
    let process = every_thread::met();
    if layers.is_none() && process.is_none() {
        return real(len);
    }
    let layers = layers.unwrap_or_default();

    let asked = Call { syscall, from, to, len };
    let answer = match decide(asked, &layers, process.as_ref()) {
        Ok(answer) => answer,
        // read(2) of 0 bytes returns at once; recv(2) of 0 bytes waits until there are some.
        Err(0) if len > 0 => Ok(0),
        Err(len) => real(len),
    };
    let record = Record { call: asked, result: answer.map_err(Errno::raw_os_error) };
    for (_, layer) in &layers {
        if let Layer::Observer(observer) = layer
            && let Ok(mut observer) = observer.try_borrow_mut()
        {
            observer(&record);
        }
    }
    if let Some(process) = process {
        process.observe(&record);
    }
    answer
}

/// The answer, if a hook gives one; else how many bytes the real call may move.
fn decide(
    mut call: Call,
    layers: &[(u64, Layer)],
    process: Option<&every_thread::Met>,
) -> Result<Result<usize, Errno>, usize> {
    for (_, layer) in layers.iter().rev() {
        let Layer::Hook(hook) = layer else { continue };
        let Ok(mut hook) = hook.try_borrow_mut() else { continue };
        match hook(&call) {
            Action::Proceed => {}
            Action::Limit(n) => call.len = call.len.min(n),
            Action::Fail(errno) => return Ok(Err(Errno::from_raw_os_error(errno))),
            Action::Return(n) => return Ok(Ok(n)),
        }
    }
    match process.and_then(|process| process.decide(&mut call)) {
        Some(Action::Fail(errno)) => Ok(Err(Errno::from_raw_os_error(errno))),
        Some(Action::Return(n)) => Ok(Ok(n)),
        _ => Err(call.len),
    }
}
