//! Where bytes are written so that no half file ever bears the real name.
//!
//! A file is written in the directory of its target and linked or renamed there when it is
//! complete. Until then it has no name at all (`O_TMPFILE`), so that nothing is left behind even if
//! the process is killed. Where the file system (NFS, FAT, most of FUSE) or the lack of /proc rules
//! that out, it has a temporary name, and a janitor watches over it.
//!
//! Where no new file can take the place of the old one ([`place`]), that one is written, as cp(1) does.
//! If this turns out only at the end, the complete file is copied into the old one; and if not even that can
//! be done, it keeps a temporary name.

mod acl;
mod attributes;
mod place;
mod temporary;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::copier::copier;
use crate::descriptor::MAX_LINKS;
use temporary::{Temporary, directory};

/// What an ordinary new file gets, less the umask.
pub(crate) const DEFAULT_MODE: u32 = 0o666;

/// How a target is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// What a new file is made with, less the umask; one that replaces another has its mode.
    pub(crate) mode: u32,
    pub(crate) sync: Sync,
    pub(crate) way: Way,
}

impl Manner {
    /// Without options.
    pub(crate) fn ordinary(mode: u32) -> Manner {
        Manner { mode, sync: Sync::Replacing, way: Way::Replace }
    }
}

/// What is on the disk before a copy is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Whatever the kernel has got round to.
    Never,
    /// A file that takes the place of another: either of them survives a power cut.
    Replacing,
    /// Every file, and its name.
    Always,
}

/// Which file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A new one, which takes the name once it is complete.
    Replace,
    /// The old one, if there is one.
    InPlace,
    /// The old one, after what it holds already.
    Resume,
    /// A new one, where there is none.
    New,
}

/// What `open` found in place of a target, or made for it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Opened for writing.
    pub(crate) file: File,
    /// What is to be done before the first byte and after the last one.
    pub(crate) pending: Pending,
    /// Device and inode of the file that bears the name.
    pub(crate) old: Option<(u64, u64)>,
    /// How much of the file is there already.
    pub(crate) offset: u64,
}

/// A file that is not yet what it is to be. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Pending {
    file: File,
    target: PathBuf,
    sync: Sync,
    /// Whether it may take the name of a file that has come meanwhile.
    may_replace: bool,
    state: State,
}

