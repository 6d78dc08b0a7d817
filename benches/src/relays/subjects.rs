//! The relays: zc and its peers, each in a process of its own, on one thread.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::process::{self, Relay};

/// How many threads each relay has.
const THREADS: usize = 1;

/// A user and group that own nothing.
const NOBODY: u32 = 65534;

/// A relay to be measured.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    /// The program `zc-bench-relay`, which is beside this one.
    Ours,
    /// The Go program.
    Go(PathBuf),
    /// HAProxy, with pipes of its default size or of this many bytes.
    Haproxy(Option<u32>),
}

/// How a relay is started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// As a user without privileges.
    pub(super) as_nobody: bool,
    /// It times its polls.
    pub(super) probe: bool,
}

/// All relays.
pub(super) fn all(go: Option<&PathBuf>) -> Vec<Subject> {
    let ours = ["zc", "zc-timed", "zc-coalesce", "tokio-8K", "tokio-64K", "splice2"];
    let mut all: Vec<_> = ours.into_iter().map(|name| Subject { name, by: By::Ours }).collect();
    all.extend(go.map(|program| Subject { name: "go", by: By::Go(program.clone()) }));
    let haproxy = |name, pipe| Subject { name, by: By::Haproxy(pipe) };
    all.extend([haproxy("haproxy", None), haproxy("haproxy-1M", Some(1 << 20))]);
    all
}

impl Subject {
    /// Whether it can time its polls.
    pub(super) fn probes(&self) -> bool {
        matches!(self.by, By::Ours)
    }

    pub(super) fn start(&self, target: SocketAddr, manner: Manner) -> io::Result<Relay> {
        let (address, mut files) = (process::free_address()?, None);
        let mut command = match &self.by {
            By::Ours => {
                let mut command =
                    Command::new(std::env::current_exe()?.with_file_name("zc-bench-relay"));
                command.args([self.name, &address.to_string(), &target.to_string()]);
                command.arg(THREADS.to_string()).args(manner.probe.then_some("--probe"));
                command
            }
            By::Go(program) => {
                let mut command = Command::new(program);
                command.args([address.to_string(), target.to_string()]);
                command.env("GOMAXPROCS", THREADS.to_string());
                command
            }
            By::Haproxy(pipe) => {
                let dir = tempfile::tempdir()?;
                fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
                let file = dir.path().join("haproxy.cfg");
                fs::write(&file, configuration(address, target, *pipe))?;
                files = Some(dir);
                let mut command = Command::new("haproxy");
                command.args(["-db", "-q", "-f"]).arg(file);
                command
            }
        };
        if manner.as_nobody && rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Relay::start(&mut command, address, files)
    }
}

fn configuration(address: SocketAddr, target: SocketAddr, pipe: Option<u32>) -> String {
    // By default HAProxy has a quarter as many pipes as connections.
    let pipes =
        pipe.map_or(String::new(), |size| format!("  maxpipes 2000\n  tune.pipesize {size}\n"));
    format!(
        "global\n  nbthread {THREADS}\n  maxconn 4000\n{pipes}\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen relay\n  bind {address}\n  option splice-request\n  option splice-response\n  \
         server target {target}\n"
    )
}
