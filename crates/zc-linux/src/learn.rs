//! Which way of moving bytes pays, learned from what the calls yield and cost.
//!
//! No choice wins everywhere, and what tells the better one differs. A socket that yields small
//! [`pieces`] is read, whatever splicing them costs. Else it is processor time that counts: known
//! beforehand ([`prior`](crate::prior)), or measured ([`costs`]).

mod costs;
mod pieces;

use costs::Costs;

pub(crate) use pieces::Pieces;

use crate::prior::Prior;

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
pub(crate) struct Learn {
    /// The size of the pieces that the source yields, if that matters.
    pieces: Option<Pieces>,
    /// Which way is the cheaper, with pieces that allow for both.
    cheaper: Cheaper,
}

#[derive(Debug)]
enum Cheaper {
    Known(Way),
    Measured(Costs),
}

impl Learn {
    /// Nothing to learn: `way` it is.
    pub(crate) fn settled(way: Way) -> Learn {
        Learn { pieces: None, cheaper: Cheaper::Known(way) }
    }

    /// By cost, beginning as `prior` advises, if `bytes` bytes are enough for that.
    pub(crate) fn costs(prior: Prior, bytes: u64) -> Learn {
        let first = if prior == Prior::Worse { Way::ReadWrite } else { Way::Offload };
        let cheaper = match prior {
            Prior::Better => Cheaper::Known(first),
            _ if bytes < costs::WORTH_LEARNING => Cheaper::Known(first),
            Prior::Unknown => Cheaper::Measured(Costs::exploring()),
            Prior::Free | Prior::Worse => Cheaper::Measured(Costs::assuming(first)),
        };
        Learn { pieces: None, cheaper }
    }

    /// And before that by the size of the pieces.
    pub(crate) fn pieces(self, pieces: Pieces) -> Learn {
        Learn { pieces: Some(pieces), ..self }
    }

    /// Which way the next bytes should go.
    pub(crate) fn way(&self) -> Way {
        match &self.cheaper {
            _ if self.pieces.as_ref().is_some_and(Pieces::are_small) => Way::ReadWrite,
            Cheaper::Known(way) => *way,
            Cheaper::Measured(costs) => costs.way(),
        }
    }

    /// Splicing has to wait: reads until one brings a good piece.
    pub(crate) fn no_pipe(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.back_to_reading();
        }
    }

    /// The next bytes have been waited for, as small pieces are.
    pub(crate) fn gathered(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.gathered();
        }
    }

    /// How many bytes may go this way at once without missing the end of a measurement.
    pub(crate) fn window_left(&self) -> u64 {
        match &self.cheaper {
            Cheaper::Known(_) => u64::MAX,
            Cheaper::Measured(costs) => costs.window_left(),
        }
    }

    /// A step went the current way and took `n` bytes.
    pub(crate) fn saw(&mut self, n: u64) {
        if let Some(pieces) = &mut self.pieces {
            let small = pieces.are_small();
            pieces.saw(n);
            if small {
                return;
            }
        }
        if let Cheaper::Measured(costs) = &mut self.cheaper {
            costs.saw(n);
        }
    }
}
