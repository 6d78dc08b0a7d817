//! Programs that a test or a tool of the kit has started. None of them outlives a panic.

use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::{fs, thread};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A running program. It is killed when dropped, unless it has been waited for. If a panic drops it, all that it has
/// started is killed, too.
#[derive(Debug)]
#[must_use = "dropping it kills it"]
pub struct Running(Child);

/// Starts a program.
///
/// # Panics
///
/// If it cannot be run.
#[track_caller]
pub fn start(command: &mut Command) -> Running {
    Running(command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")))
}

impl Running {
    /// Its process, whose number is no other process's before it has been waited for.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() && matches!(self.0.try_wait(), Ok(None)) {
            kill_tree(self.pid());
        }
        // Nothing happens if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills a process, which must not have been waited for, and all that it and its children have started.
pub fn kill_tree(process: Pid) {
    let mut stopped = Vec::new();
    stop_tree(process, &mut stopped);
    for process in stopped {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

/// Stops parents before their children are listed. So no parent starts another child, or waits for one, whose number
/// might then be another process's.
fn stop_tree(process: Pid, stopped: &mut Vec<OwnedFd>) {
    let Ok(it) = pidfd_open(process, PidfdFlags::empty()) else { return };
    let _ = pidfd_send_signal(&it, Signal::STOP);
    stopped.push(it);
    children(process).into_iter().for_each(|child| stop_tree(child, stopped));
}

/// The children of a process, zombies included.
pub fn children(process: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
    let of_thread = |thread: fs::DirEntry| {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let numbers = children.split_ascii_whitespace().filter_map(|child| child.parse().ok());
        numbers.filter_map(Pid::from_raw).collect::<Vec<_>>()
    };
    threads.into_iter().flatten().flatten().flat_map(of_thread).collect()
}

#[test]
fn what_a_program_has_started_is_killed_with_it_if_the_test_fails() {
    let mut script = Command::new("sh");
    script.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(std::process::Stdio::piped());
    let (told, grandchild) = std::sync::mpsc::channel();
    let failing = thread::spawn(move || {
        let mut shell = start(&mut script);
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line");
        told.send(line.trim().to_owned()).expect("it waits");
        panic!("this test fails on purpose");
    });
    assert!(failing.join().is_err());
    let grandchild = grandchild.recv().expect("it was sent before");
    // The dead process is a zombie until its new parent waits for it, which some containers never do.
    crate::wait::eventually("it is dead", || {
        match fs::read_to_string(format!("/proc/{grandchild}/stat")) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
            Err(_) => true,
        }
    });
}
