//! Standard streams and the pipes to child processes, with real children.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use zc_std::{Copier, Mechanism, ReadFrom};
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::running::{Running, start};
use zc_testkit::{fds, files, pipes, sockets};

const LEN: usize = 300_000;

fn data() -> Vec<u8> {
    data::bytes(100, LEN)
}

// ---- ChildStdin, ChildStdout, ChildStderr -----------------------------------------------------

fn spawn(script: &str) -> Running {
    let mut sh = Command::new("sh");
    let sh = sh.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    start(sh.stderr(Stdio::piped()))
}

/// From a socket into the child's stdin, and from its stdout or stderr into a file: every byte is spliced.
#[test]
fn a_child_s_pipes_are_spliced() {
    let _leaks = fds::no_leaks();
    for (script, from_stderr) in [("cat", false), ("cat >&2", true)] {
        for by_reference in [false, true] {
            let mut child = spawn(script);
            let (stdin, stdout, stderr) =
                (child.stdin.take().unwrap(), child.stdout.take(), child.stderr.take());
            let (client, server) = sockets::unix();
            let feeder = Feeder::pieces(client, data(), 40_000);

            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let mut copier = Copier::new().adaptive(false);
                    let (mut stdin, mut server) = (stdin, server);
                    let report = if by_reference {
                        copier.copy(&mut &server, &mut &stdin)
                    } else {
                        copier.copy(&mut server, &mut stdin)
                    };
                    assert_eq!(report.unwrap().moved_by(Mechanism::Splice), LEN as u64);
                });
                let mut file = files::empty();
                let mut copier = Copier::new().adaptive(false);
                let report = if from_stderr {
                    copier.copy(&mut stderr.unwrap(), &mut file).unwrap()
                } else {
                    copier.copy(&mut stdout.unwrap(), &mut file).unwrap()
                };
                assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
                assert_same(&files::contents(&file), &data());
                assert_eq!(files::position(&file), LEN as u64);
            });
            assert!(child.wait().unwrap().success());
            feeder.finish().unwrap();
        }
    }
}

/// A limit on what is taken from a child that would give more.
#[test]
fn a_child_s_output_is_spliced_up_to_a_limit() {
    let _leaks = fds::no_leaks();
    let mut child = spawn("cat");
    let feeder = Feeder::pieces(child.stdin.take().unwrap(), data(), LEN);
    let mut stdout = child.stdout.take().unwrap();
    let mut file = files::empty();
    let mut limited = (&mut stdout).take(100_001);
    assert_eq!(file.read_from(&mut limited).unwrap(), 100_001);
    assert_eq!(limited.limit(), 0);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_same(&files::contents(&file), &data()[..100_001]);
    assert_same(&rest, &data()[100_001..]);
    drop(stdout);
    feeder.finish().unwrap();
    assert!(child.wait().unwrap().success());
}

/// A file goes to a child by read/write: later writes to the file must not reach the child.
#[test]
fn a_file_to_a_child_is_copied() {
    let _leaks = fds::no_leaks();
    let mut child = spawn("cat");
    let mut stdin = child.stdin.take().unwrap();
    let collector = Collector::start(child.stdout.take().unwrap());
    let report = Copier::new().copy(&mut files::holding(&data()), &mut stdin).unwrap();
    assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
    drop(stdin);
    assert_same(&collector.finish(), &data());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_that_is_gone_is_a_broken_pipe() {
    let _leaks = fds::no_leaks();
    let mut child = spawn("exit 0");
    let mut stdin = child.stdin.take().unwrap();
    assert!(child.wait().unwrap().success());
    drop((child.stdout.take(), child.stderr.take()));
    let (mut client, server) = sockets::unix();
    client.write_all(b"too late").unwrap();
    drop(client);
    let mut copier = Copier::new();
    let error = copier.copy(&mut &server, &mut stdin).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (std::io::ErrorKind::BrokenPipe, 0));
    let mut kept = copier.take_residue();
    (&server).read_to_end(&mut kept).unwrap();
    assert_eq!(kept, b"too late");
}

// ---- Stdin, Stdout, Stderr ----------------------------------------------------------------------