#[derive(Debug)]
enum State {
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

impl Target {
    /// Opens `path`, or a file that will take its place.
    pub(crate) fn open(path: &Path, manner: Manner) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(_) if manner.way == Way::New => Err(Errno::EXIST.into()),
            Ok(meta) if meta.is_dir() => Err(Errno::ISDIR.into()),
            Ok(meta) if meta.is_file() => Target::over(path, manner),
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(path)?;
                Target::new(file, path, manner.sync, State::AsItIs)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let target = follow(path)?;
                match target.as_os_str().as_bytes().last() {
                    // Nobody should get to send what cannot be given its name in the end.
                    Some(b'/') => Err(Errno::ISDIR.into()),
                    Some(_) => Target::create(&target, manner),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn new(file: File, target: &Path, sync: Sync, state: State) -> io::Result<Target> {
        let pending = Pending {
            file: file.try_clone()?,
            target: target.into(),
            sync,
            may_replace: true,
            state,
        };
        Ok(Target { file, pending, old: None, offset: 0 })
    }

    /// Where there is a file.
    fn over(path: &Path, manner: Manner) -> io::Result<Target> {
        // Renaming over a file takes no right to write it; replacing its content should.
        let mut file = OpenOptions::new().write(true).open(path)?;
        let meta = file.metadata()?;
        let successor = match manner.way {
            Way::Replace => Target::successor(path, &file, &meta, manner.sync),
            Way::InPlace | Way::Resume | Way::New => None,
        };
        let mut target = match successor {
            Some(target) => target,
            None if manner.way == Way::Resume => {
                let offset = file.seek(io::SeekFrom::End(0))?;
                Target { offset, ..Target::new(file, path, manner.sync, State::AsItIs)? }
            }
            None => Target::new(file, path, manner.sync, State::Old)?,
        };
        target.old = Some((meta.dev(), meta.ino()));
        Ok(target)
    }

    /// A file to take the place of `old`, if one can.
    fn successor(path: &Path, old: &File, meta: &Metadata, sync: Sync) -> Option<Target> {
        let name = place::name_of(path, meta)?;
        if !place::is_replaceable(&name, meta) {
            return None;
        }
        let mode = attributes::mode_to_start_with(old, meta, directory(&name));
        // Whatever the directory refuses: the file itself may be written.
        let target = Target::temporary(&name, mode, sync, true).ok()??;
        attributes::inherit(&target.file, old).ok()?;
        Some(target)
    }

    /// Where there is none.
    fn create(target: &Path, Manner { mode, sync, way }: Manner) -> io::Result<Target> {
        let temporary = match way {
            Way::Replace => Target::temporary(target, mode, sync, false)?,
            Way::New => {
                let temporary = Target::temporary(target, mode, sync, false)?;
                temporary.map(Target::that_replaces_none)
            }
            Way::InPlace | Way::Resume => None,
        };
        if let Some(temporary) = temporary {
            return Ok(temporary);
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(target)?;
        // Half a file is what the next one resumes.
        let state = if way == Way::Resume { State::AsItIs } else { State::Created };
        Target::new(file, target, sync, state)
    }

    /// A file to get the name `target`; `None` if names cannot be changed there.
    fn temporary(
        target: &Path,
        mode: u32,
        sync: Sync,
        replaces: bool,
    ) -> io::Result<Option<Target>> {
        // If this error matters, a named file meets it too.
        match Target::unnamed(target, mode, sync, replaces) {
            Ok(unnamed) => Ok(Some(unnamed)),
            Err(_) if place::keeps_everything(directory(target)) => Ok(None),
            Err(_) => Target::named(target, mode, sync, replaces),
        }
    }

    fn that_replaces_none(mut self) -> Target {
        self.pending.may_replace = false;
        self
    }

    fn unnamed(target: &Path, mode: u32, sync: Sync, replaces: bool) -> io::Result<Target> {
        let file = temporary::unnamed(directory(target), mode)?;
        Target::new(file, target, sync, State::Unnamed { replaces })
    }

    fn named(target: &Path, mode: u32, sync: Sync, replaces: bool) -> io::Result<Option<Target>> {
        let (mut temporary, file) = Temporary::create(directory(target), mode)?;
        if !temporary.can_be_renamed() {
            return Ok(None);
        }
        Target::new(file, target, sync, State::Named { temporary, replaces }).map(Some)
    }
}

impl Pending {
    /// For a descriptor that was passed on to us: what it is, it stays.
    pub(crate) fn inherited(file: File, sync: Sync) -> Pending {
        Pending { file, target: PathBuf::new(), sync, may_replace: true, state: State::AsItIs }
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
        let lost = |error| Uncommitted { error, kept: None };
        if self.sync == Sync::Always || (self.sync == Sync::Replacing && replaces) {
            // The old file is what remains if the disk does not take the new one.
            sync(&self.file).map_err(|error| Uncommitted { error, kept: self.keep() })?;
        }
        match self.place() {
            Ok(()) => {}
            Err(error) => match self.write_in_place() {
                Ok(()) => {}
                Err(_) => return Err(Uncommitted { error, kept: self.keep() }),
            },
        }
        let is_made = !matches!(self.state, State::AsItIs);
        self.state = State::Settled;
        if self.sync == Sync::Always && is_made {
            sync_name(&self.file, &self.target).map_err(lost)?;
        }
        Ok(())
    }

    fn place(&mut self) -> io::Result<()> {
        if let State::Unnamed { .. } = self.state {
            match temporary::link(&self.file, &self.target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && self.may_replace => {}
                linked => return linked,
            }
            if self.sync != Sync::Never {
                // Perhaps the old file has come in the meantime.
                sync(&self.file)?;
            }
            // Links, unlike renames, do not replace. If this name is the last that it gets, it has that one at
            // least while the old file is being written.
            let temporary = Temporary::link(directory(&self.target), &self.file)?;
            self.state = State::Named { temporary, replaces: true };
        }
        match &mut self.state {
            State::Named { temporary, .. } => temporary.rename(&self.target, self.may_replace),
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
        let mut there = match options.open(&self.target) {
            Ok(_) if !self.may_replace => return Err(Errno::EXIST.into()),
            // Not at once: in a sticky directory O_CREAT is refused where another's file is there already
            // (fs.protected_regular, Linux 4.19).
            Err(error) if error.kind() == ErrorKind::NotFound => {
                options.create_new(true).open(&self.target)?
            }
            there => there?,
        };
        if !there.metadata()?.is_file() {
            return Err(Errno::EXIST.into());
        }
        there.set_len(0)?;
        copy_all(&self.file, &mut there)?;
        if self.sync == Sync::Never { Ok(()) } else { sync(&there) }
    }

    /// Lets the complete file have a temporary name for good.
    fn keep(&mut self) -> Option<PathBuf> {
        match std::mem::replace(&mut self.state, State::Settled) {
            State::Named { temporary, .. } => Some(temporary.keep()),
            State::Unnamed { .. } => {
                let places = [directory(&self.target).to_path_buf(), std::env::temp_dir()];
                places.iter().find_map(|place| keep_in(place, &self.file).ok())
            }
            State::Old | State::AsItIs | State::Created | State::Settled => {
                Some(self.target.clone()).filter(|target| target.as_os_str() != "")
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Created = self.state {
            let _ = fs::remove_file(&self.target);
        }
    }
}

/// Gives a complete file a temporary name in `place`, or makes a copy that has one.
fn keep_in(place: &Path, file: &File) -> io::Result<PathBuf> {
    if let Ok(linked) = Temporary::link(place, file) {
        return Ok(linked.keep());
    }
    let (copy, mut to) = Temporary::create(place, 0o600)?;
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

/// The path behind a chain of symbolic links whose last one leads nowhere yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = directory(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MANNER: Manner = Manner { mode: DEFAULT_MODE, sync: Sync::Replacing, way: Way::Replace };

    type Create = fn(&Path) -> Target;
    const BOTH: [Create; 2] = [unnamed, named];

    fn unnamed(path: &Path) -> Target {
        Target::unnamed(path, DEFAULT_MODE, Sync::Replacing, false).unwrap()
    }

    fn named(path: &Path) -> Target {
        Target::named(path, DEFAULT_MODE, Sync::Replacing, false).unwrap().expect("renames")
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn appears_when_complete() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut target = create(&path);
            target.file.write_all(b"new").unwrap();
            assert!(!path.exists());
            target.pending.commit().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(dir.path()), 1);
        }
    }

    #[test]
    fn replaces_when_complete() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            fs::write(&path, "old").unwrap();
            let mut target = create(&path);
            target.file.write_all(b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            target.pending.commit().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(dir.path()), 1);
        }
    }

    #[test]
    fn leaves_nothing_when_dropped() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let mut target = create(&dir.path().join("file"));
            target.file.write_all(b"half").unwrap();
            drop(target);
            assert_eq!(names(dir.path()), 0);
        }
    }

