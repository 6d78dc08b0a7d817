//! The end that a command writes to: standard output, a device, or a file to be.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

use crate::descriptor;
use crate::end::{End, Use};
use crate::error::Failure;
use crate::target::{Disposition, Manner, Pending, Target, Uncommitted};

const STANDARD: RawFd = 1;

/// Whether `said` means standard output.
pub(crate) fn is_standard(said: &OsStr) -> bool {
    number(said) == Some(STANDARD)
}

/// The descriptor that `said` means, if it means one.
fn number(said: &OsStr) -> Option<RawFd> {
    if said == "-" { Some(STANDARD) } else { descriptor::meant(said) }
}

/// An end to write to, and what remains to be done once all is written.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) end: End,
    pending: Pending,
    /// Device and inode of the file that will have the bytes, or of the one that bears the name until then.
    pub(crate) identity: Option<(u64, u64)>,
    /// How much of the file is there already.
    pub(crate) offset: u64,
}

impl Sink {
    /// Opens `path`, or the descriptor that the user meant.
    pub(crate) fn open(said: &OsStr, path: &Path, manner: Manner) -> Result<Sink, Failure> {
        let open = || {
            if let Some(number) = number(said) {
                if manner.disposition == Disposition::Resume {
                    let why =
                        "of an open descriptor nothing says what is there already: name the file";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
                let end = End::inherited(number, said, Use::Write)?;
                let file = File::from(end.fd.get_ref().try_clone()?);
                let (pending, identity) = (Pending::inherited(file, manner.sync), end.identity);
                return Ok(Sink { end, pending, identity, offset: 0 });
            }
            let Target { file, pending, old: identity, offset } = Target::open(path, manner)?;
            let end = End::new(file, path.to_string_lossy())?;
            Ok(Sink { end, pending, identity, offset })
        };
        open().map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error))
    }

    /// Goes on after what the file holds by now.
    pub(crate) fn go_to_end(&mut self) -> Result<(), Failure> {
        if self.end.identity.is_some() {
            let end = seek(&self.end.fd, SeekFrom::End(0)).map_err(io::Error::from);
            let what = || format!("cannot write {}", self.end.about.name);
            self.offset = end.map_err(|error| Failure::io(what(), &error))?;
        }
        Ok(())
    }

    /// Makes room, once it is certain that there is something to write.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        let begun = self.pending.begin();
        begun.map_err(|error| Failure::io(format!("cannot write {}", self.end.about.name), &error))
    }

    /// Gives the file its name, all being well.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        self.pending.commit().map_err(|Uncommitted { error, kept }| {
            let failure =
                Failure::io(format!("cannot put {} in place", self.end.about.name), &error);
            match kept {
                Some(path) => failure.kept(&path),
                None => failure,
            }
        })
    }
}
