//! A type's own state, compared with that of one that was only read from or written to.

use std::fmt::Debug;

/// What is observed of a subject, after every step of a schedule.
pub(super) trait Observe<S> {
    /// The subject has come so far.
    fn note(&mut self, at: usize, subject: &S);
    /// How far it had come at each note.
    fn places(&self) -> Vec<usize>;
    /// Compares with the note of that number: `Err` shows both states, that of the note first.
    fn compare(&self, number: usize, twin: &S) -> Result<(), (String, String)>;
    fn forget(&mut self);
}

/// What `look` sees.
pub(super) struct Observed<F, T> {
    look: F,
    notes: Vec<(usize, T)>,
}

impl<F, T> Observed<F, T> {
    pub(super) fn new(look: F) -> Self {
        Observed { look, notes: Vec::new() }
    }
}

impl<S, F: Fn(&S) -> T, T: PartialEq + Debug> Observe<S> for Observed<F, T> {
    fn note(&mut self, at: usize, subject: &S) {
        self.notes.push((at, (self.look)(subject)));
    }
    fn places(&self) -> Vec<usize> {
        self.notes.iter().map(|(at, _)| *at).collect()
    }
    fn compare(&self, number: usize, twin: &S) -> Result<(), (String, String)> {
        let (noted, here) = (&self.notes[number].1, (self.look)(twin));
        if *noted == here { Ok(()) } else { Err((shown(noted), shown(&here))) }
    }
    fn forget(&mut self) {
        self.notes.clear();
    }
}

/// As much of it as helps.
fn shown(state: &impl Debug) -> String {
    const SHOWN: usize = 200;
    let text = format!("{state:?}");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
