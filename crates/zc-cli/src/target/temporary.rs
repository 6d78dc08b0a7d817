//! Files that have not got their name yet.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::janitor::Janitor;

/// A file without a name, on the file system of `directory`.
pub(crate) fn unnamed(directory: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(mode))?;
    // It gets its name by way of /proc.
    fs::metadata(link_of(&file))?;
    Ok(file.into())
}

/// A temporary name, removed when this drops, and with the process if it is killed.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    remove: bool,
    janitor: Option<Janitor>,
}

impl Temporary {
    /// Makes a file in `directory`.
    pub(crate) fn create(directory: &Path, mode: u32) -> io::Result<(Temporary, File)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        let (path, file) = at_free_name(directory, |path| options.open(path))?;
        let janitor = Janitor::hire(&path);
        Ok((Temporary { path, remove: true, janitor }, file))
    }

    /// Gives a file without a name one in `directory`. No janitor: it will not have it for long.
    pub(crate) fn link(directory: &Path, file: &File) -> io::Result<Temporary> {
        let (path, ()) = at_free_name(directory, |path| link(file, path))?;
        Ok(Temporary { path, remove: true, janitor: None })
    }

    /// Whether the file system lets names change: some of FUSE does not (ENOSYS, EXDEV).
    pub(crate) fn can_be_renamed(&mut self) -> bool {
        let directory = directory(&self.path).to_path_buf();
        let rename = |path: &Path| match path.symlink_metadata() {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(&self.path, path),
        };
        let Ok((path, ())) = at_free_name(&directory, rename) else { return false };
        // And back, to the name that the janitor knows.
        match fs::rename(&path, &self.path) {
            Ok(()) => true,
            Err(_) => {
                self.path = path;
                false
            }
        }
    }

    /// Gives the file the name `target`, in place of what bears it or only if nothing does.
    pub(crate) fn rename(&mut self, target: &Path, may_replace: bool) -> io::Result<()> {
        if may_replace {
            fs::rename(&self.path, target)?;
        } else {
            match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
                // FUSE and NFS cannot rename so.
                Err(Errno::INVAL | Errno::NOSYS) => match target.symlink_metadata() {
                    Ok(_) => return Err(Errno::EXIST.into()),
                    Err(_) => fs::rename(&self.path, target)?,
                },
                renamed => renamed?,
            }
        }
        self.remove = false;
        Ok(())
    }

    /// Lets the file keep its name if the process is killed.
    pub(crate) fn outlive_us(&mut self) {
        self.janitor = None;
    }

    /// Lets the file keep its temporary name, and says which.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.remove = false;
        std::mem::take(&mut self.path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.remove {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Calls `make` with temporary names in `directory` until one is free.
fn at_free_name<T>(
    directory: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    // No name is tried twice: another thread's file may bear it.
    static ATTEMPT: AtomicU32 = AtomicU32::new(0);
    // In containers that share a directory processes may have the same number, which is 1 as a rule.
    static MARK: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    loop {
        let attempt = ATTEMPT.fetch_add(1, Relaxed);
        // Not made of the target's name, which may be as long as names can be.
        let name = format!(".zc-{}-{:x}-{attempt}.tmp", std::process::id(), *MARK);
        let path = directory.join(name);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a file without a name its first one, if nothing bears it.
pub(crate) fn link(file: &impl AsFd, to: &Path) -> io::Result<()> {
    // linkat(2) with AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH before Linux 6.10.
    Ok(rustix::fs::linkat(CWD, link_of(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

fn link_of(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// The directory that `path` is in.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().map_or(Path::new("."), crate::descriptor::directory)
}
