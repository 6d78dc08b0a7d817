//! Which way of reading a socket pays, learned from what it yields.
//!
//! Neither reading nor splicing wins everywhere. Every segment that arrived takes a slot of the
//! pipe, so a sender of small pieces makes splice dear; a read copies every byte, so a sender of
//! large ones makes read dear (`docs/performance.md` has the figures). What the last call brought
//! tells which kind of sender this is.
//!
//! A copy begins with a read. That costs a bulk sender nothing that could be measured, spares a
//! short message the pipe, and means that a connection waiting for its first byte holds no pipe.

/// A read that brings this many bytes makes splicing worth a try.
const RICH: usize = 16 * 1024;

/// A splice that brings fewer than this many bytes was not worth it …
const POOR: usize = 8 * 1024;

/// … and this many of them in a row end the splicing.
const PATIENCE: u8 = 2;

/// What a copy has learned about its source.
#[derive(Debug, Default)]
pub(crate) struct Learn {
    splicing: bool,
    poor_in_a_row: u8,
}

impl Learn {
    /// Whether the next bytes are better spliced than read.
    pub(crate) fn splices(&self) -> bool {
        self.splicing
    }

    /// A read brought `n` bytes.
    pub(crate) fn saw_read(&mut self, n: u64) {
        if n >= RICH as u64 {
            *self = Learn { splicing: true, poor_in_a_row: 0 };
        }
    }

    /// A splice brought `n` bytes.
    pub(crate) fn saw_splice(&mut self, n: u64) {
        if n >= POOR as u64 {
            self.poor_in_a_row = 0;
        } else if n > 0 {
            self.poor_in_a_row += 1;
            self.splicing = self.poor_in_a_row < PATIENCE;
        }
    }
}
