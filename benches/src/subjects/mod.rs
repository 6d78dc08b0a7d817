//! The subjects.

mod bare_loop;
pub mod floor;
mod generic;
pub mod go;
mod std_io;
mod zc;

use std::io;

use crate::cells::{Cell, Place};
use crate::ends::End;

/// A subject that copies in this process.
pub trait Subject {
    /// Copies from one end to the other, until the end of input or until `limit` bytes have moved. Returns how many
    /// did.
    ///
    /// # Errors
    ///
    /// Those of the two ends.
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64>;

    /// Prepares two new ends, before the time is taken.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    fn prepare(&mut self, _from: &End, _to: &End) -> io::Result<()> {
        Ok(())
    }
}

/// Why a subject is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is zc, or an alternative to it.
    Subject,
    /// It is a bare loop: the best of these, by CPU time, is the cell's floor.
    Floor,
}

impl Role {
    /// Its word in the samples.
    pub fn name(self) -> &'static str {
        match self {
            Role::Subject => "subject",
            Role::Floor => "floor",
        }
    }
}

/// A subject with its name.
pub type Entry = (&'static str, Role, Box<dyn Subject>);

/// All subjects that copy in this process and can do this cell.
pub fn local(cell: &Cell) -> Vec<Entry> {
    let mut all: Vec<Entry> = vec![
        ("zc", Role::Subject, Box::new(zc::Zc)),
        ("std", Role::Subject, Box::new(std_io::StdIo)),
        ("generic", Role::Subject, Box::new(generic::Generic::default())),
    ];
    if cell.frame.is_none()
        && cell.to != Place::Sink
        && [cell.from, cell.to].iter().any(|end| matches!(end, Place::Tcp | Place::Unix))
    {
        all.push(("zc-loop", Role::Subject, Box::new(zc::Loop)));
        all.push(("bare-loop", Role::Subject, Box::new(bare_loop::BareLoop::new(cell))));
    }
    if (cell.from, cell.to, cell.frame) == (Place::Tcp, Place::Null, None) {
        all.push(("zc-splice", Role::Subject, Box::new(zc::Splicing)));
    }
    if floor::gathers(cell) {
        all.push(("zc-plain", Role::Subject, Box::new(zc::Plain)));
    }
    if cell.from == Place::Tcp && cell.frame.is_none() && cell.chunk <= 16 << 10 {
        all.push(("zc-coalesce", Role::Subject, Box::new(zc::Coalescing)));
    }
    all.extend(floor::of(cell).into_iter().map(|(name, loop_)| (name, Role::Floor, loop_)));
    all
}
