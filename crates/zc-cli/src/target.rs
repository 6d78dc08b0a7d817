//! Where bytes are written so that no half file ever bears the real name.
//!
//! A file is written in the directory of its target and linked or renamed there when it is
//! complete. Until then it has no name at all (`O_TMPFILE`), so that nothing is left behind even if
//! the process is killed. Where the file system (NFS, FAT, most of FUSE) or the lack of /proc rules
//! that out, it has a temporary name, and a [`Janitor`] watches over it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::janitor::Janitor;

/// What an ordinary new file gets, less the umask.
pub(crate) const DEFAULT_MODE: u32 = 0o666;

/// What `open` found in place of a target, or made for it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Opened for writing.
    pub(crate) file: File,
    /// What is to be done once it is complete; nothing for a device or FIFO.
    pub(crate) pending: Pending,
}

/// A file that has not got its real name yet. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Pending(Option<State>);

#[derive(Debug)]
enum State {
    /// It has no name: link it, through the descriptor.
    Unnamed { target: PathBuf, file: OwnedFd },
    /// It has a temporary name.
    Named { target: PathBuf, temp: PathBuf, janitor: Option<Janitor> },
}

impl Target {
    /// Opens `path`, or a file that will take its place. A new file is made with `mode` less the
    /// umask; one that replaces another has its mode.
    pub(crate) fn open(path: &Path, mode: u32) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Err(Errno::ISDIR.into()),
            Ok(meta) if meta.is_file() => {
                // Renaming over a file takes no right to write it; replacing its content should.
                drop(OpenOptions::new().write(true).open(path)?);
                let target = Target::create(&path.canonicalize()?, mode)?;
                inherit(&target.file, &meta)?;
                Ok(target)
            }
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(path)?;
                Ok(Target { file, pending: Pending::nothing() })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let target = follow(path)?;
                match target.as_os_str().as_bytes().last() {
                    // Nobody should get to send what cannot be given its name in the end.
                    Some(b'/') => Err(Errno::ISDIR.into()),
                    Some(_) => Target::create(&target, mode),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn create(target: &Path, mode: u32) -> io::Result<Target> {
        // If this error matters, a named file meets it too.
        Target::unnamed(target, mode).or_else(|_| Target::named(target, mode))
    }

    fn unnamed(target: &Path, mode: u32) -> io::Result<Target> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(directory(target), flags, Mode::from_raw_mode(mode))?;
        fs::metadata(link_of(&file))?;
        let state = State::Unnamed { target: target.into(), file: file.try_clone()? };
        Ok(Target { file: file.into(), pending: Pending(Some(state)) })
    }

    fn named(target: &Path, mode: u32) -> io::Result<Target> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let (temp, file) = at_temporary_name(target, |temp| options.open(temp))?;
        let janitor = Janitor::hire(&temp);
        let state = State::Named { target: target.into(), temp, janitor };
        Ok(Target { file, pending: Pending(Some(state)) })
    }
}

impl Pending {
    /// Nothing to be done.
    pub(crate) fn nothing() -> Pending {
        Pending(None)
    }

    /// Gives the file its real name, in place of what bears it.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        match self.0.take() {
            None => Ok(()),
            Some(State::Named { target, temp, janitor: _janitor }) => rename(&temp, &target),
            Some(State::Unnamed { target, file }) => match link(&file, &target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // Links, unlike renames, do not replace.
                    let (temp, ()) = at_temporary_name(&target, |temp| link(&file, temp))?;
                    rename(&temp, &target)
                }
                linked => linked,
            },
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(State::Named { temp, .. }) = &self.0 {
            let _ = fs::remove_file(temp);
        }
    }
}

/// Calls `make` with temporary names beside `target` until one is free.
fn at_temporary_name<T>(
    target: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    let mut attempt = 0_u32;
    loop {
        // Not made of the target's name, which may be as long as names can be.
        let name = format!(".zc-{}-{attempt}.tmp", std::process::id());
        let temp = directory(target).join(name);
        match make(&temp) {
            Ok(made) => return Ok((temp, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn rename(temp: &Path, target: &Path) -> io::Result<()> {
    fs::rename(temp, target).inspect_err(|_| {
        let _ = fs::remove_file(temp);
    })
}

fn link(file: &OwnedFd, to: &Path) -> io::Result<()> {
    // linkat(2) with AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH before Linux 6.10.
    Ok(rustix::fs::linkat(CWD, link_of(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

fn link_of(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The path behind a chain of symbolic links whose last one leads nowhere yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    // As many as the kernel follows, path_resolution(7).
    const MAX_LINKS: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = directory(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

/// Gives `file` the owner, as far as permitted, and the mode of the one it will replace.
fn inherit(file: &File, old: &fs::Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        let _ = rustix::fs::fchown(file, Some(uid), Some(gid));
    }
    // Bits such as set-user-id vouch for the old content only.
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(old.mode() & 0o777))?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    type Create = fn(&Path, u32) -> io::Result<Target>;
    const BOTH: [Create; 2] = [Target::unnamed, Target::named];

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn appears_when_complete() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut target = create(&path, DEFAULT_MODE).unwrap();
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
            let mut target = create(&path, DEFAULT_MODE).unwrap();
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
            let mut target = create(&dir.path().join("file"), DEFAULT_MODE).unwrap();
            target.file.write_all(b"half").unwrap();
            drop(target);
            assert_eq!(names(dir.path()), 0);
        }
    }

    #[test]
    fn leaves_nothing_when_the_name_cannot_be_had() {
        for create in BOTH {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let target = create(&path, DEFAULT_MODE).unwrap();
            fs::create_dir(&path).unwrap();
            assert_eq!(target.pending.commit().unwrap_err().kind(), ErrorKind::IsADirectory);
            assert_eq!(names(dir.path()), 1);
        }
    }

    #[test]
    fn passes_over_temporary_names_that_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let one = Target::named(&dir.path().join("file"), DEFAULT_MODE).unwrap();
        let two = Target::named(&dir.path().join("file"), DEFAULT_MODE).unwrap();
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

        let target = Target::open(&link, DEFAULT_MODE).unwrap();
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
        Target::open(&link, DEFAULT_MODE).unwrap().pending.commit().unwrap();
        assert!(link.is_symlink() && path.is_file());

        let looped = dir.path().join("loop");
        std::os::unix::fs::symlink("loop", &looped).unwrap();
        assert!(Target::open(&looped, DEFAULT_MODE).is_err());
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
            let error = Target::open(&path, DEFAULT_MODE).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(errno), "{}", path.display());
        }
    }

    #[test]
    fn writes_devices_directly() {
        let target = Target::open(Path::new("/dev/null"), DEFAULT_MODE).unwrap();
        assert!(target.pending.0.is_none());
        target.pending.commit().unwrap();
    }
}
