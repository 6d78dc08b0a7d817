//! Names that mean a descriptor: `/dev/stdin`, `/dev/fd/3`, `/proc/self/fd/3`, and links to them.
//!
//! What stands behind such a name may be a file, and opening it would mean that file as a whole, from its
//! start on, to be replaced. The user means the descriptor, with its offset and mode, and perhaps it is
//! a socket, which cannot be opened at all.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::RawFd;
use std::path::Path;

/// As many as the kernel follows, path_resolution(7).
pub(crate) const MAX_LINKS: usize = 40;

/// The number of the descriptor that `name` means, if it means one.
pub(crate) fn meant(name: &OsStr) -> Option<RawFd> {
    let mut path = Path::new(name).to_path_buf();
    for _ in 0..MAX_LINKS {
        let last = path.file_name()?.to_str()?.parse().ok();
        let directory = path.parent().map(directory)?;
        if let Some(number) = last
            && is_of_descriptors(directory)
        {
            return Some(number);
        }
        match fs::read_link(&path) {
            Ok(next) => path = directory.join(next),
            Err(_) => return None,
        }
    }
    None
}

/// `parent`, which is empty for a plain name.
pub(crate) fn directory(parent: &Path) -> &Path {
    if parent == Path::new("") { Path::new(".") } else { parent }
}

/// Whether the names in `directory` are those of our descriptors.
fn is_of_descriptors(directory: &Path) -> bool {
    const OURS: [&str; 2] = ["/proc/self/fd", "/proc/thread-self/fd"];
    match directory.canonicalize() {
        Ok(path) => OURS.iter().any(|ours| Path::new(ours).canonicalize().is_ok_and(|o| o == path)),
        // Without /proc the name alone has to do.
        Err(_) => OURS.iter().chain(&["/dev/fd"]).any(|ours| directory == Path::new(ours)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_of_descriptors_are_known() {
        let pid = std::process::id();
        for (name, number) in [
            ("/dev/stdin", Some(0)),
            ("//dev/stdout", Some(1)),
            ("/dev/./stderr", Some(2)),
            ("/dev/fd/7", Some(7)),
            ("/proc/self/fd/12", Some(12)),
            ("/proc/thread-self/fd/1", Some(1)),
            (&format!("/proc/{pid}/fd/1"), Some(1)),
            ("/proc/1/fd/1", None),
            ("/dev/fd", None),
            ("/dev/fd/x", None),
            ("/dev/null", None),
            ("1", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(meant(OsStr::new(name)), number, "{name}");
        }
    }

    #[test]
    fn links_to_descriptors_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        symlink("/dev/stdout", &one).unwrap();
        symlink("one", &two).unwrap();
        assert_eq!(meant(two.as_os_str()), Some(1));
        let looped = dir.path().join("loop");
        symlink("loop", &looped).unwrap();
        assert_eq!(meant(looped.as_os_str()), None);
    }
}
