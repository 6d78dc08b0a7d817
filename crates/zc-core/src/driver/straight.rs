//! Ends whose layers only pass bytes on: with nothing buffered, no chain, no time to wait for, nothing to flush.
//!
//! [`walk_source`](super::walk_source) and [`walk_sink`](super::walk_sink) call an engine from the bottom of their walk.
//! Its system calls then have all layers to return through, and the processor mispredicts each return after one, at
//! 20 to 40 ns. These functions look at the layers, return, and tell them afterwards.
//!
//! ```
//! use std::io::Read;
//! use std::os::unix::net::UnixStream;
//! use zc_core::driver::straight;
//!
//! let (_client, stream) = UnixStream::pair()?;
//! let (mut source, mut sink) = ((&stream).take(9).take(20), std::io::sink());
//! let from = straight::source(&mut source).expect("two layers over a descriptor");
//! assert!(from.limit == 9 && from.end.fd.is_socket());
//! assert!(matches!(straight::sink(&mut sink), Some(straight::Place::Nowhere)));
//! // … an engine takes 4 bytes and drops them …
//! straight::tell(&mut source, &mut sink, 4, 4);
//! assert_eq!(source.limit(), 16);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::cell::Cell;

use super::{in_drop, sink_walk, source_walk};
use crate::End;
use crate::sink::{Downstream, Drain, Sink};
use crate::source::{Origin, Source, Upstream};

/// Where the next bytes of a source are.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    /// The descriptor below all layers.
    pub end: End<'a>,
    /// How many may be taken at most, by all limits on the way: at least 1; `u64::MAX` for no limit.
    pub limit: u64,
    /// How many may be taken by this step at most; `u64::MAX` for no limit.
    pub step_limit: u64,
}

/// Where the bytes of a sink go, without a limit.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// To the descriptor below all layers.
    Fd(End<'a>),
    /// Nowhere: they are dropped.
    Nowhere,
}

/// Where the next bytes of `source` are; `None` if there is more to it than layers over a descriptor, or none may be
/// taken now.
#[inline]
pub fn source<'a, Io>(source: &'a mut (dyn Source<Io> + '_)) -> Option<Bytes<'a>> {
    let mut layer: &'a mut (dyn Source<Io> + 'a) = source;
    let (mut limit, mut step_limit) = (u64::MAX, u32::MAX);
    loop {
        if !layer.buffered().is_empty() {
            return None;
        }
        let Upstream { origin, limit: own, step_limit: own_step, not_before: None, .. } =
            layer.upstream()
        else {
            return None;
        };
        limit = limit.min(own);
        step_limit = step_limit.min(own_step);
        match origin {
            _ if limit == 0 => return None,
            Origin::Through(inner) => layer = inner,
            Origin::Fd(end) => {
                let step_limit =
                    if step_limit == u32::MAX { u64::MAX } else { u64::from(step_limit) };
                return Some(Bytes { end, limit, step_limit });
            }
            Origin::Then(..) | Origin::Spent | Origin::Opaque => return None,
        }
    }
}

/// Where the bytes of `sink` go; `None` if it has to be flushed or written to, or has a limit.
#[inline]
pub fn sink<'a, Io>(sink: &'a mut (dyn Sink<Io> + '_)) -> Option<Place<'a>> {
    let mut layer: &'a mut (dyn Sink<Io> + 'a) = sink;
    loop {
        let Downstream { drain, flush_first: false, limit: u64::MAX } = layer.downstream() else {
            return None;
        };
        match drain {
            Drain::Through(inner) => layer = inner,
            Drain::Fd(end) => return Some(Place::Fd(end)),
            Drain::Nowhere => return Some(Place::Nowhere),
            Drain::Opaque => return None,
        }
    }
}

