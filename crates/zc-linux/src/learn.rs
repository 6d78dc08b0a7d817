//! Which way of moving bytes pays, learned from what the calls yield and cost.
//!
//! No choice wins everywhere, and what tells the better one differs: from a socket it is the size of the
//! pieces that arrive ([`pieces`]), between files the processor time it takes ([`costs`]).

mod costs;
mod pieces;

use costs::Costs;
use pieces::Pieces;

pub(crate) use pieces::is_rich;

use crate::sharing::Sharing;

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
    /// Nothing, and need not.
    Settled(Way),
    /// The size of the pieces that a socket yields.
    Pieces(Pieces),
    /// What each way costs.
    Costs(Costs),
}

impl Learn {
    /// By the size of the pieces; begins with a read, unless one has already been `rich`.
    pub(crate) fn pieces(rich: bool) -> Learn {
        Learn::Pieces(Pieces::new(rich, None))
    }

    /// By the size of the pieces, and once those are good, by cost.
    pub(crate) fn pieces_and_costs(rich: bool) -> Learn {
        Learn::Pieces(Pieces::new(rich, Some(Costs::exploring())))
    }

    /// How to copy `bytes` bytes of a file to another, given that their file system shares blocks or
    /// does not.
    pub(crate) fn files(sharing: Sharing, bytes: u64) -> Learn {
        let first = if sharing == Sharing::Never { Way::ReadWrite } else { Way::Offload };
        match sharing {
            _ if bytes < costs::WORTH_LEARNING => Learn::Settled(first),
            Sharing::Perhaps => Learn::Costs(Costs::exploring()),
            Sharing::Never | Sharing::Likely => Learn::Costs(Costs::assuming(first)),
        }
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        match self {
            Learn::Settled(way) => *way,
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
            Learn::Settled(_) | Learn::Pieces(_) => u64::MAX,
            Learn::Costs(costs) => costs.window_left(),
        }
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        match self {
            Learn::Settled(_) => {}
            Learn::Pieces(pieces) => pieces.saw(n),
            Learn::Costs(costs) => costs.saw(n),
        }
    }
}
