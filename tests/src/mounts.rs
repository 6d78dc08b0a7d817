//! File systems of a test's own. They are unmounted on every way out.
//!
//! Everything lies under one directory per mount, `zc-mount-<pid>-<number>` in the temporary directory. A test
//! process that was killed leaves mounts behind. The next one that mounts something knows them by that name and takes
//! them down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::raw;
use crate::skip::or_skip;

const PREFIX: &str = "zc-mount-";

/// A mounted file system, unmounted and deleted when dropped.
#[derive(Debug)]
pub struct Mount {
    base: PathBuf,
    kind: &'static str,
}

impl Mount {
    /// A tmpfs of `kib` KiB.
    ///
    /// # Errors
    ///
    /// Why it cannot be had. The same holds for all others.
    pub fn tmpfs(kib: u64) -> Result<Mount, String> {
        let mount = Mount::prepare("tmpfs")?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "zc", &mount.at()])?;
        Ok(mount)
    }

    /// One of each kind that can be written. Those that cannot be had are skipped.
    ///
    /// # Panics
    ///
    /// As [`or_skip`].
    pub fn writable() -> Vec<Mount> {
        let mounts = [
            Mount::ext4(32),
            Mount::tmpfs(32 << 10),
            Mount::overlay(),
            Mount::xfs(320),
            Mount::btrfs(256),
            Mount::fuse(32),
        ];
        mounts.into_iter().filter_map(or_skip).collect()
    }

    /// An ext4 of `mib` MiB in a loop image.
    pub fn ext4(mib: u64) -> Result<Mount, String> {
        // No blocks are kept back for root: these tests are root and want to see a full disk.
        Mount::image("ext4", mib, "mkfs.ext4", &["-q", "-F", "-m", "0"], &[])
    }

    /// An xfs in a loop image, able to share extents. Its smallest size is 300 MiB.
    pub fn xfs(mib: u64) -> Result<Mount, String> {
        Mount::image("xfs", mib, "mkfs.xfs", &["-q", "-m", "reflink=1"], &[])
    }

    /// A btrfs in a loop image.
    pub fn btrfs(mib: u64) -> Result<Mount, String> {
        Mount::image("btrfs", mib, "mkfs.btrfs", &["-q"], &[])
    }

    /// An overlay of two directories of the temporary directory's file system.
    pub fn overlay() -> Result<Mount, String> {
        let mount = Mount::prepare("overlay")?;
        let dir = |name: &str| -> Result<String, String> {
            let dir = mount.base.join(name);
            fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            Ok(dir.display().to_string())
        };
        let (lower, upper, work) = (dir("lower")?, dir("upper")?, dir("work")?);
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        run("mount", &["-t", "overlay", "-o", &options, "zc", &mount.at()])?;
        Ok(mount)
    }

    /// An ext4 in an image served from user space, by fuse2fs.
    pub fn fuse(mib: u64) -> Result<Mount, String> {
        let mount = Mount::prepare("fuse")?;
        let image = mount.make_image(mib)?;
        run("mkfs.ext4", &["-q", "-F", &image])?;
        run("fuse2fs", &["-o", "rw,fakeroot", &image, &mount.at()])?;
        Ok(mount)
    }

    /// A squashfs of what is in `content`, by the kernel.
    pub fn squashfs(content: &Path) -> Result<Mount, String> {
        let mount = Mount::prepare("squashfs")?;
        let image = mount.squash(content)?;
        run("mount", &["-t", "squashfs", "-o", "loop,ro", &image, &mount.at()])?;
        Ok(mount)
    }

    /// A squashfs of what is in `content`, served from user space by squashfuse.
    pub fn squashfuse(content: &Path) -> Result<Mount, String> {
        let mount = Mount::prepare("squashfuse")?;
        let image = mount.squash(content)?;
        run("squashfuse", &[&image, &mount.at()])?;
        Ok(mount)
    }

    /// Takes the file system away at once, without what has not been written, and mounts it again.
    ///
    /// # Errors
    ///
    /// Those of the ioctl, which ext4 and xfs know, and of mounting.
    pub fn power_cut(&self) -> Result<(), String> {
        let root = self.root();
        fs::File::open(&root).and_then(|root| raw::shut_down(&root)).map_err(|e| e.to_string())?;
        // A child that another test has just forked holds this process's descriptors until its exec. And a program in
        // a mount namespace of its own has the mount for as long as it runs. The image would then be mounted as the
        // same file system, which is shut down.
        for _ in 0..600 {
            if is_mounted(&root) {
                let _ = run("umount", &[&self.at()]);
            }
            if !is_mounted_anywhere(&root) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let image = self.base.join("image").display().to_string();
        run("mount", &["-t", self.kind, "-o", "loop", &image, &self.at()])
    }

    /// The kind of file system: `ext4`, `fuse` and so on.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The root of the file system.
    pub fn root(&self) -> PathBuf {
        self.base.join("root")
    }

    /// The path of the file `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn at(&self) -> String {
        self.root().display().to_string()
    }

    fn prepare(kind: &'static str) -> Result<Mount, String> {
        static SWEEP: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);
        if !rustix::process::geteuid().is_root() {
            return Err(format!("{kind}: mounting needs root"));
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let mount = Mount { base: std::env::temp_dir().join(name), kind };
        let root = mount.root();
        fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(mount)
    }

    fn image(
        kind: &'static str,
        mib: u64,
        mkfs: &str,
        mkfs_options: &[&str],
        mount_options: &[&str],
    ) -> Result<Mount, String> {
        let mount = Mount::prepare(kind)?;
        let image = mount.make_image(mib)?;
        run(mkfs, &[mkfs_options, &[&image]].concat())?;
        let options = [&["loop"], mount_options].concat().join(",");
        run("mount", &["-t", kind, "-o", &options, &image, &mount.at()])?;
        Ok(mount)
    }

    fn make_image(&self, mib: u64) -> Result<String, String> {
        let image = self.base.join("image");
        fs::File::create(&image)
            .and_then(|file| file.set_len(mib << 20))
            .map_err(|error| format!("{}: {error}", image.display()))?;
        Ok(image.display().to_string())
    }

    fn squash(&self, content: &Path) -> Result<String, String> {
        let image = self.base.join("image").display().to_string();
        let content = content.display().to_string();
        run("mksquashfs", &[&content, &image, "-quiet", "-no-progress"])?;
        Ok(image)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        take_down(&self.base);
    }
}

