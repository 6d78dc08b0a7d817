//! The two ends of a relay, and the two directions between them.

use std::fmt;

/// One of the two ends of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelayEnd {
    /// The first.
    A,
    /// The second.
    B,
}

/// One of the two directions of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first end to the second. A one-way copy has this direction.
    AToB,
    /// From the second end to the first.
    BToA,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::AToB => "a to b",
            Direction::BToA => "b to a",
        })
    }
}
