//! What a copy did.

use zc_core::driver::Mechanism;

/// What a copy did: how many bytes it moved, with how many calls of `read` and `write`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    moved: u64,
    calls: u64,
}

impl Report {
    /// Bytes delivered to the sink, those in flight from an earlier copy included.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Calls of `read` and `write`, those that failed included.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many of the bytes `mechanism` delivered.
    pub fn moved_by(&self, mechanism: Mechanism) -> u64 {
        if mechanism == Mechanism::ReadWrite { self.moved } else { 0 }
    }

    /// How many of the bytes moved are holes of the sink: none.
    pub fn holes(&self) -> u64 {
        0
    }

    /// The mechanism that delivered the most bytes; `None` if none delivered any.
    pub fn mechanism(&self) -> Option<Mechanism> {
        (self.moved > 0).then_some(Mechanism::ReadWrite)
    }

    /// Whether a call of `mechanism` was made at all.
    pub fn tried(&self, mechanism: Mechanism) -> bool {
        mechanism == Mechanism::ReadWrite && self.calls > 0
    }

    /// The errno with which `mechanism` refused this copy: none does.
    pub fn refused(&self, _: Mechanism) -> Option<i32> {
        None
    }

    pub(super) fn deliver(&mut self, bytes: u64) {
        self.moved += bytes;
    }

    pub(super) fn count<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.calls += 1;
        call()
    }
}
