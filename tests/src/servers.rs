//! Other projects' servers, on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server. It is told to end when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
}

/// A port without a listener.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    listener.local_addr().expect("bound").port()
}

impl Server {
    /// Starts a server that is to listen on `port`, and waits until it does.
    ///
    /// No connection is made to find out: the server might take that for its only client.
    pub fn start(command: &mut Command, port: u16) -> Server {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Server { child, address: format!("127.0.0.1:{port}") };
        let begun = Instant::now();
        while !is_listened_on(port) {
            let ended = server.child.try_wait().expect("it was started");
            assert!(ended.is_none(), "{command:?}: {ended:?}");
            assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Servers that fork end their children on SIGQUIT, and not on SIGKILL. SIGQUIT is the quickest such signal of
        // PostgreSQL and nginx.
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a TCP socket listens on this port, by /proc/net/tcp.
fn is_listened_on(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(LISTEN)
    })
}

/// The directory of PostgreSQL's server programs, which is not in the PATH.
pub fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut dirs: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    dirs.retain(|dir| dir.join("initdb").is_file());
    dirs.pop()
}
