//! Which way of moving bytes pays, learned from what the calls yield and cost.
//!
//! No choice wins everywhere, and what tells the better one differs: from a socket it is the size of the
//! pieces that arrive ([`pieces`]), between files the processor time it takes ([`costs`]).

mod costs;
mod pieces;

use costs::Costs;
use pieces::Pieces;

/// Two ways to move bytes between the ends of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The route's current mechanism.
    Offload,
    /// Read and write.
    ReadWrite,
}

impl Way {
    fn other(self) -> Way {
        match self {
            Way::Offload => Way::ReadWrite,
            Way::ReadWrite => Way::Offload,
        }
    }
}

/// What a copy has learned about its ends.
#[derive(Debug)]
pub(crate) enum Learn {
    /// Nothing: the route's mechanism it is.
    Nothing,
    /// The size of the pieces that a socket yields.
    Pieces(Pieces),
    /// What each way costs.
    Costs(Costs),
}

impl Learn {
    /// By the size of the pieces; begins with a read.
    pub(crate) fn pieces() -> Learn {
        Learn::Pieces(Pieces::new(None))
    }

    /// By the size of the pieces, and once those are good, by cost.
    pub(crate) fn pieces_and_costs() -> Learn {
        Learn::Pieces(Pieces::new(Some(Costs::new())))
    }

    /// By cost; begins with the route's mechanism.
    pub(crate) fn costs() -> Learn {
        Learn::Costs(Costs::new())
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        match self {
            Learn::Nothing => Way::Offload,
            Learn::Pieces(pieces) => pieces.way(),
            Learn::Costs(costs) => costs.way(),
        }
    }

    /// Splicing has to wait: reads until one brings a good piece.
    pub(crate) fn no_pipe(&mut self) {
        if let Learn::Pieces(pieces) = self {
            pieces.back_to_reading();
        }
    }

    /// How many bytes may go this way at once, lest a lesson be missed.
    pub(crate) fn window_left(&self) -> u64 {
        match self {
            Learn::Nothing | Learn::Pieces(_) => u64::MAX,
            Learn::Costs(costs) => costs.window_left(),
        }
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        match self {
            Learn::Nothing => {}
            Learn::Pieces(pieces) => pieces.saw(n),
            Learn::Costs(costs) => costs.saw(n),
        }
    }
}
