//! A sink, seen through all its layers.

use std::cell::Cell;

use super::in_drop;
use crate::End;
use crate::sink::{Downstream, Drain, Sink};

/// Goes down through the layers of `sink` to its descriptor and calls `give` there, once. Tells every
/// layer on the way, from the inside out, how many bytes were `delivered` to the descriptor: what `give`
/// has put into that cell.
///
/// `give` learns the descriptor (`None`: the sink can only be written to), and whether some layer on the
/// way may hold bytes back: then the sink is flushed before bytes go past it. Every layer is told even if
/// `give` or one of them panics.
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
/// walk_sink(&mut sink, &Cell::new(0), &mut |end, holds_back| {
///     assert!(end.is_some() && holds_back);
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
    give: &mut dyn FnMut(Option<End<'_>>, bool),
) {
    descend(sink, false, delivered, give);
}

/// Tells its layer how many bytes were delivered, when the layers below have been told or one of them
/// has panicked.
struct Tell<'t, 's, Io> {
    layer: &'t mut (dyn Sink<Io> + 's),
    delivered: &'t Cell<u64>,
}

impl<Io> Drop for Tell<'_, '_, Io> {
    fn drop(&mut self) {
        let delivered = self.delivered.get();
        if delivered > 0 {
            in_drop(|| self.layer.given(delivered));
        }
    }
}

fn descend<Io>(
    sink: &mut (dyn Sink<Io> + '_),
    holds_back: bool,
    delivered: &Cell<u64>,
    give: &mut dyn FnMut(Option<End<'_>>, bool),
) {
    let tell = Tell { layer: sink, delivered };
    let Downstream { drain, flush_first } = tell.layer.downstream();
    let holds_back = holds_back || flush_first;
    match drain {
        Drain::Through(inner) => descend(inner, holds_back, delivered, give),
        Drain::Fd(end) => give(Some(end), holds_back),
        Drain::Opaque => give(None, holds_back),
    }
}
