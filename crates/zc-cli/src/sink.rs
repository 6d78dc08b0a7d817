//! The end that a command writes to: standard output, a device, or a file to be.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::target::{Pending, Target};

/// Whether `said` means standard output.
///
/// Its names in /dev lead to whatever it is. If that is a file, opening it by name would not mean its current
/// offset but the file as a whole, to be replaced.
pub(crate) fn is_standard(said: &OsStr) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| said == *name)
}

/// An end to write to, and what remains to be done once all is written.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) end: End,
    pending: Pending,
}

impl Sink {
    /// Opens `path`, or standard output if the user said so. See [`Target::open`] for `mode`.
    pub(crate) fn open(said: &OsStr, path: &Path, mode: u32) -> Result<Sink, Failure> {
        let open = || {
            if is_standard(said) {
                let end = End::standard(io::stdout())?;
                return Ok(Sink { end, pending: Pending::nothing() });
            }
            let Target { file, pending } = Target::open(path, mode)?;
            let end = End::new(file, path.to_string_lossy())?;
            Ok(Sink { end, pending })
        };
        open().map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error))
    }

    /// Gives the file its name, all being well.
    pub(crate) fn commit(self, done: Done) -> Result<Done, Failure> {
        match self.pending.commit() {
            Ok(()) => Ok(done),
            Err(error) => {
                let what = format!("cannot put {} in place", done.to.name);
                Err(Failure::io(what, &error).with(done))
            }
        }
    }
}
