//! Bytes taken from a source and not yet delivered to a sink.

use rustix::io::Errno;
use zc_core::driver::Buffer;

use crate::pool::{self, Lent};
use crate::sys;

/// Bytes in flight: in a pipe or in memory; in both only where bringing them into memory has failed half-way.
/// Then those in memory come first.
///
/// They survive the driver: another may continue with them. A pipe is held only while there are
/// bytes in it, or are about to be.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pub(crate) buffer: Buffer,
    pub(crate) pipe: Option<Lent>,
    /// The process that took them. A forked child has the same pipe, and a copy of the memory; delivered by
    /// both, they would be there twice.
    owner: u64,
}

impl Flight {
    /// How many bytes are in flight.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() + self.pipe.as_ref().map_or(0, |pipe| pipe.level())
    }

    /// Whether some of them are in a pipe.
    #[inline]
    pub(crate) fn is_in_pipe(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.level() > 0)
    }

    /// Makes this process the owner if nothing is in flight. `false`: what is belongs to another.
    #[inline]
    pub(crate) fn is_ours(&mut self) -> bool {
        let process = sys::process();
        if self.len() == 0 {
            if self.owner != process {
                // A pipe that was empty at the fork is still the parent's.
                self.pipe = None;
                self.owner = process;
            }
            return true;
        }
        self.owner == process
    }

    /// Bytes that another copy could not deliver.
    pub(crate) fn of(bytes: Vec<u8>) -> Flight {
        Flight { buffer: bytes.into(), pipe: None, owner: sys::process() }
    }

    /// The pipe to splice through; one from the pool if there is none yet.
    pub(crate) fn pipe(&mut self, size: usize) -> Result<&mut Lent, Errno> {
        if self.pipe.is_none() {
            self.pipe = Some(pool::lend(size)?);
        }
        Ok(self.pipe.as_mut().expect("set above"))
    }

    /// Brings what is in the pipe into memory, for a sink that cannot be spliced to, and gives the pipe back.
    pub(crate) fn land(&mut self) -> Result<(), Errno> {
        while let Some(pipe) = &mut self.pipe
            && pipe.level() > 0
        {
            let from = pipe.read_end();
            let level = pipe.level() as u64;
            match self.buffer.fill(level, |room| Ok(sys::read_fd(from, room)?)) {
                // The pool's pipes are never shared: only a hook can make this one seem empty.
                Ok((0, _)) => return Err(Errno::IO),
                Ok((n, _)) => pipe.took(n),
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        self.release();
        Ok(())
    }

    /// Gives back pipe and memory as far as they are empty.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.release_pipe();
        self.buffer.release();
    }

    /// Gives back the pipe, if it is empty.
    #[inline]
    pub(crate) fn release_pipe(&mut self) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.level() == 0) {
            self.pipe = None;
        }
    }

    /// Before a wait, which may be long: keeps no more than about twice the bytes in flight, and no pipe
    /// once pipes are scarce. `may_lend`: what is in a pipe may be pages of a file that others change meanwhile.
    pub(crate) fn park(&mut self, may_lend: bool) {
        self.release();
        if let Some(pipe) = &self.pipe
            && (!may_lend || pool::is_scarce() || pipe.level() < pipe.capacity() / 2)
        {
            // Only a hook can make this fail, and then the pipe keeps them.
            let _ = self.land();
        }
        self.buffer.shrink();
    }
}
