//! How the kit reads and writes the type under test: by std's traits, or by those of a sibling crate.

use std::cell::Cell;
use std::io::{self, Read, Write};

use crate::driver::{Link, Manner, Reach, StepError, walk_sink, walk_source};
use crate::{End, Sink, Source, StdIo};

/// What a walk down a source calls at its bottom.
pub type AtSource<'v> = dyn FnMut(Reach<'_>) -> u64 + 'v;

/// What a walk down a sink calls at its bottom.
pub type AtSink<'v> = dyn FnMut(Option<End<'_>>, Manner) + 'v;

/// A source, as the kit sees it. It is not blocked by any call.
pub trait SourceAccess {
    /// Reads once; `WouldBlock`: there is nothing now.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    /// [`walk_source`].
    fn walk(&mut self, link: Link, visit: &mut AtSource<'_>) -> Result<(), StepError>;
}

/// A sink, as the kit sees it. It is not blocked by any call.
pub trait SinkAccess {
    /// Writes once; `WouldBlock`: there is no room now.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;
    /// Flushes; `WouldBlock`: there is no room now.
    fn flush(&mut self) -> io::Result<()>;
    /// [`walk_sink`].
    fn walk(&mut self, delivered: &Cell<u64>, visit: &mut AtSink<'_>);
}

impl<S: Read + Source> SourceAccess for S {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buf)
    }
    fn walk(&mut self, link: Link, visit: &mut AtSource<'_>) -> Result<(), StepError> {
        walk_source::<StdIo>(self, link, visit)
    }
}

impl<S: Write + Sink> SinkAccess for S {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Write::write(self, buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
    fn walk(&mut self, delivered: &Cell<u64>, visit: &mut AtSink<'_>) {
        walk_sink::<StdIo>(self, delivered, visit);
    }
}
