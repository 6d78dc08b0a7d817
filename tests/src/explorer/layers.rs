//! Wrappers whose state can be seen after the copy.
//!
//! A scenario's layers are data, so each is boxed; the engine sees the same `Source` or `Sink` through the box. What
//! a layer says of itself afterwards is checked against the layer below it. What went in below has come out above, or
//! is in the layer's buffer, or is lost.

use std::cell::Cell;
use std::io::{BufRead, BufReader, BufWriter, Chain, Read, Take, Write};
use std::os::fd::AsFd;
use std::rc::Rc;

use zc_std::{Fd, Opaque, Progress, ReadSource, Sink, Source, StdIo, WriteSink};

use super::scenario::{SinkWrap, SourceWrap};

/// What one layer says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A limit, and how much of it is left.
    Limit(u64),
    /// A buffer, and what is in it.
    Buffer(Vec<u8>),
    /// A meter.
    Progress,
    /// A layer without state.
    Opaque,
}

pub(crate) trait SourceLayer: ReadSource {
    /// Adds its state to `seen`, after that of all layers below.
    fn look(&self, seen: &mut Vec<Seen>);
}

pub(crate) trait SinkLayer: WriteSink {
    /// Adds its state to `seen`, after that of all layers that the bytes reach later.
    fn look(&self, seen: &mut Vec<Seen>);
}

pub(crate) type BoxSource<'a> = Box<dyn SourceLayer + 'a>;
pub(crate) type BoxSink<'a> = Box<dyn SinkLayer + 'a>;

impl<T: AsFd> SourceLayer for Fd<T> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

impl<T: AsFd> SinkLayer for Fd<T> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

macro_rules! leaves {
    ($($layer:ident for $ty:ty;)*) => {$(
        impl $layer for $ty {
            fn look(&self, _: &mut Vec<Seen>) {}
        }
    )*};
}

leaves! {
    SourceLayer for &std::fs::File;
    SourceLayer for &std::net::TcpStream;
    SourceLayer for &std::os::unix::net::UnixStream;
    SourceLayer for &std::io::PipeReader;
    SinkLayer for &std::fs::File;
    SinkLayer for &std::net::TcpStream;
    SinkLayer for &std::os::unix::net::UnixStream;
}

impl SourceLayer for Chain<&std::os::unix::net::UnixStream, &std::os::unix::net::UnixStream> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

/// A byte slice whose position can be seen from outside.
pub(crate) struct Slice<'a> {
    bytes: &'a [u8],
    left: &'a Cell<usize>,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(bytes: &'a [u8], left: &'a Cell<usize>) -> Self {
        Slice { bytes, left }
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buf)?;
        self.left.set(self.bytes.len());
        Ok(n)
    }
}

impl Source for Slice<'_> {
    fn upstream(&mut self) -> zc_std::Upstream<'_> {
        Source::<StdIo>::upstream(&mut self.bytes)
    }
    fn buffered(&self) -> &[u8] {
        Source::<StdIo>::buffered(&self.bytes)
    }
    fn consume_buffered(&mut self, n: usize) {
        Source::<StdIo>::consume_buffered(&mut self.bytes, n);
        self.left.set(self.bytes.len());
    }
    fn taken(&mut self, n: u64) {
        Source::<StdIo>::taken(&mut self.bytes, n);
    }
}

impl SourceLayer for Slice<'_> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

impl SourceLayer for Chain<Slice<'_>, &std::fs::File> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

/// A `Vec` that can be seen from outside.
pub(crate) struct Memory<'a>(pub(crate) &'a std::cell::RefCell<Vec<u8>>);

impl Write for Memory<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(buf)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Memory<'_> {}

impl SinkLayer for std::io::Sink {
    fn look(&self, _: &mut Vec<Seen>) {}
}

impl SinkLayer for Memory<'_> {
    fn look(&self, _: &mut Vec<Seen>) {}
}

impl SourceLayer for Take<BoxSource<'_>> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.get_ref().look(seen);
        seen.push(Seen::Limit(self.limit()));
    }
}

impl SourceLayer for BufReader<BoxSource<'_>> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.get_ref().look(seen);
        seen.push(Seen::Buffer(self.buffer().to_vec()));
    }
}

impl<F: FnMut(u64)> SourceLayer for Progress<BoxSource<'_>, F> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.get_ref().look(seen);
        seen.push(Seen::Progress);
    }
}

impl SourceLayer for Opaque<BoxSource<'_>> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.0.look(seen);
        seen.push(Seen::Opaque);
    }
}

impl SinkLayer for BufWriter<BoxSink<'_>> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.get_ref().look(seen);
        seen.push(Seen::Buffer(self.buffer().to_vec()));
    }
}

impl<F: FnMut(u64)> SinkLayer for Progress<BoxSink<'_>, F> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.get_ref().look(seen);
        seen.push(Seen::Progress);
    }
}

impl SinkLayer for Opaque<BoxSink<'_>> {
    fn look(&self, seen: &mut Vec<Seen>) {
        self.0.look(seen);
        seen.push(Seen::Opaque);
    }
}

/// How many bytes each `Progress` heard of, from the inside out.
pub(crate) type Meters = Vec<Rc<Cell<u64>>>;

fn meter(meters: &mut Meters) -> impl FnMut(u64) + use<> {
    let count = Rc::new(Cell::new(0));
    meters.push(Rc::clone(&count));
    move |n| {
        assert!(n > 0, "Progress is never told of 0 bytes");
        count.set(count.get() + n);
    }
}

/// Wraps a source, and fills its buffers.
pub(crate) fn wrap_source<'a>(
    leaf: BoxSource<'a>,
    wraps: &[SourceWrap],
    meters: &mut Meters,
) -> std::io::Result<BoxSource<'a>> {
    wraps.iter().try_fold(leaf, |inner, wrap| {
        Ok::<BoxSource<'a>, std::io::Error>(match *wrap {
            SourceWrap::Take(n) => Box::new(inner.take(n)),
            SourceWrap::BufReader(capacity) => {
                let mut reader = BufReader::with_capacity(capacity, inner);
                match reader.fill_buf() {
                    // Less than a byte can be read ahead.
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    filled => drop(filled?),
                }
                Box::new(reader)
            }
            SourceWrap::Progress => Box::new(Progress::new(inner, meter(meters))),
            SourceWrap::Opaque => Box::new(Opaque(inner)),
        })
    })
}

/// Wraps a sink, and has its buffers hold bytes, which are appended to `held`, one entry for each layer.
pub(crate) fn wrap_sink<'a>(
    leaf: BoxSink<'a>,
    wraps: &[SinkWrap],
    meters: &mut Meters,
    held: &mut Vec<Vec<u8>>,
) -> std::io::Result<BoxSink<'a>> {
    wraps.iter().try_fold(leaf, |inner, wrap| {
        held.push(Vec::new());
        Ok::<BoxSink<'a>, std::io::Error>(match *wrap {
            SinkWrap::BufWriter(capacity, holding) => {
                let mut writer = BufWriter::with_capacity(capacity, inner);
                let marks: Vec<u8> = (0..holding.min(capacity.saturating_sub(1)))
                    .map(|i| b'0' + (i % 10) as u8)
                    .collect();
                writer.write_all(&marks)?;
                *held.last_mut().expect("just pushed") = marks;
                Box::new(writer)
            }
            SinkWrap::Progress => Box::new(Progress::new(inner, meter(meters))),
            SinkWrap::Opaque => Box::new(Opaque(inner)),
        })
    })
}
