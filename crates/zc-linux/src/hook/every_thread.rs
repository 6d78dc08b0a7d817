//! Hooks that reach every thread of the process.
//!
//! Hooks of the test's thread do not see what a program copies on threads of its own (a runtime's workers, a pool).
//! These do, and so they must not reach production by accident. The feature `hook` is no protection: any crate of the
//! program may turn it on for all. So two more things are needed: a call of [`every_thread`], and [`VARIABLE`] in the
//! environment that the process was started with. Without the variable the call fails, and nothing is hooked.
//!
//! They do not reach a forked child. A lock that another thread held at the fork, in a hook or on its way to one, is
//! locked there for good.

use std::cell::Cell;
use std::env;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Action, Call, Record};
use crate::sys;

/// The environment variable that has to be `1`, for example in the `[env]` of a test's `.cargo/config.toml`.
pub const VARIABLE: &str = "ZC_HOOK_EVERY_THREAD";

type Hook = dyn FnMut(&Call) -> Action + Send;
type Observer = dyn FnMut(&Record) + Send;

#[derive(Clone)]
enum Layer {
    Hook(Arc<Mutex<Hook>>),
    Observer(Arc<Mutex<Observer>>),
}

static LAYERS: Mutex<Vec<(u64, Layer)>> = Mutex::new(Vec::new());
/// How many there are, so that a process without any does not take the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The process that they are for; 0 before the first one.
static OWNER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread is in one of these hooks. What the hook itself copies bypasses them all.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The leave to hook every thread of the process.
///
/// A forked child has none of its parent's such hooks, and cannot have any of its own if the parent has had some.
///
/// # Errors
///
/// `PermissionDenied` if [`VARIABLE`] is not set to `1`, and in such a child.
///
/// ```
/// use zc_linux::hook;
///
/// if let Ok(everywhere) = hook::every_thread() {
///     let _slow = everywhere.replace(|_| hook::Action::Proceed);
/// }
/// ```
pub fn every_thread() -> io::Result<EveryThread> {
    let what = match env::var_os(VARIABLE) {
        Some(value) if value == "1" && !is_anothers() => return Ok(EveryThread(())),
        Some(value) if value == "1" => "the process that this one was forked from has hooks".into(),
        _ => format!("to hook every thread of a process, start it with {VARIABLE}=1"),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Whether the hooks are those of the process that this one was forked from.
fn is_anothers() -> bool {
    ![0, sys::process()].contains(&OWNER.load(Ordering::Relaxed))
}

/// The leave to hook every thread of the process, from [`every_thread`]. In a forked child it hooks nothing.
#[derive(Debug)]
pub struct EveryThread(());

impl EveryThread {
    /// As [`replace`](super::replace), for all threads. They are asked after the hooks of the thread itself, one
    /// thread at a time.
    pub fn replace(&self, hook: impl FnMut(&Call) -> Action + Send + 'static) -> ProcessGuard {
        ProcessGuard::install(Layer::Hook(Arc::new(Mutex::new(hook))))
    }

    /// As [`observe`](super::observe), for all threads.
    pub fn observe(&self, observer: impl FnMut(&Record) + Send + 'static) -> ProcessGuard {
        ProcessGuard::install(Layer::Observer(Arc::new(Mutex::new(observer))))
    }
}

/// Undoes a hook of [`EveryThread`] when dropped, on any thread. A call that is being made meanwhile may still meet
/// it.
#[derive(Debug)]
#[must_use = "dropping the guard takes the hook away"]
pub struct ProcessGuard {
    id: u64,
}

impl ProcessGuard {
    fn install(layer: Layer) -> ProcessGuard {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        if is_anothers() {
            return ProcessGuard { id };
        }
        OWNER.store(sys::process(), Ordering::Relaxed);
        let mut layers = locked(&LAYERS);
        layers.push((id, layer));
        COUNT.store(layers.len(), Ordering::Release);
        ProcessGuard { id }
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        if is_anothers() {
            return;
        }
        let mut layers = locked(&LAYERS);
        let at = layers.iter().position(|(id, _)| *id == self.id);
        let layer = at.map(|at| layers.remove(at));
        COUNT.store(layers.len(), Ordering::Release);
        // Outside the lock: the hook may own things whose drop copies bytes.
        drop(layers);
        drop(layer);
    }
}

/// The hooks of the process as one call meets them.
pub(super) struct Met(Vec<(u64, Layer)>);

pub(super) fn met() -> Option<Met> {
    if COUNT.load(Ordering::Acquire) == 0
        || INSIDE.try_with(Cell::get).unwrap_or(true)
        || is_anothers()
    {
        return None;
    }
    Some(Met(locked(&LAYERS).clone()))
}

impl Met {
    /// What they make of a call, the innermost first; `Proceed` and `Limit` as how many bytes it may move.
    pub(super) fn decide(&self, call: &mut Call) -> Option<Action> {
        let _inside = Inside::enter();
        for (_, layer) in self.0.iter().rev() {
            let Layer::Hook(hook) = layer else { continue };
            match locked(hook)(call) {
                Action::Proceed => {}
                Action::Limit(n) => call.len = call.len.min(n),
                action => return Some(action),
            }
        }
        None
    }

    pub(super) fn observe(&self, record: &Record) {
        let _inside = Inside::enter();
        for (_, layer) in &self.0 {
            if let Layer::Observer(observer) = layer {
                locked(observer)(record);
            }
        }
    }
}

struct Inside;

impl Inside {
    fn enter() -> Inside {
        INSIDE.set(true);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// A hook that has panicked on one thread goes on for the others.
fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
