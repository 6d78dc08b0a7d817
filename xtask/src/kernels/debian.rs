//! Debian's packages, fetched and unpacked. Nothing is installed, and this machine's own package lists stay as they
//! are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Caught, output, succeed};

/// The keys that Debian signs with, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirror from which this machine's apt gets Debian's packages, without the archive's name.
pub(crate) fn mirror() -> Result<String, Caught> {
    let sites = output(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    let mirror = sites.lines().find_map(|site| site.trim_end_matches('/').strip_suffix("/debian"));
    Ok(mirror.ok_or("apt has no source of Debian's packages: name one with --mirror")?.to_owned())
}

/// Some suites of Debian, with lists of their own.
pub(crate) struct Debian {
    dir: PathBuf,
}

impl Debian {
    /// The suites of `sources` at `mirror`. All their files are in `dir`.
    pub(crate) fn new(
        dir: PathBuf,
        mirror: &str,
        sources: &[(&str, &str)],
    ) -> Result<Debian, Caught> {
        fs::create_dir_all(dir.join("lists/partial"))?;
        fs::create_dir_all(dir.join("archives/partial"))?;
        // Empty, so that no package of this machine counts as a candidate.
        fs::write(dir.join("status"), "")?;
        let lines = sources.iter().map(|(archive, suite)| {
            format!("deb [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n")
        });
        fs::write(dir.join("sources.list"), lines.collect::<String>())?;
        Ok(Debian { dir })
    }

    /// Whether the lists have been fetched.
    pub(crate) fn is_known(&self) -> bool {
        let lists = fs::read_dir(self.dir.join("lists")).into_iter().flatten().flatten();
        lists.into_iter().any(|list| list.file_name().to_string_lossy().ends_with("InRelease"))
    }

    /// Fetches the lists.
    pub(crate) fn update(&self) -> Result<(), Caught> {
        succeed(self.apt("apt-get").args(["-q", "update"]))
    }

    /// The package that the metapackage `name` depends on now.
    pub(crate) fn meaning_of(&self, name: &str) -> Result<String, Caught> {
        let text = output(self.apt("apt-cache").args(["depends", "--important", name]))?;
        let depends = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(depends.ok_or_else(|| format!("{name} depends on nothing:\n{text}"))?.to_owned())
    }

    /// Fetches the newest package `name`, and unpacks it.
    pub(crate) fn unpack(&self, name: &str) -> Result<PathBuf, Caught> {
        let unpacked = self.dir.join(name);
        if unpacked.exists() {
            return Ok(unpacked);
        }
        let fetched = self.dir.join("fetched");
        let _ = fs::remove_dir_all(&fetched);
        fs::create_dir_all(&fetched)?;
        succeed(self.apt("apt-get").args(["-q", "download", name]).current_dir(&fetched))?;
        let package = only_entry(&fetched)?;
        // It gets its name only when complete.
        let partial = self.dir.join("partial");
        let _ = fs::remove_dir_all(&partial);
        succeed(Command::new("dpkg-deb").arg("-x").args([&package, &partial]))?;
        fs::rename(partial, &unpacked)?;
        fs::remove_dir_all(fetched)?;
        Ok(unpacked)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.dir.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache::archives={}", at("archives")),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            // apt's own user may not enter the directory.
            "APT::Sandbox::User=".to_owned(),
            // Lists such as that of desktop applications are not needed.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The file in `dir` whose name begins with `prefix`; the first one if there are several.
pub(crate) fn entry(dir: &Path, prefix: &str) -> Result<PathBuf, Caught> {
    let starts = |path: &PathBuf| {
        path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(prefix))
    };
    let paths = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let first = paths.filter(starts).min();
    Ok(first.ok_or_else(|| format!("{}: there is no {prefix}*", dir.display()))?)
}

fn only_entry(dir: &Path) -> Result<PathBuf, Caught> {
    entry(dir, "")
}