/// Runs the test child with `stdin`. Returns its stdout, its stderr and its notes.
fn run(what: &str, file: Option<&PathBuf>, stdin: Stdio) -> (Vec<u8>, Vec<u8>, String) {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    let output = Command::new(env!("CARGO_BIN_EXE_zc-testkit-child"))
        .arg(what)
        .arg(&notes)
        .args(file)
        .stdin(stdin)
        .output()
        .unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    (output.stdout, output.stderr, std::fs::read_to_string(notes).unwrap())
}

/// A child's stdin, fed with `data`: a pipe or a socket.
fn feeding(data: Vec<u8>) -> [(Stdio, Feeder); 2] {
    let (reader, writer) = pipes::pipe();
    let (client, server): (UnixStream, UnixStream) = sockets::unix();
    [
        (reader.into(), Feeder::pieces(writer, data.clone(), 50_000)),
        (OwnedFd::from(server).into(), Feeder::pieces(client, data, 50_000)),
    ]
}

/// std has read ahead of the line that was asked for, and does not show how far.
#[test]
fn stdin_is_read_so_that_what_std_holds_comes_first() {
    let _leaks = fds::no_leaks();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("copy");
    let input = [b"one line\n", &data()[..]].concat();
    for what in ["stdin", "stdin-lock"] {
        for (stdin, feeder) in feeding(input.clone()) {
            let (.., notes) = run(what, Some(&file), stdin);
            assert_eq!(notes, format!("splice 0, read/write {LEN}"));
            assert_same(&std::fs::read(&file).unwrap(), &data());
            feeder.finish().unwrap();
        }
    }
}

#[test]
fn raw_stdin_is_spliced() {
    let _leaks = fds::no_leaks();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("copy");
    for (stdin, feeder) in feeding(data()) {
        let (.., notes) = run("raw-stdin", Some(&file), stdin);
        assert_eq!(notes, format!("splice {LEN}, read/write 0"));
        assert_same(&std::fs::read(&file).unwrap(), &data());
        feeder.finish().unwrap();
    }
}

#[test]
fn stdout_is_flushed_and_then_spliced_into() {
    let _leaks = fds::no_leaks();
    for what in ["stdout", "stdout-lock"] {
        for (stdin, feeder) in feeding(data()) {
            let (stdout, stderr, notes) = run(what, None, stdin);
            assert_eq!(notes, format!("splice {LEN}, read/write 0"));
            assert_same(&stdout, &[b"held back, ", &data()[..], b", and after"].concat());
            assert_eq!(stderr, b"");
            feeder.finish().unwrap();
        }
    }
}

#[test]
fn stderr_is_spliced_into() {
    let _leaks = fds::no_leaks();
    for (stdin, feeder) in feeding(data()) {
        let (stdout, stderr, notes) = run("stderr", None, stdin);
        assert_eq!(notes, format!("splice {LEN}, read/write 0"));
        assert_same(&stderr, &[b"before, ", &data()[..], b", and after"].concat());
        assert_eq!(stdout, b"");
        feeder.finish().unwrap();
    }
}

#[test]
fn standard_streams_have_read_from() {
    let _leaks = fds::no_leaks();
    for (stdin, feeder) in feeding(data()) {
        let (stdout, stderr, _) = run("read-from", None, stdin);
        assert_same(&stdout, &[b"out", &data()[..]].concat());
        assert_eq!(stderr, b"err");
        feeder.finish().unwrap();
    }
}

/// A file as stdin, begun in the middle, as by a shell's `{ read; zc …; } < file`.
#[test]
fn raw_stdin_goes_on_where_the_file_stands() {
    let _leaks = fds::no_leaks();
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, data()).unwrap();
    let mut stdin = File::open(&from).unwrap();
    stdin.read_exact(&mut [0; 1000]).unwrap();
    run("raw-stdin", Some(&to), stdin.try_clone().unwrap().into());
    assert_same(&std::fs::read(&to).unwrap(), &data()[1000..]);
    assert_eq!(files::position(&stdin), LEN as u64, "the offset is shared with the child");
}
