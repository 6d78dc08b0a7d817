//! A relay's process, by the kernel's accounts.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a relay may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A relay that listens. It is killed when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its configuration, if it has one, until it ends.
    _files: Option<tempfile::TempDir>,
}

/// An address without a listener.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Relay {
    /// Starts a relay, and waits until it listens. (A connection would be relayed, so /proc is asked.)
    pub(super) fn start(
        command: &mut Command,
        address: SocketAddr,
        files: Option<tempfile::TempDir>,
    ) -> io::Result<Relay> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut relay = Relay { child, address, _files: files };
        let start = Instant::now();
        while !is_listened_on(address.port())? {
            if let Some(status) = relay.child.try_wait()? {
                return Err(io::Error::other(format!("the relay has ended: {status}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other("the relay does not listen"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(relay)
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }

    /// The CPU time of its threads. None of them ends while it is measured.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let mut sum = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
            sum += on_cpu.ok_or_else(|| io::Error::other("no schedstat"))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// How many of its bytes are resident.
    pub(super) fn resident(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// How many descriptors it has open.
    pub(super) fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.proc("fd"))?.count())
    }

    /// The longest time that one poll has kept its processor since the last call, for a relay that probes.
    pub(super) fn longest_poll(&mut self) -> io::Result<Duration> {
        let (stdin, stdout) = (self.child.stdin.as_mut(), self.child.stdout.as_mut());
        writeln!(stdin.expect("asked for"))?;
        let mut line = String::new();
        BufReader::new(stdout.expect("asked for")).read_line(&mut line)?;
        Ok(Duration::from_nanos(line.trim_end().parse().map_err(io::Error::other)?))
    }

    /// Starts to count its system calls.
    pub(super) fn count_calls(&self) -> io::Result<Calls> {
        let child = Command::new("perf")
            .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"])
            .arg(self.child.id().to_string())
            .stderr(Stdio::piped())
            .spawn()?;
        // perf does not say when it has begun.
        thread::sleep(Duration::from_millis(300));
        Ok(Calls(child))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// perf(1), counting system calls.
pub(super) struct Calls(Child);

impl Calls {
    pub(super) fn finish(mut self) -> io::Result<u64> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let mut said = String::new();
        self.0.stderr.take().expect("asked for").read_to_string(&mut said)?;
        self.0.wait()?;
        let count = said.lines().find_map(|line| line.split(',').next()?.parse().ok());
        count.ok_or_else(|| io::Error::other(said))
    }
}

/// Whether a TCP socket listens on this port, by /proc/net/tcp.
fn is_listened_on(port: u16) -> io::Result<bool> {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp")?;
    Ok(table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(LISTEN)
    }))
}
