//! A root file system with the tests and little else.
//!
//! Programs are copied as they are on this machine, with the libraries that they name, each under its own path. So
//! the same tests run there, byte for byte, and find the programs that they start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::programs::Executable;
use super::suite::{MODULES, Program, TOOLS};
use super::{Caught, debian, output, succeed};

const INIT: &str = include_str!("init.sh");

/// A root file system in the making.
pub(crate) struct Initramfs<'a> {
    root: &'a Path,
    busybox: &'a Path,
    /// The programs whose libraries are there.
    seen: BTreeSet<PathBuf>,
}

impl<'a> Initramfs<'a> {
    /// A new one in `root`, with what the tests need, but without the kernel's modules and the tests.
    pub(crate) fn new(root: &'a Path, busybox: &'a Path) -> Result<Initramfs<'a>, Caught> {
        let _ = fs::remove_dir_all(root);
        let mut made = Initramfs { root, busybox, seen: BTreeSet::new() };
        made.copy(busybox, Path::new("/bin/busybox"))?;
        made.write("/init", INIT, 0o755)?;
        made.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644)?;
        made.write("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n", 0o644)?;
        for tool in TOOLS {
            if let Some(path) = find(tool) {
                made.program(&path)?;
            }
        }
        Ok(made)
    }

    /// Adds the programs, in this order.
    pub(crate) fn programs(
        &mut self,
        executables: &[Executable],
        programs: &[Program<'_>],
        directory: &Path,
    ) -> Result<(), Caught> {
        // Debugging information is most of a test, and memory is scarce in the machine.
        for built in executables {
            self.libraries(&built.path)?;
            let stripped = self.place(&built.path)?;
            succeed(
                Command::new("strip").arg("--strip-debug").arg(&built.path).arg("-o").arg(stripped),
            )?;
        }
        // Otherwise the tests would have cargo build it.
        let tool = executables.iter().find(|built| built.name == "zc" && !built.is_test);
        let tool = tool.ok_or("the tool was not built")?;
        self.write("/zc", &format!("{}\n", tool.path.display()), 0o644)?;
        let mut list = String::new();
        for program in programs {
            let Program { name, options, seconds } = program;
            let is_it = |built: &&Executable| {
                built.name == program.binary() && built.is_test == options.is_none()
            };
            let built = executables.iter().find(is_it);
            let built = built.ok_or_else(|| format!("no program is called {name}"))?;
            let options = program.arguments();
            list += &format!("{seconds} {name} {} {options}\n", built.path.display());
        }
        self.write("/programs", &list, 0o644)?;
        // The directory in which cargo would start them.
        fs::create_dir_all(self.at(directory))?;
        self.write("/directory", &format!("{}\n", directory.display()), 0o644)
    }

    /// Adds the modules that the tests need, and those that these need, from the kernel unpacked in `kernel`.
    pub(crate) fn modules(&self, kernel: &Path) -> Result<(), Caught> {
        let all = debian::entry(&kernel.join("lib/modules"), "")?;
        let version = all.file_name().expect("a directory has a name");
        // Debian compresses modules since 6.12, and busybox cannot load them compressed.
        let mut find = Command::new(self.busybox);
        find.arg("find").arg(&all).args(["-name", "*.ko.xz", "-exec"]);
        succeed(find.arg(self.busybox).args(["unxz", "{}", "+"]))?;
        let depmod = ["depmod".as_ref(), "-b".as_ref(), kernel.as_os_str(), version];
        succeed(Command::new(self.busybox).args(depmod))?;
        let here = Path::new("/lib/modules").join(version);
        let index = fs::read_to_string(all.join("modules.dep"))?;
        for line in index.lines() {
            // A module, a colon, and all modules that it needs, directly or not.
            let (module, needed) = line.split_once(':').unwrap_or((line, ""));
            let name = Path::new(module).file_name().unwrap_or_default().to_string_lossy();
            if !MODULES.contains(&name.split('.').next().unwrap_or_default()) {
                continue;
            }
            for module in [module].into_iter().chain(needed.split_whitespace()) {
                self.copy(&all.join(module), &here.join(module))?;
            }
        }
        self.copy(&all.join("modules.dep"), &here.join("modules.dep"))?;
        self.write("/modules", &(MODULES.join("\n") + "\n"), 0o644)
    }

    /// Packs it as the kernel reads it.
    pub(crate) fn pack(&self, into: &Path) -> Result<(), Caught> {
        let busybox = self.busybox.display();
        let script = format!("{busybox} find . | {busybox} cpio -o -H newc");
        let packed = File::create(into)?;
        let mut sh = Command::new(self.busybox);
        sh.args(["sh", "-c", &script]).current_dir(self.root);
        // cpio prints how many blocks there were, which is of no use.
        succeed(sh.stdout(packed).stderr(Stdio::null()))
    }

    /// Copies a program of this machine.
    fn program(&mut self, path: &Path) -> Result<(), Caught> {
        self.libraries(path)?;
        self.copy(path, path)
    }

    /// Copies the libraries that a program names, and the loader.
    fn libraries(&mut self, program: &Path) -> Result<(), Caught> {
        if !self.seen.insert(program.to_owned()) {
            return Ok(());
        }
        // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
        for line in output(Command::new("ldd").arg(program))?.lines() {
            let library = line.split_whitespace().find(|word| word.starts_with('/'));
            let Some(library) = library.map(PathBuf::from) else { continue };
            if self.seen.insert(library.clone()) {
                self.copy(&library, &library)?;
            }
        }
        Ok(())
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), Caught> {
        let path = self.place(Path::new(path))?;
        fs::write(&path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<(), Caught> {
        let to = self.place(to)?;
        fs::copy(from, to).map_err(|error| format!("{}: {error}", from.display()))?;
        Ok(())
    }

    /// The path's place in this file system in the making. Makes its directory.
    fn place(&self, path: &Path) -> Result<PathBuf, Caught> {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("it is below the root"))?;
        Ok(path)
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The path of a program. Not every user has the system's directories in `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Path::new);
    dirs.into_iter().map(|dir| dir.join(program)).find(|path| path.exists())
}
