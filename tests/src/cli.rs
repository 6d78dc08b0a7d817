//! The `zc` program, run as its users run it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use tempfile::TempDir;

use crate::running::{self, Running, kill_tree, start};
use crate::skip::skip;

/// No program here takes this long. One that does hangs, and is killed.
const DEADLINE: Duration = Duration::from_secs(120);

/// A command that runs `zc`, built once with the profile of these tests.
pub fn zc<I>(args: I) -> Command
where
    I: IntoIterator<Item: AsRef<OsStr>>,
{
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// The variable by which a test process tells where `zc` is when it starts itself again.
pub const BINARY: &str = "ZC_TEST_BINARY";

static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// The path of `zc`.
pub fn binary() -> &'static Path {
    let known = || std::env::var_os(BINARY).filter(|path| !path.is_empty()).map(PathBuf::from);
    BUILT.get_or_init(|| known().unwrap_or_else(build))
}

/// The path of `zc`, if this process has asked before.
pub fn known_binary() -> Option<&'static Path> {
    BUILT.get().map(PathBuf::as_path)
}

/// An unprivileged user, and `zc` where that user can run it, even if only root may enter the sources.
#[derive(Debug)]
pub struct Nobody {
    dir: TempDir,
}

impl Nobody {
    /// The user and group that own nothing.
    pub const ID: u32 = 65534;

    /// Puts `zc` in a directory that every user may enter.
    pub fn new() -> Nobody {
        let dir = scratch();
        // Another process copies it. A child that another test has just forked would have the file open for writing,
        // and then it cannot be run (ETXTBSY).
        let copied = Command::new("cp").args([binary(), &dir.path().join("zc")]).status();
        assert!(copied.expect("cp runs").success(), "zc was just built");
        Nobody { dir }
    }

    /// The path of that `zc`.
    pub fn program(&self) -> PathBuf {
        self.dir.path().join("zc")
    }

    /// A command that runs `zc` without privileges. A user without any gives none up.
    pub fn zc(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(args);
        if rustix::process::geteuid().is_root() {
            command.uid(Nobody::ID).gid(Nobody::ID);
        }
        command
    }
}

impl Default for Nobody {
    fn default() -> Self {
        Nobody::new()
    }
}

/// Whether these tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives `path` to the user that [`Nobody`] is.
pub fn give_to_nobody(path: &Path) {
    if is_root() {
        chown(path, Some(Nobody::ID), Some(Nobody::ID)).expect("root may");
    }
}

/// A command that runs a shell script as `sh -c SCRIPT zc DIR` in a mount namespace of its own, if that can be had.
#[track_caller]
pub fn in_mount_namespace(test: &str, script: &str, dir: &Path) -> Option<Command> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command
    };
    let trial = unshare()
        .arg(r#"mount -t tmpfs none "$0""#)
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !trial.is_ok_and(|status| status.success()) {
        skip(&format!("{test}: mounting takes root and unshare"));
        return None;
    }
    let mut command = unshare();
    command.arg(script).arg(binary()).arg(dir);
    Some(command)
}

/// Builds `zc` beside the tests: it is in another package, for which cargo does not.
fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("a test is a program");
    let profile_dir = exe.parent().and_then(Path::parent).expect("target/PROFILE/deps/test");
    let target_dir = profile_dir.parent().expect("target/PROFILE");
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "zc-cli", "--profile", profile, "--target-dir"])
        .arg(target_dir)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "zc does not build");
    profile_dir.join("zc")
}

/// A directory that every user may enter and list, and only its owner write.
pub fn scratch() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    dir
}

/// The names in a directory.
pub fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into());
    // FUSE renames a file that is removed while open, and removes it after the last close.
    names.filter(|name: &String| !name.starts_with(".fuse_hidden")).collect()
}

