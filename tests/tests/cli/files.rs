//! What `zc cp` and `zc recv` make of the files they are given.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use zc_testkit::cli::{Receiver, binary, names, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::running::start;

const LEN: usize = 3_000_001;

fn cp(from: &Path, to: &Path) -> zc_testkit::cli::Outcome {
    run(zc(["cp"]).arg(from).arg(to), b"")
}

#[test]
fn copies_files_of_all_lengths() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for len in [0, 1, 4097, LEN] {
        let content = bytes(1, len);
        fs::write(&from, &content).unwrap();
        cp(&from, &to).expect_success();
        assert!(fs::read(&to).unwrap() == content, "{len}");
        assert!(fs::read(&from).unwrap() == content, "{len}");
    }
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn copies_into_a_directory_under_the_same_name() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, "content").unwrap();
    fs::create_dir(&to).unwrap();
    cp(&from, &to).expect_success();
    assert_eq!(fs::read(to.join("from")).unwrap(), b"content");
}

#[test]
fn refuses_to_copy_a_file_onto_itself() {
    let dir = scratch();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "content").unwrap();
    symlink("file", &link).unwrap();
    for to in [&file, &link, &dir.path().to_path_buf()] {
        cp(&file, to).expect_failure(1, &["they are the same file"]);
        assert_eq!(fs::read(&file).unwrap(), b"content");
    }
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn gives_a_copy_the_permissions_of_its_file() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    fs::write(&from, "content").unwrap();
    fs::set_permissions(&from, Permissions::from_mode(0o775)).unwrap();

    // A new file has the source's permissions, less the umask.
    let script = r#"umask 027; exec "$0" cp "$1" "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).arg(&from).arg(&to);
    run(&mut command, b"").expect_success();
    assert_eq!(mode(&to), 0o750);

    // An old file keeps its own.
    fs::set_permissions(&to, Permissions::from_mode(0o604)).unwrap();
    cp(&from, &to).expect_success();
    assert_eq!(mode(&to), 0o604);

    // An upload has those of any new file.
    fs::remove_file(&to).unwrap();
    let script = r#"umask 027; exec "$0" recv 127.0.0.1:0 "$1""#;
    let mut command = Command::new("sh");
    let receiver = Receiver::of(command.args(["-c", script]).arg(binary()).arg(&to));
    run(&mut zc(["send", "-", &receiver.address]), b"content").expect_success();
    receiver.finish().expect_success();
    assert_eq!(mode(&to), 0o640);
}

/// The file behind the link is replaced, and the link stays.
#[test]
fn replaces_the_file_behind_a_symbolic_link() {
    let dir = scratch();
    let (from, file) = (dir.path().join("from"), dir.path().join("sub/file"));
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(&from, "content").unwrap();
    symlink("sub/file", &link).unwrap();
    for _ in ["dangling", "not"] {
        cp(&from, &link).expect_success();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"content");
        fs::write(&file, "other").unwrap();
    }
}

#[test]
fn takes_names_of_any_bytes() {
    let dir = scratch();
    fs::write(dir.path().join("from"), "content").unwrap();
    // Names of the greatest length, not in UTF-8, and without a directory.
    let long = [b'x'; 255];
    for name in [&long[..], b"\xff\n", b"plain"] {
        let mut command = zc([OsStr::new("cp"), OsStr::new("from"), OsStr::from_bytes(name)]);
        run(command.current_dir(dir.path()), b"").expect_success();
        assert_eq!(fs::read(dir.path().join(OsStr::from_bytes(name))).unwrap(), b"content");
    }
    // An error is one line, also with a name of two.
    run(&mut zc(["cp", "from\nnowhere", "to"]), b"").expect_failure(1, &["from\\nnowhere"]);
}

/// Files of procfs claim to be empty.
#[test]
fn copies_files_that_lie_about_their_length() {
    let dir = scratch();
    let to = dir.path().join("to");
    cp(Path::new("/proc/version"), &to).expect_success();
    assert_eq!(fs::read(&to).unwrap(), fs::read("/proc/version").unwrap());
}

#[test]
fn writes_into_devices_and_fifos() {
    let dir = scratch();
    let from = dir.path().join("from");
    let content = bytes(2, LEN);
    fs::write(&from, &content).unwrap();
    cp(&from, Path::new("/dev/null")).expect_success();
    let null = fs::metadata("/dev/null").unwrap();
    assert!(!null.is_file() && null.mode() & 0o666 == 0o666);
    cp(&from, Path::new("/dev/full")).expect_failure(1, &["(ENOSPC), after 0 bytes"]);

    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let reader = thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).unwrap()
    });
    cp(&from, &fifo).expect_success();
    assert!(reader.join().unwrap() == content);
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn copies_from_standard_input_and_to_standard_output() {
    let content = bytes(3, LEN);
    let outcome = run(&mut zc(["cp", "-", "-"]), &content);
    outcome.expect_success();
    assert!(outcome.stdout == content);
}

/// Standard output may be a file that another process writes to as well.
#[test]
fn appends_to_standard_output() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(4, LEN);
    fs::write(&from, &content).unwrap();
    fs::write(&to, "before").unwrap();
    let file = File::options().append(true).open(&to).unwrap();
    let status = zc(["cp"]).arg(&from).arg("-").stdout(file).status().unwrap();
    assert!(status.success());
    assert!(fs::read(&to).unwrap() == [b"before", &content[..]].concat());
}

/// The parent may have left standard input or output in non-blocking mode.
#[test]
fn waits_for_non_blocking_ends() {
    let content = bytes(5, LEN);
    let (mut feed, stdin) = UnixStream::pair().unwrap();
    let (stdout, mut drain) = UnixStream::pair().unwrap();
    stdin.set_nonblocking(true).unwrap();
    stdout.set_nonblocking(true).unwrap();
    let mut command = zc(["cp", "-", "-", "--expect", &LEN.to_string()]);
    command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(stdout)).stderr(Stdio::piped());
    let mut child = start(&mut command);
    drop(command); // has the other ends of both sockets
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (head, tail) = content.split_at(LEN / 2);
            feed.write_all(head).unwrap();
            feed.write_all(tail).unwrap();
            feed.shutdown(std::net::Shutdown::Write).unwrap();
        });
        drain.read_to_end(&mut received).unwrap();
    });
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    assert!(received == content);
}
