//! A file until it is complete and has its name.
//!
//! If the name cannot be had in the end, the complete file is copied into the one that bears it. If that fails,
//! too, it keeps a temporary name.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod};
use rustix::io::Errno;

use super::attributes;
use super::manner::Sync;
use super::temporary::{self, Temporary, directory};
use crate::copier::copier;
use crate::end::identity;

/// A file that is not yet what it is to be. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Pending {
    file: File,
    target: PathBuf,
    sync: Sync,
    /// Whether it may take the name of a file that has come meanwhile.
    may_replace: bool,
    /// The file whose attributes it has.
    like: Option<Stamp>,
    pub(super) state: State,
}

/// Which file it is, and when its attributes last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp { file: identity(meta), changed: (meta.ctime(), meta.ctime_nsec()) }
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// It has its name, and what it holds is to go before the first byte comes.
    Old,
    /// It has its name, and what it holds stays.
    AsItIs,
    /// It has its name, because it could not get it later.
    Created,
    /// It has no name.
    Unnamed { replaces: bool },
    /// It has a temporary name.
    Named { temporary: Temporary, replaces: bool },
    /// Nothing is left to be done.
    Settled,
}

/// A complete file that has not got its name.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    pub(crate) error: io::Error,
    /// Where its bytes are, if they could be kept.
    pub(crate) kept: Option<PathBuf>,
}

impl Pending {
    pub(super) fn new(file: File, target: &Path, sync: Sync, state: State) -> Pending {
        Pending { file, target: target.into(), sync, may_replace: true, like: None, state }
    }

    /// The same, for a file that has the attributes of `old`.
    pub(super) fn like(mut self, old: &Metadata) -> Pending {
        self.like = Some(Stamp::of(old));
        self
    }

    /// The same, for a name that is free, and must still be free at the end.
    pub(super) fn that_replaces_none(mut self) -> Pending {
        self.may_replace = false;
        self
    }

    /// For a descriptor that was passed on to us, which stays as it is.
    pub(crate) fn inherited(file: File, sync: Sync) -> Pending {
        Pending::new(file, Path::new(""), sync, State::AsItIs)
    }

