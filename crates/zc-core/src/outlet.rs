//! A sink seen through all its layers.

use std::io::{self, Write};

use crate::PollFd;
use crate::held::retry;
use crate::inlet::in_drop;
use crate::sink::{Downstream, Drain, Sink};

/// A [`Sink`] as an engine sees it: one descriptor under any number of layers, some of which hold
/// bytes back.
///
/// ```
/// use std::io::{BufWriter, Read, Write};
/// use zc_core::Outlet;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let mut sink = BufWriter::new(writer);
/// sink.write_all(b"header")?;
///
/// let mut outlet = Outlet::new(&mut sink);
/// let (fd, holds_back) = outlet.reach();
/// assert!(fd.is_some() && holds_back);
/// outlet.flush()?; // now an engine may write to the descriptor
/// let mut header = [0; 6];
/// reader.read_exact(&mut header)?;
/// assert_eq!(&header, b"header");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Outlet<'s> {
    sink: &'s mut (dyn Sink + 's),
}

impl<'s> Outlet<'s> {
    /// Looks at `sink`; does not write to it.
    #[inline]
    pub fn new(sink: &'s mut (dyn Sink + 's)) -> Self {
        Outlet { sink }
    }

    /// The descriptor below all layers (`None`: the sink can only be written to), and whether some
    /// layer on the way may hold bytes back.
    #[inline]
    pub fn reach(&mut self) -> (Option<PollFd<'_>>, bool) {
        descend(self.sink, false)
    }

    /// Makes every layer that may hold bytes back pass them on, the outermost first. Blocks as they do.
    ///
    /// # Errors
    ///
    /// Those of the layers' `flush`, except `Interrupted`, which is retried; what a layer could not pass
    /// on, it still holds.
    pub fn flush(&mut self) -> io::Result<()> {
        fn each(sink: &mut dyn Sink) -> io::Result<()> {
            if sink.downstream().flush_first {
                retry(|| sink.flush())?;
            }
            match sink.downstream().drain {
                Drain::Through(inner) => each(inner),
                Drain::Fd(_) | Drain::Opaque => Ok(()),
            }
        }
        each(self.sink)
    }

    /// The sink's own `write`.
    #[inline]
    pub fn writer(&mut self) -> &mut dyn Write {
        self.sink
    }

    /// `n` bytes were delivered at the descriptor: tells every layer above it.
    ///
    /// Every layer is told even if one of them panics.
    #[inline]
    pub fn given(&mut self, n: u64) {
        if n > 0 {
            settle(self.sink, n);
        }
    }
}

impl std::fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

fn descend<'a>(sink: &'a mut (dyn Sink + 'a), buffers: bool) -> (Option<PollFd<'a>>, bool) {
    let Downstream { drain, flush_first } = sink.downstream();
    let buffers = buffers || flush_first;
    match drain {
        Drain::Through(inner) => descend(inner, buffers),
        Drain::Fd(fd) => (Some(fd), buffers),
        Drain::Opaque => (None, buffers),
    }
}

/// Tells its layer how many bytes were delivered, if any, when it is dropped: after the layers below have
/// been told, or one of them has panicked.
pub(crate) struct Given<'a, S: Sink + ?Sized>(pub(crate) &'a mut S, pub(crate) u64);

impl<S: Sink + ?Sized> Drop for Given<'_, S> {
    // The short way notices what a call costs, see `shallow`.
    #[inline(always)]
    fn drop(&mut self) {
        if self.1 > 0 {
            in_drop(|| self.0.given(self.1));
        }
    }
}

fn settle(sink: &mut dyn Sink, n: u64) {
    let tell = Given(sink, n);
    if let Drain::Through(inner) = tell.0.downstream().drain {
        settle(inner, n);
    }
}
