//! Where bytes are written so that no half file ever bears the real name.
//!
//! A file is written in the directory of its target and linked or renamed there when it is
//! complete. Until then it has no name at all (`O_TMPFILE`), so that nothing is left behind even if
//! the process is killed. Where the file system (NFS, FAT, most of FUSE) or the lack of /proc rules
//! that out, it has a temporary name, and a janitor watches over it.
//!
//! Where no new file can take the place of the old one ([`replaceable`]), that one is written, as cp(1) does.
//! [`pending`] says what happens if this turns out only at the end.

mod acl;
mod attributes;
mod manner;
mod pending;
mod replaceable;
mod temporary;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::descriptor::MAX_LINKS;
use crate::end::identity;
use pending::State;
use temporary::{Temporary, directory};

pub(crate) use manner::{DEFAULT_MODE, Disposition, Manner, Sync};
pub(crate) use pending::{Pending, Uncommitted};

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

impl Target {
    /// Opens `path`, or a file that will take its place.
    pub(crate) fn open(path: &Path, manner: Manner) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(_) if manner.disposition == Disposition::New => Err(Errno::EXIST.into()),
            Ok(meta) if meta.is_dir() => Err(Errno::ISDIR.into()),
            Ok(meta) if meta.is_file() => Target::over(path, manner),
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(path)?;
                Target::new(file, path, manner.sync, State::AsItIs)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let target = follow(path)?;
                match target.as_os_str().as_bytes().last() {
                    // No client should send what cannot be given its name in the end.
                    Some(b'/') => Err(Errno::ISDIR.into()),
                    Some(_) => Target::create(&target, manner),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn new(file: File, target: &Path, sync: Sync, state: State) -> io::Result<Target> {
        let pending = Pending::new(file.try_clone()?, target, sync, state);
        Ok(Target { file, pending, old: None, offset: 0 })
    }

    /// Where there is a file.
    fn over(path: &Path, manner: Manner) -> io::Result<Target> {
        // Renaming over a file takes no right to write it; replacing its content should.
        let mut file = OpenOptions::new().write(true).open(path)?;
        let meta = file.metadata()?;
        let successor = match manner.disposition {
            Disposition::Replace => Target::successor(path, &file, &meta, manner.sync),
            Disposition::InPlace | Disposition::Resume | Disposition::New => None,
        };
        // Behind links, it is the file's own directory that holds its name.
        let name = || replaceable::name_of(path, &meta).unwrap_or_else(|| path.into());
        let mut target = match successor {
            Some(target) => target,
            None if manner.disposition == Disposition::Resume => {
                let offset = file.seek(io::SeekFrom::End(0))?;
                Target { offset, ..Target::new(file, &name(), manner.sync, State::AsItIs)? }
            }
            None => Target::new(file, &name(), manner.sync, State::Old)?,
        };
        target.old = Some(identity(&meta));
        Ok(target)
    }

    /// A file to take the place of `old`, if one can.
    fn successor(path: &Path, old: &File, meta: &Metadata, sync: Sync) -> Option<Target> {
        let name = replaceable::name_of(path, meta)?;
        if !replaceable::is_replaceable(&name, meta) {
            return None;
        }
        let mode = attributes::mode_to_start_with(old, meta, directory(&name));
        // The directory refuses, but the file itself may be written.
        let target = Target::temporary(&name, mode, sync, true).ok()??;
        attributes::inherit(&target.file, old).ok()?;
        Some(Target { pending: target.pending.like(meta), ..target })
    }

    /// Where there is none.
    fn create(target: &Path, Manner { mode, sync, disposition }: Manner) -> io::Result<Target> {
        let temporary = match disposition {
            Disposition::Replace => Target::temporary(target, mode, sync, false)?,
            Disposition::New => {
                let temporary = Target::temporary(target, mode, sync, false)?;
                temporary.map(Target::that_replaces_none)
            }
            Disposition::InPlace | Disposition::Resume => None,
        };
        if let Some(temporary) = temporary {
            return Ok(temporary);
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(target)?;
        // Half a file is what the next one resumes.
        let state = if disposition == Disposition::Resume { State::AsItIs } else { State::Created };
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
            Err(_) if replaceable::keeps_everything(directory(target)) => Ok(None),
            Err(_) => Target::named(target, mode, sync, replaces),
        }
    }

    fn that_replaces_none(self) -> Target {
        Target { pending: self.pending.that_replaces_none(), ..self }
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    const MANNER: Manner =
        Manner { mode: DEFAULT_MODE, sync: Sync::Replacing, disposition: Disposition::Replace };

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
