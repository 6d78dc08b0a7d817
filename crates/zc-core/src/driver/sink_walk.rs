//! A sink, seen through all its layers.

use std::cell::Cell;

use super::in_drop;
use crate::End;
use crate::sink::{Downstream, Drain, Sink};

/// Goes down through the layers of `sink` to its descriptor and calls `give` there, once. Tells every
/// layer on the way, from the inside out, how many bytes were `delivered` to the descriptor: what `give`
/// has put into that cell.
///
/// `give` learns the descriptor (`None`: there is none), and how else the sink takes bytes. Every layer is told
/// even if `give` or one of them panics.
///
/// ```
/// use std::cell::Cell;
/// use std::io::{BufWriter, Read, Write};
/// use zc_core::driver::walk_sink;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let mut sink = BufWriter::new(writer);
/// sink.write_all(b"header")?;
///
/// walk_sink(&mut sink, &Cell::new(0), &mut |end, manner| {
///     assert!(end.is_some() && manner.holds_back);
/// });
/// sink.flush()?; // now an engine may write to the descriptor
/// # let mut header = [0; 6];
/// # reader.read_exact(&mut header)?;
/// # assert_eq!(&header, b"header");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn walk_sink<Io>(
    sink: &mut (dyn Sink<Io> + '_),
    delivered: &Cell<u64>,
    give: &mut dyn FnMut(Option<End<'_>>, Manner),
) {
    descend(sink, Manner::default(), delivered, give);
}

/// How a sink takes bytes, its descriptor apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Some layer may hold bytes back: the sink is flushed before others bypass it.
    pub holds_back: bool,
    /// Below all layers nothing is kept ([`Downstream::nowhere`]). Without that and without a descriptor, the
    /// sink can only be written to.
    pub is_nowhere: bool,
    /// How many bytes may go there at most, by all limits on the way; `u64::MAX` for no limit. The sink's own
    /// `write` keeps to it by itself.
    pub limit: u64,
}

/// Written to at once, and without a limit.
impl Default for Manner {
    fn default() -> Self {
        Manner { holds_back: false, is_nowhere: false, limit: u64::MAX }
    }
}

/// Tells its layer how many bytes were delivered, when the layers below have been told or one of them
/// has panicked.
pub(super) struct Tell<'t, 's, Io> {
    pub(super) layer: &'t mut (dyn Sink<Io> + 's),
    pub(super) delivered: &'t Cell<u64>,
}

impl<Io> Drop for Tell<'_, '_, Io> {
    fn drop(&mut self) {
        let delivered = self.delivered.get();
        if delivered > 0 {
            in_drop(|| self.layer.delivered(delivered));
        }
    }
}

fn descend<Io>(
    sink: &mut (dyn Sink<Io> + '_),
    above: Manner,
    delivered: &Cell<u64>,
    give: &mut dyn FnMut(Option<End<'_>>, Manner),
) {
    let tell = Tell { layer: sink, delivered };
    let Downstream { drain, flush_first, limit } = tell.layer.downstream();
    let holds_back = above.holds_back || flush_first;
    let manner = Manner { holds_back, limit: above.limit.min(limit), ..above };
    match drain {
        Drain::Through(inner) => descend(inner, manner, delivered, give),
        Drain::Fd(end) => give(Some(end), manner),
        Drain::Nowhere => give(None, Manner { is_nowhere: true, ..manner }),
        Drain::Opaque => give(None, manner),
    }
}