    /// What is to be done once there is something to write.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        if let State::Old = self.state {
            self.file.set_len(0)?;
            self.state = State::AsItIs;
        }
        Ok(())
    }

    /// Gives the file its real name, in place of what bears it.
    pub(crate) fn commit(mut self) -> Result<(), Uncommitted> {
        let replaces = match self.state {
            State::Unnamed { replaces } | State::Named { replaces, .. } => replaces,
            _ => false,
        };
        if self.sync == Sync::Always || (self.sync == Sync::Replacing && replaces) {
            self.reach_the_disk()?;
        }
        let had_its_name = matches!(self.state, State::AsItIs | State::Created);
        let named = match self.take_free_name() {
            Ok(false) => {
                let inherited = self.inherit();
                if self.sync == Sync::Replacing && !replaces {
                    // The old file has come in the meantime.
                    self.reach_the_disk()?;
                }
                inherited.and_then(|()| self.replace())
            }
            named => named.map(drop),
        };
        if let Err(error) = named {
            if let State::Named { temporary, .. } = &mut self.state {
                // Whatever happens while the old file is being written, one of the two is whole.
                temporary.outlive_us();
            }
            if self.write_in_place().is_err() {
                return Err(Uncommitted { error, kept: self.keep() });
            }
        }
        self.state = State::Settled;
        if had_its_name && self.is_gone() {
            let error = io::Error::new(ErrorKind::NotFound, "it has been removed meanwhile");
            return Err(Uncommitted { error, kept: None });
        }
        if self.sync == Sync::Always && self.has_name() {
            let lost = |error| Uncommitted { error, kept: None };
            sync_name(&self.file, &self.target).map_err(lost)?;
        }
        Ok(())
    }

    /// Waits until the content is on the disk. The old file is what remains if the disk does not take the new one.
    fn reach_the_disk(&mut self) -> Result<(), Uncommitted> {
        sync(&self.file).map_err(|error| Uncommitted { error, kept: self.keep() })
    }

    /// Whether it was written under its own name, and has none any more: nobody can have the bytes.
    fn is_gone(&self) -> bool {
        // Some of FUSE counts no names.
        let is_nameless = self.file.metadata().is_ok_and(|file| file.nlink() == 0);
        is_nameless && !self.is_there() && self.has_name()
    }

    /// Whether its name leads to it, and not to another file that bears it by now.
    fn is_there(&self) -> bool {
        let (there, ours) = (fs::metadata(&self.target), self.file.metadata());
        there.is_ok_and(|there| ours.is_ok_and(|ours| identity(&there) == identity(&ours)))
    }

    /// Whether it is a file whose name is known, and not a descriptor or a device.
    fn has_name(&self) -> bool {
        self.target != Path::new("") && self.file.metadata().is_ok_and(|meta| meta.is_file())
    }

    /// Gives the file its real name, if it has another or none, and nothing bears that; `false` if another file has to
    /// be replaced.
    fn take_free_name(&mut self) -> io::Result<bool> {
        let taken = match &mut self.state {
            State::Unnamed { .. } => match temporary::link(&self.file, &self.target) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                linked => linked,
            },
            State::Named { replaces: true, .. } => return Ok(false),
            State::Named { temporary, .. } => temporary.rename(&self.target, false),
            _ => return Ok(true),
        };
        match taken {
            Err(_) if self.may_replace => Ok(false),
            taken => taken.map(|()| true),
        }
    }

    /// Takes over the attributes of the file that is to be replaced, if it has come or changed since that was done.
    fn inherit(&self) -> io::Result<()> {
        let Ok(now) = fs::symlink_metadata(&self.target) else { return Ok(()) };
        if !now.is_file() || self.like == Some(Stamp::of(&now)) {
            return Ok(());
        }
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let old =
            OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(&self.target)?;
        // It is not empty any more, and owner, group, list and mode change one after the other.
        let _ = fchmod(&self.file, Mode::RUSR | Mode::WUSR);
        attributes::inherit(&self.file, &old)
    }

    /// Gives the file its real name in place of the one that bears it.
    fn replace(&mut self) -> io::Result<()> {
        if let State::Unnamed { .. } = self.state {
            // Links, unlike renames, do not replace. If this name is the last that it gets, it has that one at
            // least while the old file is being written.
            let temporary = Temporary::link(directory(&self.target), &self.file)?;
            self.state = State::Named { temporary, replaces: true };
        }
        match &mut self.state {
            State::Named { temporary, .. } => temporary.rename(&self.target, true),
            _ => Ok(()),
        }
    }

    /// Copies the complete file into the one that bears the name.
    fn write_in_place(&self) -> io::Result<()> {
        let mode = self.file.metadata()?.mode() & 0o777;
        // What has taken the name may be anything by now; a FIFO would keep us waiting.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let mut options = OpenOptions::new();
        options.write(true).mode(mode).custom_flags(flags);
        let (there, state) = match options.open(&self.target) {
            Ok(_) if !self.may_replace => return Err(Errno::EXIST.into()),
            // Not at once: in a sticky directory O_CREAT is refused where another's file is there already
            // (fs.protected_regular, Linux 4.19).
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (options.create_new(true).open(&self.target)?, State::Created)
            }
            there => (there?, State::Old),
        };
        if !there.metadata()?.is_file() {
            return Err(Errno::EXIST.into());
        }
        let mut there = Pending::new(there, &self.target, self.sync, state);
        there.begin()?;
        copy_all(&self.file, &mut there.file)?;
        if self.sync != Sync::Never {
            sync(&there.file)?;
        }
        there.state = State::Settled;
        Ok(())
    }

    /// Lets the complete file have a temporary name for good.
    fn keep(&mut self) -> Option<PathBuf> {
        match std::mem::replace(&mut self.state, State::Settled) {
            State::Named { temporary, .. } => Some(temporary.keep()),
            State::Unnamed { .. } => {
                let directories = [directory(&self.target).to_path_buf(), std::env::temp_dir()];
                directories.iter().find_map(|directory| keep_in(directory, &self.file).ok())
            }
            State::Old | State::AsItIs | State::Created | State::Settled => {
                Some(self.target.clone()).filter(|target| target.as_os_str() != "")
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Created = self.state
            && self.is_there()
        {
            let _ = fs::remove_file(&self.target);
        }
    }
}

/// Gives a complete file a temporary name in `directory`, or makes a copy that has one.
fn keep_in(directory: &Path, file: &File) -> io::Result<PathBuf> {
    if let Ok(linked) = Temporary::link(directory, file) {
        return Ok(linked.keep());
    }
    let (copy, mut to) = Temporary::create(directory, 0o600)?;
    copy_all(file, &mut to)?;
    Ok(copy.keep())
}

fn copy_all(mut from: &File, to: &mut File) -> io::Result<()> {
    from.rewind()?;
    copier().copy(&mut from, to)?;
    Ok(())
}

/// Waits until the file's content is on the disk, if it is the kind of file whose content can be.
fn sync(file: &File) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        Ok(()) | Err(Errno::INVAL | Errno::ROFS | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the file's name is on the disk.
fn sync_name(file: &File, target: &Path) -> io::Result<()> {
    match File::open(directory(target)) {
        Ok(directory) => sync(&directory),
        // One may be allowed to write a directory and not to read it.
        Err(_) => Ok(rustix::fs::syncfs(file)?),
    }
}
