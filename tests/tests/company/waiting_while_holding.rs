use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use zc_std::{Copier, Fd};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;
use zc_testkit::streams::{Stream, fill, nonblocking, until_waiting};
use zc_testkit::tool;
use zc_testkit::wait::{this_thread, until_it_sleeps};
use zc_testkit::{cli, fds, files};

/// A guard against hangs: `meanwhile` takes a moment, or hangs for as long as the copy waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// Copies on a thread until the copy waits in a call. `meanwhile` has to end before `release` ends the wait. Returns
/// what the copy moved.
fn while_it_waits(
    copy: impl FnOnce() -> u64 + Send,
    meanwhile: impl FnOnce() -> Result<(), String> + Send + 'static,
    release: impl FnOnce() -> Option<JoinHandle<()>>,
) -> u64 {
    let (tell, waits) = mpsc::channel();
    let (outcome, moved, drained) = thread::scope(|scope| {
        let copy = scope.spawn(|| {
            tell.send(this_thread()).unwrap();
            copy()
        });
        until_it_sleeps(&waits.recv().unwrap());
        let (done, outcome) = in_time(meanwhile);
        let drained = release();
        let moved = joined(copy);
        done.join().unwrap();
        (outcome, moved, drained)
    });
    drained.map(JoinHandle::join);
    outcome.unwrap();
    moved
}

/// The same with a `zc cp - -`.
fn while_the_tool_waits(
    (from, to): (impl Into<OwnedFd>, impl Into<OwnedFd>),
    meanwhile: impl FnOnce() -> Result<(), String> + Send + 'static,
    release: impl FnOnce() -> Option<JoinHandle<()>>,
) {
    let copy = tool::copies(from, to);
    until_it_sleeps(&copy.task());
    let (done, outcome) = in_time(meanwhile);
    let drained = release();
    copy.finish();
    drained.map(JoinHandle::join);
    done.join().unwrap();
    outcome.unwrap();
}

/// Runs `work` on a thread. An error if `work` does not end by itself.
fn in_time(
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> (JoinHandle<()>, Result<(), String>) {
    let (tell, outcome): (_, Receiver<Result<(), String>>) = mpsc::channel();
    let done = thread::spawn(move || {
        let _ = tell.send(work());
    });
    let stuck = Err("stuck until the copy got on".to_owned());
    (done, outcome.recv_timeout(PATIENCE).unwrap_or(stuck))
}

/// Writes to a file system, freezes it, thaws it and writes again, as a snapshot does.
fn snapshot(root: &Path) -> Result<(), String> {
    let path = root.join("other");
    std::fs::write(&path, "before").map_err(|error| error.to_string())?;
    for way in ["-f", "-u"] {
        let mut command = Command::new("fsfreeze");
        let output = command.arg(way).arg(root).stdin(Stdio::null()).output();
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    std::fs::write(&path, "after").map_err(|error| error.to_string())
}

fn disk() -> Option<Mount> {
    if !cli::have("fsfreeze", "waiting_while_holding") {
        return None;
    }
    or_skip(Mount::ext4(16))
}

fn file_on(disk: &Mount) -> (File, PathBuf) {
    let path = disk.path("file");
    let mut options = File::options();
    (options.read(true).write(true).create(true).truncate(true).open(path).unwrap(), disk.root())
}

/// A file system can be frozen and written to while a copy into it waits for its source.
#[test]
fn a_waiting_copy_leaves_the_sink_s_file_system_free() {
    apart(|| {
        let Some(disk) = disk() else { return };
        for said in ["", "some "] {
            each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
                let _leaks = fds::no_leaks();
                let (file, root) = file_on(&disk);
                let (to, from) = stream.open();
                rustix::io::write(&to, said.as_bytes()).unwrap();
                let moved = while_it_waits(
                    || {
                        let mut source = Fd::new(from).unwrap();
                        Copier::new()
                            .adaptive(adaptive)
                            .copy(&mut source, &mut &file)
                            .unwrap()
                            .moved()
                    },
                    move || snapshot(&root),
                    || {
                        rustix::io::write(&to, b"late").unwrap();
                        drop(to);
                        None
                    },
                );
                let want = [said.as_bytes(), b"late"].concat();
                assert_eq!((moved as usize, files::contents(&file)), (want.len(), want));
            });
        }
    });
}

#[test]
fn a_waiting_tool_leaves_the_sink_s_file_system_free() {
    apart_with_the_tool(|| {
        let Some(disk) = disk() else { return };
        each(Stream::ALL, |&stream| {
            let (file, root) = file_on(&disk);
            let (to, from) = stream.open();
            while_the_tool_waits(
                (from, file.try_clone().unwrap()),
                move || snapshot(&root),
                || {
                    rustix::io::write(&to, b"late").unwrap();
                    drop(to);
                    None
                },
            );
            assert_eq!(files::contents(&file), b"late");
        });
    });
}

