//! A running `zc relay`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::cli::zc;
use crate::running::{Running, start};

/// A `zc relay` that listens; killed when dropped.
#[derive(Debug)]
pub struct Relay {
    child: Running,
    stdout: BufReader<ChildStdout>,
    /// Its standard error, without the lines of its connections.
    pub stderr: BufReader<ChildStderr>,
    /// Where it listens.
    pub address: String,
}

impl Relay {
    /// Starts a relay between two addresses.
    pub fn start(listen: &str, target: &str, options: &[&str]) -> Relay {
        Relay::of(zc(["relay", "--json", listen, target]).args(options))
    }

    /// Starts a relay as `command` says, which has `--json` in it.
    pub fn of(command: &mut Command) -> Relay {
        let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let stdout = BufReader::new(child.stdout.take().expect("it works"));
        let mut stderr = BufReader::new(child.stderr.take().expect("it works"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("it works");
        let address = line.trim_end().strip_prefix("zc relay: listening on ");
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Relay { child, stdout, stderr, address }
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.address.rsplit_once(':').expect("TCP").1
    }

    /// A connection to it, whose reads do not wait for long.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it works");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it works");
        stream
    }

    /// The line of the next connection that ends.
    pub fn line(&mut self) -> Value {
        self.next_line().expect("a line")
    }

    /// The same; `None` if the relay has ended.
    pub fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it works");
        let parsed = || serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        (!line.is_empty()).then(parsed)
    }

    /// The lines of the next `count` connections that end.
    pub fn lines(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.line()).collect()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// How many of its bytes are resident.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.child.pid(), signal).expect("it works");
    }

    /// Its exit status, and the rest of its standard error.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("it works");
        (self.child.wait().expect("it works").code(), rest)
    }
}
