//! Whether a socket is better read or spliced, by the size of the pieces it yields.
//!
//! Every segment takes a slot of the pipe, so small pieces make splice expensive. A read copies
//! every byte, so large ones make read expensive.
//!
//! A copy begins with a read, and stays with reads until one brings a good piece. That costs a bulk
//! sender nothing, spares a short message the pipe, and means that a connection that waits for its
//! first byte holds no pipe.
//!
//! To splice a piece that comes alone, as an answer does, costs another splice and a read, which find that nothing
//! follows. After a short read often no other call is needed.
//!
//! From a Unix socket into a pipe whole pages are passed on, so that even small pieces pay.

use crate::table::Size;

/// How many poor splices in a row send the copy back to reading.
const PATIENCE: u8 = 2;

/// How many rich reads, without a wait for small pieces to gather, show that the sender is no longer one of small
/// pieces.
const GATHERED: u8 = 16;

/// What a copy has learned about the pieces of its source.
#[derive(Debug)]
pub(crate) struct Pieces {
    size: &'static Size,
    good: bool,
    poor_in_a_row: u8,
    /// How many more rich reads prove nothing.
    in_doubt: u8,
    /// How many bytes it has brought since it last had nothing.
    in_a_row: u32,
    /// Whether it was fewer than a lone piece is read up to, the last time.
    was_lone: bool,
}

impl Pieces {
    /// Begins with a read, unless an earlier one has brought `largest` bytes, and that was rich.
    pub(crate) fn new(size: &'static Size, largest: u64) -> Self {
        let good = largest >= size.rich;
        Pieces { size, good, poor_in_a_row: 0, in_doubt: 0, in_a_row: 0, was_lone: false }
    }

    /// Whether only reading will do.
    pub(crate) fn are_small(&self) -> bool {
        !self.good
    }

    /// A step took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        self.in_a_row = self.in_a_row.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        if !self.good {
            let rich = n >= self.size.rich
                && !(self.was_lone && u64::from(self.in_a_row) < self.size.lone);
            self.good = rich && self.in_doubt == 0;
            self.in_doubt -= u8::from(rich && !self.good);
        } else if n >= self.size.poor {
            self.poor_in_a_row = 0;
        } else if n > 0 {
            self.poor_in_a_row += 1;
            if self.poor_in_a_row >= PATIENCE {
                self.back_to_reading();
            }
        }
    }

    /// The source has nothing more for now.
    pub(crate) fn ran_dry(&mut self) {
        if self.in_a_row > 0 {
            self.was_lone = u64::from(self.in_a_row) < self.size.lone;
            if self.was_lone {
                self.back_to_reading();
            }
        }
        self.in_a_row = 0;
    }

    /// The driver has waited for small pieces to gather, so even a large read of them says nothing about
    /// the sender. To splice them takes a third more than to read them (4 KiB each, from TCP to
    /// anything).
    pub(crate) fn gathered(&mut self) {
        self.back_to_reading();
        self.in_doubt = GATHERED;
    }

    /// Reads until one brings a good piece.
    pub(crate) fn back_to_reading(&mut self) {
        (self.good, self.poor_in_a_row) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{PASSED_ON, USUAL};

    #[test]
    fn a_socket_of_small_pieces_is_never_spliced() {
        for size in [&USUAL, &PASSED_ON] {
            let mut pieces = Pieces::new(size, size.rich - 1);
            for _ in 0..1000 {
                pieces.saw(size.rich - 1);
                assert!(pieces.are_small());
            }
            pieces.saw(size.rich);
            assert!(!pieces.are_small());
            assert!(!Pieces::new(size, size.rich).are_small());
        }
    }

    #[test]
    fn what_comes_alone_is_read() {
        let mut pieces = Pieces::new(&USUAL, USUAL.rich);
        pieces.ran_dry();
        assert!(!pieces.are_small(), "nothing has come yet");
        for _ in 0..100 {
            pieces.saw(USUAL.rich);
            pieces.ran_dry();
            assert!(pieces.are_small());
        }
        // And then the sender turns to bulk.
        pieces.saw(USUAL.rich);
        pieces.saw(USUAL.rich);
        assert!(!pieces.are_small());
        pieces.saw(USUAL.lone);
        pieces.ran_dry();
        assert!(!pieces.are_small());
    }

    #[test]
    fn what_was_waited_for_is_read() {
        let mut pieces = Pieces::new(&USUAL, USUAL.rich);
        for _ in 0..100 {
            pieces.gathered();
            pieces.saw(128 * 1024);
            pieces.saw(USUAL.rich - 1);
            assert!(pieces.are_small());
        }
        // And then the sender turns to bulk.
        for _ in 1..GATHERED {
            pieces.saw(USUAL.rich);
            assert!(pieces.are_small());
        }
        pieces.saw(USUAL.rich);
        assert!(!pieces.are_small());
    }

    #[test]
    fn one_poor_splice_is_nothing_and_two_are_enough() {
        for size in [&USUAL, &PASSED_ON] {
            let mut pieces = Pieces::new(size, size.rich);
            for _ in 0..1000 {
                pieces.saw(size.poor - 1);
                assert!(!pieces.are_small());
                pieces.saw(size.poor);
            }
            pieces.saw(size.poor - 1);
            pieces.saw(0);
            assert!(!pieces.are_small(), "a call that moved nothing tells nothing");
            pieces.saw(size.poor - 1);
            assert!(pieces.are_small());
        }
    }
}