/// The same for the source's file system while the copy waits for its sink; and the source's offset can be moved.
#[test]
fn a_waiting_copy_leaves_the_source_s_file_and_file_system_free() {
    apart(|| {
        let Some(disk) = disk() else { return };
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let (mut file, root) = file_on(&disk);
            file.write_all(&vec![b'x'; 3 << 20]).unwrap();
            file.rewind().unwrap();
            let (to, from) = stream.open();
            fill(&to);
            let mut same = file.try_clone().unwrap();
            let moved = while_it_waits(
                || {
                    let mut sink = Fd::new(to).unwrap();
                    Copier::new().adaptive(adaptive).copy(&mut &file, &mut sink).unwrap().moved()
                },
                move || {
                    // Past what is being copied: no byte of it is shared.
                    same.seek(std::io::SeekFrom::End(0)).map_err(|error| error.to_string())?;
                    let n = same.read(&mut [0; 10]).map_err(|error| error.to_string())?;
                    assert_eq!(n, 0);
                    snapshot(&root)
                },
                || drain(from),
            );
            assert!(moved <= 3 << 20);
        });
    });
}

/// Reads all that comes, on a thread of its own.
fn drain(from: OwnedFd) -> Option<JoinHandle<()>> {
    Some(thread::spawn(move || {
        let mut buf = vec![0; 1 << 16];
        while rustix::io::read(&from, &mut buf).is_ok_and(|n| n > 0) {}
    }))
}

/// Other users of the source's pipe: a writer and a reader that do not wait, and a look at how much the pipe holds.
fn use_the_pipe(writer: impl AsFd, reader: impl AsFd) -> Result<(), String> {
    let moved = |outcome| match outcome {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(errno) => Err(errno.to_string()),
    };
    rustix::io::ioctl_fionread(&reader).map_err(|errno| errno.to_string())?;
    moved(rustix::io::write(&writer, b"more"))?;
    moved(rustix::io::read(&reader, &mut [0; 10]))?;
    moved(rustix::io::write(&writer, b"more"))
}

/// The writer of a pipe goes on while the copy from the pipe waits for a socket, and so does another reader.
#[test]
fn a_waiting_copy_leaves_the_source_s_pipe_free() {
    apart(|| {
        let cells = pairs(&pairs(&Stream::PIPES, &Stream::ALL), &[true, false]);
        each(cells, |&((stream, sink), adaptive)| {
            let _leaks = fds::no_leaks();
            let (writer, reader) = stream.open();
            let (to, from) = sink.open();
            fill(&to);
            rustix::io::write(&writer, &[b'x'; 50_000]).unwrap();
            let (theirs, ours) = others(&writer, &reader);
            while_it_waits(
                || {
                    let mut sink = Fd::new(to).unwrap();
                    let mut source = Fd::new(reader.try_clone().unwrap()).unwrap();
                    Copier::new().adaptive(adaptive).copy(&mut source, &mut sink).unwrap().moved()
                },
                move || use_the_pipe(theirs, ours),
                || {
                    // Even to close the pipe may have to wait until there is room.
                    let drained = drain(from);
                    drop(writer);
                    drained
                },
            );
        });
    });
}

#[test]
fn a_waiting_tool_leaves_the_source_s_pipe_free() {
    apart_with_the_tool(|| {
        each(pairs(&Stream::PIPES, &Stream::ALL), |&(stream, sink)| {
            let (writer, reader) = stream.open();
            let (to, from) = sink.open();
            fill(&to);
            rustix::io::write(&writer, &[b'x'; 50_000]).unwrap();
            let (theirs, ours) = others(&writer, &reader);
            while_the_tool_waits(
                (reader, to),
                move || use_the_pipe(theirs, ours),
                || {
                    // Even to close the pipe may have to wait until there is room.
                    let drained = drain(from);
                    drop(writer);
                    drained
                },
            );
        });
    });
}

/// Other open files of a pipe, in non-blocking mode. The copy's stay in blocking mode.
fn others(writer: &OwnedFd, reader: &OwnedFd) -> (OwnedFd, OwnedFd) {
    (nonblocking(again(writer, "w")), nonblocking(again(reader, "r")))
}

/// The same pipe, opened anew.
fn again(end: &OwnedFd, mode: &str) -> OwnedFd {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(end));
    let mut options = File::options();
    options.read(mode == "r").write(mode == "w").open(path).unwrap().into()
}

/// The reader of a pipe gets what is in it while the copy into the pipe waits for its source.
#[test]
fn a_waiting_copy_leaves_the_sink_s_pipe_free() {
    apart(|| {
        let cells = pairs(&pairs(&Stream::ALL, &Stream::PIPES), &[true, false]);
        each(cells, |&((source, stream), adaptive)| {
            let _leaks = fds::no_leaks();
            let (to, from) = source.open();
            let (writer, reader) = stream.open();
            rustix::io::write(&to, b"request").unwrap();
            let mine = again(&reader, "r");
            let moved = while_it_waits(
                || {
                    let mut source = Fd::new(from).unwrap();
                    let mut sink = Fd::new(writer).unwrap();
                    Copier::new().adaptive(adaptive).copy(&mut source, &mut sink).unwrap().moved()
                },
                move || {
                    until_waiting(&mine, 7);
                    let mut buf = [0; 64];
                    let n = rustix::io::read(&mine, &mut buf).map_err(|errno| errno.to_string())?;
                    if &buf[..n] == b"request" { Ok(()) } else { Err(format!("{n} bytes")) }
                },
                || {
                    drop(to);
                    None
                },
            );
            assert_eq!(moved, 7);
            drop(reader);
        });
    });
}
