//! Bytes taken from a source and not yet delivered to a sink.

use rustix::io::Errno;
use zc_core::Held;

use crate::pipe::pool::{self, Lent};
use crate::sys;

/// Bytes in flight: in a pipe or in memory, never in both.
///
/// Whatever becomes of the copy, they are here: a driver may be dropped, and another continue with
/// them. A pipe is held only while there are bytes in it, or are about to be.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pub(crate) held: Held,
    pub(crate) pipe: Option<Lent>,
}

impl Flight {
    /// How many bytes are in flight.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.pipe.as_ref().map_or(0, |pipe| pipe.level())
    }

    /// The pipe to splice through; one from the pool if there is none yet.
    pub(crate) fn pipe(&mut self, size: usize) -> Result<&mut Lent, Errno> {
        if self.pipe.is_none() {
            self.pipe = Some(pool::lend(size)?);
        }
        Ok(self.pipe.as_mut().expect("set above"))
    }

    /// Brings what is in the pipe into memory, for a sink that cannot be spliced to.
    pub(crate) fn land(&mut self) -> Result<(), Errno> {
        while let Some(pipe) = &mut self.pipe
            && pipe.level() > 0
        {
            let level = pipe.level();
            let mut reader = sys::FdReader(pipe.read_end());
            match self.held.fill(&mut reader, level as u64) {
                // The pool's pipes are nobody else's: unless a hook says so, it cannot be empty.
                Ok(0) => return Err(Errno::IO),
                Ok(n) => pipe.took(n),
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        self.release();
        Ok(())
    }

    /// Gives back pipe and buffer as far as they are empty.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.release_pipe();
        self.held.release();
    }

    /// Gives back the pipe, if it is empty.
    #[inline]
    pub(crate) fn release_pipe(&mut self) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.level() == 0) {
            self.pipe = None;
        }
    }
}