/// Whether `program` is installed. If not, `test` is skipped.
#[track_caller]
pub fn have(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        skip(&format!("{test}: {program} is not installed"));
    }
    found
}

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// Its exit status; `None` if a signal killed it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics unless `signal` killed it.
    #[track_caller]
    pub fn expect_killed(&self, signal: Signal) {
        assert_eq!(self.status.signal(), Some(signal.as_raw()), "{}: {}", self.status, self.stderr);
    }

    /// The only line of its standard error; panics if there are more or none.
    #[track_caller]
    pub fn line(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').expect("a line on standard error");
        assert!(!line.is_empty() && !line.contains('\n'), "not one line: {:?}", self.stderr);
        line
    }

    /// Panics unless it succeeded with nothing on standard error.
    #[track_caller]
    pub fn expect_success(&self) {
        assert_eq!((self.code(), self.stderr.as_str()), (Some(0), ""));
    }

    /// Panics unless it failed with `code` and one line that holds all of `parts`.
    #[track_caller]
    pub fn expect_failure(&self, code: i32, parts: &[&str]) {
        let line = self.line();
        assert_eq!(self.code(), Some(code), "{line}");
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line:?}");
        }
    }
}

/// Lets a command, once it is started, have so many descriptors at the most.
pub fn limit_descriptors(command: &mut Command, most: u64) {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
    }
}

/// Runs a program to its end, with `input` as its standard input.
///
/// # Panics
///
/// If it does not end by itself in two minutes.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Outcome {
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().expect("piped");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program need not read its input.
            let _ = stdin.write_all(input);
        });
        finish(child, stderr)
    })
}

fn spawn(command: &mut Command) -> Running {
    start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[track_caller]
fn finish(mut child: Running, mut stderr: BufReader<ChildStderr>) -> Outcome {
    let mut stdout = child.stdout.take().expect("piped");
    let (done, wait) = mpsc::channel::<()>();
    let pid = child.pid();
    let watchdog = thread::spawn(move || {
        let hangs = wait.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            kill_tree(pid);
        }
        hangs
    });
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("UTF-8");
        text
    });
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).expect("readable");
    let stderr = errors.join().expect("no panic");
    let status = child.wait().expect("it is ours");
    drop(done);
    // A test that expects a signal must not take the watchdog's for it.
    let hung = watchdog.join().expect("no panic");
    assert!(!hung, "killed, since it did not end in {DEADLINE:?}; it said: {stderr}");
    Outcome { status, stdout: output, stderr }
}

/// A `zc recv` that listens; killed when dropped, unless it has been waited for.
#[derive(Debug)]
pub struct Receiver {
    child: Running,
    /// What it has said since, and was not read.
    pub stderr: BufReader<ChildStderr>,
    /// Its address, as `zc send` takes it.
    pub address: String,
}

impl Receiver {
    /// Starts `zc recv LISTEN FILE OPTIONS`.
    pub fn start(listen: &str, file: impl AsRef<OsStr>, options: &[&str]) -> Receiver {
        // A shell starts background jobs with SIGINT ignored, which their children inherit, and nohup(1) does so with
        // SIGHUP.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,HUP,TERM", "--"]).arg(binary());
        command.args([OsStr::new("recv"), OsStr::new(listen), file.as_ref()]);
        Receiver::of(command.args(options))
    }

    /// Starts a command that runs `zc recv`, and perhaps other programs.
    pub fn of(command: &mut Command) -> Receiver {
        let mut child = spawn(command);
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("readable");
        let address = line
            .strip_prefix("zc recv: listening on ")
            .unwrap_or_else(|| panic!("it does not listen: {line:?}"))
            .trim_end()
            .to_owned();
        Receiver { child, stderr, address }
    }

    /// The TCP port it listens on.
    pub fn port(&self) -> &str {
        self.address.rsplit_once(':').expect("HOST:PORT").1
    }

    /// The path of the Unix socket it listens on.
    pub fn path(&self) -> &str {
        self.address.strip_prefix("unix:").expect("unix:PATH")
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) {
        rustix::process::kill_process(self.child.pid(), signal).expect("it is ours");
    }

    /// The processes that it has started and not waited for.
    pub fn children(&self) -> Vec<Pid> {
        running::children(self.child.pid())
    }

    /// Waits until it has ended. Its first line is not in the outcome.
    ///
    /// # Panics
    ///
    /// If it does not end in two minutes.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        finish(self.child, self.stderr)
    }
}

/// The two ways to reach a receiver: `LISTEN` for TCP, and for a Unix socket in `dir`.
pub fn listens(dir: &Path) -> [String; 2] {
    ["127.0.0.1:0".into(), format!("unix:{}", dir.join("socket").display())]
}