    #[test]
    fn keeps_the_bytes_when_the_name_cannot_be_had() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut target = create(&path);
            target.file.write_all(b"new").unwrap();
            fs::create_dir(&path).unwrap();
            let Uncommitted { error, kept } = target.pending.commit().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IsADirectory);
            assert_eq!(fs::read(kept.unwrap()).unwrap(), b"new");
            assert_eq!(names(dir.path()), 2);
        }
    }

    #[test]
    fn passes_over_temporary_names_that_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let one = named(&dir.path().join("file"));
        let two = named(&dir.path().join("file"));
        assert_eq!(names(dir.path()), 2);
        drop((one, two));
        assert_eq!(names(dir.path()), 0);
    }

    #[test]
    fn keeps_the_mode_and_the_links() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();

        let target = Target::open(&link, MANNER).unwrap();
        target.pending.commit().unwrap();
        assert!(link.is_symlink());
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.len()), (0o751, 0));
    }

    #[test]
    fn follows_a_link_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        Target::open(&link, MANNER).unwrap().pending.commit().unwrap();
        assert!(link.is_symlink() && path.is_file());

        let looped = dir.path().join("loop");
        std::os::unix::fs::symlink("loop", &looped).unwrap();
        assert!(Target::open(&looped, MANNER).is_err());
    }

    #[test]
    fn refuses_at_once_a_name_that_no_file_can_have() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("no directory/", &link).unwrap();
        let names_none = [
            (dir.path().join("no directory/"), Errno::ISDIR),
            (link, Errno::ISDIR),
            (PathBuf::new(), Errno::NOENT),
        ];
        for (path, errno) in names_none {
            let error = Target::open(&path, MANNER).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(errno), "{}", path.display());
        }
    }

    #[test]
    fn writes_devices_directly() {
        let target = Target::open(Path::new("/dev/null"), MANNER).unwrap();
        assert!(matches!(target.pending.state, State::AsItIs));
        target.pending.commit().unwrap();
    }
}
