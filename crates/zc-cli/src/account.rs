//! What a transfer did, over all the copies it took.

use std::time::Duration;

use zc_std::{Mechanism, Report};

/// The reports of a copy and of the copies that resumed it, in one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) moved: u64,
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    /// How many of the bytes moved are holes.
    pub(crate) holes: u64,
    /// How many bytes were there before.
    pub(crate) resumed: u64,
    parts: [Part; Mechanism::ALL.len()],
}

/// What one mechanism did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    pub(crate) tried: bool,
    pub(crate) moved: u64,
    /// The errno with which it gave way to the next.
    pub(crate) refused: Option<i32>,
}

impl Account {
    /// Nothing yet, where `before` bytes were there already.
    pub(crate) fn after(resumed: u64) -> Account {
        Account { resumed, ..Account::default() }
    }

    pub(crate) fn add(&mut self, report: &Report) {
        self.moved += report.moved();
        self.holes += report.holes();
        self.calls += report.calls();
        for (part, mechanism) in self.parts.iter_mut().zip(Mechanism::ALL) {
            part.tried |= report.tried(mechanism);
            part.moved += report.moved_by(mechanism);
            part.refused = part.refused.or(report.refused(mechanism));
        }
    }

    /// Each mechanism with what it did, in the order of a chain.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Mechanism, Part)> {
        Mechanism::ALL.into_iter().zip(self.parts)
    }

    /// The mechanism that moved the most bytes; `None` if nothing moved.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        let (mechanism, part) = self.parts().max_by_key(|(_, part)| part.moved)?;
        (part.moved > 0).then_some(mechanism)
    }
}
