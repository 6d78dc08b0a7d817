//! std's wrappers: limits, chains and buffers.

use std::io::{BufRead, BufReader, BufWriter, Chain, LineWriter, Read, Take, Write};

use crate::{Downstream, Sink, Source, Upstream};

impl<S: Source> Source for Take<S> {
    fn upstream(&mut self) -> Upstream<'_> {
        let limit = self.limit();
        Upstream::through(self.get_mut()).limit(limit)
    }
    fn taken(&mut self, n: u64) {
        self.set_limit(self.limit().saturating_sub(n));
    }
}

impl<A: Source, B: Source> Source for Chain<A, B> {
    fn upstream(&mut self) -> Upstream<'_> {
        let (first, second) = self.get_mut();
        Upstream::then(first, second)
    }
}

impl<S: Read + Source> Source for BufReader<S> {
    fn upstream(&mut self) -> Upstream<'_> {
        Upstream::through(self.get_mut())
    }
    fn buffered(&self) -> &[u8] {
        self.buffer()
    }
    fn consume_buffered(&mut self, n: usize) {
        self.consume(n);
    }
}

impl<W: Write + Sink> Sink for BufWriter<W> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(self.get_mut()).flush_first()
    }
}

impl<W: Write + Sink> Sink for LineWriter<W> {
    fn downstream(&mut self) -> Downstream<'_> {
        Downstream::through(self.get_mut()).flush_first()
    }
}