/// `taken` bytes were taken at the bottom of such a source, and `delivered` of them delivered to such a sink: tells
/// every layer of both, from the inside out, the source's first.
///
/// Every layer is told even if one of them panics.
#[inline]
pub fn tell<Io>(
    source: &mut (dyn Source<Io> + '_),
    sink: &mut (dyn Sink<Io> + '_),
    taken: u64,
    delivered: u64,
) {
    /// Tells all layers of a sink when those of the source have been told, or one of them has panicked.
    struct Given<'t, 's, Io>(&'t mut (dyn Sink<Io> + 's), u64);
    impl<Io> Drop for Given<'_, '_, Io> {
        #[inline]
        fn drop(&mut self) {
            if self.1 > 0 {
                in_drop(|| tell_sink(self.0, &Cell::new(self.1)));
            }
        }
    }

    let _given = Given(sink, delivered);
    if taken > 0 {
        tell_source(source, &Cell::new(taken));
    }
}

fn tell_source<Io>(source: &mut (dyn Source<Io> + '_), taken: &Cell<u64>) {
    let tell = source_walk::Tell { layer: source, taken };
    if let Origin::Through(inner) = tell.layer.upstream().origin {
        tell_source(inner, taken);
    }
}

fn tell_sink<Io>(sink: &mut (dyn Sink<Io> + '_), delivered: &Cell<u64>) {
    let tell = sink_walk::Tell { layer: sink, delivered };
    if let Drain::Through(inner) = tell.layer.downstream().drain {
        tell_sink(inner, delivered);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, BufWriter, Read};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::*;

    /// A layer that writes down what it is told.
    struct Layer<'l, T> {
        inner: T,
        name: &'static str,
        told: &'l Mutex<Vec<(&'static str, u64)>>,
        panics: bool,
    }

    impl<T> Layer<'_, T> {
        fn hear(&self, n: u64) {
            self.told.lock().unwrap().push((self.name, n));
            assert!(!self.panics, "as asked");
        }
    }

    impl<S: Source> Source for Layer<'_, S> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.inner)
        }
        fn taken(&mut self, n: u64) {
            self.hear(n);
        }
    }

    impl<S: Sink> Sink for Layer<'_, S> {
        fn downstream(&mut self) -> Downstream<'_> {
            Downstream::through(&mut self.inner)
        }
        fn delivered(&mut self, n: u64) {
            self.hear(n);
        }
    }

    #[test]
    fn every_layer_is_told_from_the_inside_out_also_after_a_panic() {
        for panics in [false, true] {
            let told = Mutex::new(Vec::new());
            let (reader, _writer) = std::io::pipe().unwrap();
            let layer = |name| (name, &told);
            let source = |(name, told), inner| Layer { inner, name, told, panics };
            let inner = source(layer("inner source"), &reader);
            let mut outer = Layer { inner, name: "outer source", told: &told, panics: false };
            let inner =
                Layer { inner: std::io::sink(), name: "inner sink", told: &told, panics: false };
            let mut sink = Layer { inner, name: "outer sink", told: &told, panics: false };

            let outcome = catch_unwind(AssertUnwindSafe(|| tell(&mut outer, &mut sink, 3, 2)));
            assert_eq!(outcome.is_err(), panics);
            let all = [("inner source", 3), ("outer source", 3), ("inner sink", 2)];
            assert_eq!(told.into_inner().unwrap(), [&all[..], &[("outer sink", 2)]].concat());
        }
    }

    #[test]
    fn what_was_not_moved_is_not_told() {
        let told = Mutex::new(Vec::new());
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut source = Layer { inner: &reader, name: "source", told: &told, panics: true };
        let mut sink = Layer { inner: std::io::sink(), name: "sink", told: &told, panics: true };
        tell(&mut source, &mut sink, 0, 0);
        assert_eq!(told.into_inner().unwrap(), []);
    }

    #[test]
    fn anything_but_layers_over_a_descriptor_is_left_to_a_walk() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"a\nb").unwrap();
        let mut ahead = BufReader::new(&reader);
        ahead.read_line(&mut String::new()).unwrap();
        assert!(source(&mut ahead).is_none(), "it has read ahead");
        assert!(source(&mut (&reader).take(0)).is_none(), "its limit is reached");
        assert!(source(&mut (&reader).chain(&reader)).is_none(), "a chain");
        assert!(source(&mut std::io::empty()).is_none(), "no descriptor");
        assert!(sink(&mut BufWriter::new(&mut writer)).is_none(), "it may hold bytes back");
        assert!(sink(&mut Vec::new()).is_none(), "no descriptor");
        assert!(matches!(sink(&mut writer), Some(Place::Fd(_))));
        let from = source(&mut Read::take(&reader, 7).take(9)).map(|from| from.limit);
        assert_eq!(from, Some(7));
    }
}
