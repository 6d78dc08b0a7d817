//! Whether a socket is better read or spliced, by the size of the pieces it yields.
//!
//! Every segment that arrived takes a slot of the pipe, so a sender of small pieces makes splice dear;
//! a read copies every byte, so a sender of large ones makes read dear.
//!
//! A copy begins with a read, and stays with reads until one brings a good piece. That costs a bulk
//! sender nothing, spares a short message the pipe, and means that a connection that waits for its
//! first byte holds no pipe.
//!
//! Once the pieces are good, cost may decide as it does between files, but only for a Unix socket. What
//! TCP does, on loopback both ends of it, is charged to whoever happens to run, and a copy that went by
//! it took the wrong way half of the time. Nor would it tell much there: where a read brings this much,
//! splice is never the dearer by more than a few percent.

use super::Way;
use super::costs::Costs;

/// A read that brings this many bytes makes splicing worth a try.
const RICH: u64 = 16 * 1024;

/// A splice that brings fewer than this many bytes was not worth it …
const POOR: u64 = 8 * 1024;

/// … and this many of them in a row send the copy back to reading.
const PATIENCE: u8 = 2;

/// Whether a read that brought `n` bytes makes splicing worth a try.
pub(crate) fn is_rich(n: u64) -> bool {
    n >= RICH
}

/// What a copy has learned about its source.
#[derive(Debug)]
pub(crate) struct Pieces {
    good: bool,
    poor_in_a_row: u8,
    /// What each way costs, where that can be measured.
    costs: Option<Costs>,
}

impl Pieces {
    /// Begins with a read, unless one has already been `rich`.
    pub(crate) fn new(rich: bool, costs: Option<Costs>) -> Self {
        Pieces { good: rich, poor_in_a_row: 0, costs }
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        if !self.good {
            return Way::ReadWrite;
        }
        self.costs.as_ref().map_or(Way::Offload, Costs::way)
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        if !self.good {
            self.good = is_rich(n);
            return;
        }
        if let Some(costs) = &mut self.costs {
            costs.saw(n);
        }
        if n >= POOR {
            self.poor_in_a_row = 0;
        } else if n > 0 {
            self.poor_in_a_row += 1;
            if self.poor_in_a_row >= PATIENCE {
                self.back_to_reading();
            }
        }
    }

    /// Reads until one brings a good piece.
    pub(crate) fn back_to_reading(&mut self) {
        (self.good, self.poor_in_a_row) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_small_pieces_is_never_spliced() {
        let mut pieces = Pieces::new(false, None);
        for _ in 0..1000 {
            pieces.saw(RICH - 1);
            assert_eq!(pieces.way(), Way::ReadWrite);
        }
        pieces.saw(RICH);
        assert_eq!(pieces.way(), Way::Offload);
    }

    #[test]
    fn one_poor_splice_is_nothing_and_two_are_enough() {
        let mut pieces = Pieces::new(false, None);
        pieces.saw(RICH);
        for _ in 0..1000 {
            pieces.saw(POOR - 1);
            assert_eq!(pieces.way(), Way::Offload);
            pieces.saw(POOR);
        }
        pieces.saw(POOR - 1);
        pieces.saw(0);
        assert_eq!(pieces.way(), Way::Offload, "a call that moved nothing tells nothing");
        pieces.saw(POOR - 1);
        assert_eq!(pieces.way(), Way::ReadWrite);
    }
}