/// Runs a tool of the system.
///
/// # Errors
///
/// The tool's name, and what it said.
pub fn run(tool: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(tool)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} {}: {}", args.join(" "), said.trim()))
}

/// Unmounts what is mounted in `base`, and deletes it. Loop devices detach by themselves.
fn take_down(base: &Path) {
    let root = base.join("root");
    let at = root.display().to_string();
    if is_mounted(&root) && run("umount", &[&at]).is_err() {
        // A process still has a file open there. The mount has to go all the same, out of sight.
        let _ = run("umount", &["--lazy", &at]);
    }
    // No file is deleted through a mount that is still there.
    if !is_mounted(&root) {
        let _ = fs::remove_dir_all(base);
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let path = path.display().to_string();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(&path))
}

/// Whether any process has a mount there, in its own mount namespace.
fn is_mounted_anywhere(path: &Path) -> bool {
    let path = format!(" {} ", path.display());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut mounts =
        processes.filter_map(|it| fs::read_to_string(it.path().join("mountinfo")).ok());
    mounts.any(|mounts| mounts.contains(&path))
}

/// Takes down what test processes have left behind that have ended.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if let Some(pid) = owner
            && !Path::new("/proc").join(pid).exists()
        {
            take_down(&entry.path());
        }
    }
}
