//! How `zc` fails: with one line, a status other than 0, and no half-written file.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};
use zc_testkit::cli::{
    Nobody, Receiver, binary, give_to_nobody, in_mount_namespace, listens, names, run, scratch, zc,
};
use zc_testkit::data::bytes;
use zc_testkit::mounts::Mount;
use zc_testkit::running::start;
use zc_testkit::skip::{leave_out, or_skip, skip};
use zc_testkit::sockets::reset;
use zc_testkit::wait::{until_it_sleeps, wait_for};

const LEN: usize = 4 << 20;

#[test]
fn an_unwritable_directory_fails() {
    let (nobody, dir) = (Nobody::new(), scratch());
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    let target = locked.join("target");
    let target = target.to_str().unwrap();

    let what = format!("cannot write {target}: Permission denied (EACCES)");
    run(&mut nobody.zc(&["recv", "127.0.0.1:0", target]), b"").expect_failure(1, &[&what]);
    run(&mut nobody.zc(&["cp", "-", target]), b"x").expect_failure(1, &[&what]);
    assert!(names(&locked).is_empty());
}

/// A rename over a file takes no right to write to it, but a user who made it read-only wants it kept.
#[test]
fn a_read_only_target_is_not_replaced() {
    let (nobody, dir) = (Nobody::new(), scratch());
    let target = dir.path().join("target");
    fs::write(&target, "precious").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o444)).unwrap();
    give_to_nobody(&target);
    give_to_nobody(dir.path());

    let path = target.to_str().unwrap();
    let what = format!("cannot write {path}: Permission denied (EACCES)");
    run(&mut nobody.zc(&["recv", "127.0.0.1:0", path]), b"").expect_failure(1, &[&what]);
    run(&mut nobody.zc(&["cp", "-", path]), b"x").expect_failure(1, &[&what]);
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert_eq!(names(dir.path()).len(), 1);

    // The same as an ordinary user who may write to the file.
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    run(&mut nobody.zc(&["cp", "-", path]), b"x").expect_success();
    assert_eq!(fs::read(&target).unwrap(), b"x");
}

#[test]
fn an_unreadable_source_fails() {
    let (nobody, dir) = (Nobody::new(), scratch());
    let source = dir.path().join("source");
    fs::write(&source, "secret").unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o0)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let what = format!("cannot read {}: Permission denied (EACCES)", source.display());
    run(&mut nobody.zc(&["send", source.to_str().unwrap(), &address]), b"")
        .expect_failure(1, &[&what]);
}

#[test]
fn a_missing_directory_fails() {
    let dir = scratch();
    let target = dir.path().join("missing/target");
    for listen in listens(dir.path()) {
        run(zc(["recv", &listen]).arg(&target), b"")
            .expect_failure(1, &["missing/target: No such file or directory (ENOENT)"]);
    }
    run(zc(["cp", "-"]).arg(&target), b"").expect_failure(1, &["(ENOENT)"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_directory_is_no_target() {
    let dir = scratch();
    run(zc(["recv", "127.0.0.1:0"]).arg(dir.path()), b"")
        .expect_failure(1, &["cannot write ", "Is a directory (EISDIR)"]);
    run(zc(["send"]).arg(dir.path()).arg("127.0.0.1:1"), b"")
        .expect_failure(1, &["cannot read ", "Is a directory (EISDIR)"]);
}

#[test]
fn an_address_in_use_fails() {
    let dir = scratch();
    let target = dir.path().join("target");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let what = format!("cannot listen on {address}: Address already in use (EADDRINUSE)");
    run(zc(["recv", &address]).arg(&target), b"").expect_failure(1, &[&what]);

    let socket = dir.path().join("socket");
    let _unix = UnixListener::bind(&socket).unwrap();
    let address = format!("unix:{}", socket.display());
    let what = format!("cannot listen on {address}: Address already in use (EADDRINUSE)");
    run(zc(["recv", &address]).arg(&target), b"").expect_failure(1, &[&what]);
    assert_eq!(names(dir.path()), ["socket".into()].into());
}

/// A socket whose listener was killed is not in use.
#[test]
fn takes_over_a_socket_whose_listener_was_killed() {
    let dir = scratch();
    let target = dir.path().join("target");
    let listen = &listens(dir.path())[1];
    let receiver = Receiver::start(listen, &target, &[]);
    receiver.kill(Signal::KILL);
    receiver.finish().expect_killed(Signal::KILL);
    assert_eq!(names(dir.path()), ["socket".into()].into());

    let receiver = Receiver::start(listen, &target, &[]);
    run(&mut zc(["send", "-", listen]), b"x").expect_success();
    receiver.finish().expect_success();
    assert_eq!(names(dir.path()), ["target".into()].into());
}

#[test]
fn fails_without_a_listener() {
    let dir = scratch();
    let source = dir.path().join("source");
    fs::write(&source, "x").unwrap();
    // Bound, so that no other test gets the port, and not listening.
    let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddr::try_from(getsockname(&bound).unwrap()).unwrap().to_string();
    let what = format!("cannot connect to {address}: Connection refused (ECONNREFUSED)");
    run(zc(["send"]).arg(&source).arg(&address), b"").expect_failure(1, &[&what]);

    let socket = dir.path().join("socket");
    let address = format!("unix:{}", socket.display());
    run(zc(["send"]).arg(&source).arg(&address), b"").expect_failure(1, &["(ENOENT)"]);
    drop(UnixListener::bind(&socket).unwrap());
    run(zc(["send"]).arg(&source).arg(&address), b"").expect_failure(1, &["(ECONNREFUSED)"]);
}

/// The number of bytes that a message says were moved.
fn moved(line: &str) -> usize {
    let (_, after) = line.rsplit_once(", after ").expect("after so many bytes");
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_reset_of_the_client_keeps_the_old_file() {
    let dir = scratch();
    let target = dir.path().join("target");
    for before in [None, Some("what was there")] {
        if let Some(before) = before {
            fs::write(&target, before).unwrap();
        }
        for expect in [&[][..], &["--expect", "1k"]] {
            let receiver = Receiver::start("127.0.0.1:0", &target, expect);
            let mut client = TcpStream::connect(&receiver.address).unwrap();
            client.write_all(&bytes(1, LEN)).unwrap();
            // Half-way the target is as it was.
            assert_eq!(fs::read_to_string(&target).ok().as_deref(), before);
            reset(client);
            let outcome = receiver.finish();
            outcome.expect_failure(1, &["cannot copy 127.0.0.1:", "(ECONNRESET), after "]);
            assert!(moved(outcome.line()) <= LEN);
            assert_eq!(fs::read_to_string(&target).ok().as_deref(), before);
            assert_eq!(names(dir.path()).len(), before.iter().count());
        }
    }
}

#[test]
fn an_upload_that_falls_short_leaves_no_file() {
    let dir = scratch();
    let target = dir.path().join("target");
    let what = "the input ended before the 1001 bytes expected, after 1000 bytes";
    for listen in listens(dir.path()) {
        let receiver = Receiver::start(&listen, &target, &["--expect", "1001"]);
        let sent = run(&mut zc(["send", "-", &receiver.address]), &bytes(2, 1000));
        // Over TCP the sender hears of it, too.
        if listen.starts_with("unix:") {
            sent.expect_success();
        } else {
            sent.expect_failure(1, &["did not take all of -", ", after 1000 bytes"]);
        }
        receiver.finish().expect_failure(3, &[what]);
        assert!(names(dir.path()).is_empty(), "{listen}");

        let receiver = Receiver::start(&listen, "-", &[]);
        run(&mut zc(["send", "-", &receiver.address, "--expect", "1001"]), &bytes(2, 1000))
            .expect_failure(3, &[what]);
        assert_eq!(receiver.finish().stdout, bytes(2, 1000));
    }
    run(zc(["cp", "-"]).arg(&target).args(["--expect", "1001"]), &bytes(2, 1000))
        .expect_failure(3, &[what]);
    assert!(names(dir.path()).is_empty());
}

/// What a sender could not send all of does not look complete, and takes no file's place.
#[test]
fn a_sender_that_fails_fails_the_receiver() {
    let dir = scratch();
    let target = dir.path().join("target");
    fs::write(&target, "what was there").unwrap();
    for len in [1000, LEN] {
        let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
        let expect = (len + 1).to_string();
        let sent =
            run(&mut zc(["send", "-", &receiver.address, "--expect", &expect]), &bytes(2, len));
        sent.expect_failure(3, &["the input ended before"]);
        receiver.finish().expect_failure(1, &["(ECONNRESET)"]);
        assert_eq!(fs::read(&target).unwrap(), b"what was there");
        assert_eq!(names(dir.path()).len(), 1);
    }
}

/// Accepts one connection, reads `n` bytes of it, and goes away.
fn accept_and_leave(n: u64) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut (&mut stream).take(n), &mut std::io::sink()).unwrap();
        reset(stream);
    });
    (address, server)
}

#[test]
fn a_reset_of_the_receiver_fails_the_sender() {
    let dir = scratch();
    let source = dir.path().join("source");
    // More than the buffers of a connection hold, from a file and from a pipe.
    fs::write(&source, bytes(3, 64 << 20)).unwrap();
    for from in [source.to_str().unwrap(), "-"] {
        let (address, server) = accept_and_leave(LEN as u64);
        let outcome = run(&mut zc(["send", from, &address]), &bytes(3, 64 << 20));
        server.join().unwrap();
        outcome.expect_failure(1, &[&format!("cannot copy {from} to {address}: ")]);
        let line = outcome.line();
        assert!(line.contains("(EPIPE)") || line.contains("(ECONNRESET)"), "{line}");
        assert!((LEN..64 << 20).contains(&moved(line)), "{line}");
    }
}

/// All bytes are in the socket's buffer, and all of them are lost.
#[test]
fn a_reset_after_the_last_byte_fails_the_sender() {
    let (address, server) = accept_and_leave(1);
    let outcome = run(&mut zc(["send", "-", &address]), &bytes(4, 1000));
    server.join().unwrap();
    assert_eq!(outcome.code(), Some(1));
    assert!(outcome.line().contains("(ECONNRESET)") || outcome.line().contains("(EPIPE)"));
}

/// A Unix socket has no reset, but closing it with bytes unread amounts to one.
#[test]
fn a_unix_receiver_that_leaves_fails_the_sender() {
    let dir = scratch();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _): (UnixStream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    });
    let address = format!("unix:{}", socket.display());
    let outcome = run(&mut zc(["send", "-", &address]), &bytes(5, LEN));
    server.join().unwrap();
    outcome.expect_failure(1, &[&address, ", after "]);
    let line = outcome.line();
    assert!(line.contains("(EPIPE)") || line.contains("(ECONNRESET)"), "{line}");
}

/// Each of these signals comes in the middle. No file is left.
#[test]
fn leaves_nothing_behind_when_killed() {
    let dir = scratch();
    let target = dir.path().join("target");
    if !has_unnamed_files(dir.path()) {
        return skip(&format!(
            "leaves_nothing_behind_when_killed: no O_TMPFILE on {}",
            dir.path().display()
        ));
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
        for before in [None, Some("what was there")] {
            let _ = fs::remove_file(&target);
            if let Some(before) = before {
                fs::write(&target, before).unwrap();
            }
            let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
            let mut client = TcpStream::connect(&receiver.address).unwrap();
            client.write_all(&bytes(6, LEN)).unwrap();
            receiver.kill(signal);
            receiver.finish().expect_killed(signal);
            assert_eq!(fs::read_to_string(&target).ok().as_deref(), before);
            assert_eq!(names(dir.path()).len(), before.iter().count());
        }
    }
}

fn has_unnamed_files(dir: &Path) -> bool {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).is_ok()
}

/// Where files need a name, the temporary one goes with the process.
#[test]
fn leaves_no_temporary_name_when_killed() {
    const TEST: &str = "leaves_no_temporary_name_when_killed";
    let Some(fuse) = or_skip(Mount::fuse(16)) else { return };
    let mount = fuse.root();
    // No machine can be made to lack what newer kernels have. So this does not count as skipped.
    if has_unnamed_files(&mount) {
        return leave_out(&format!("{TEST}: FUSE has learned O_TMPFILE"));
    }

    let target = mount.join("target");
    fs::write(&target, "what was there").unwrap();
    let before = names(&mount);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
        assert_eq!(names(&mount).len(), before.len() + 1);
        let mut client = TcpStream::connect(&receiver.address).unwrap();
        client.write_all(&bytes(9, LEN)).unwrap();
        let [janitor] = receiver.children()[..] else { panic!("not one janitor") };
        let its_end = pidfd_open(janitor, PidfdFlags::empty()).unwrap();
        if signal == Signal::TERM {
            // As a service manager does, to all processes of a service.
            until_it_sleeps(&janitor.as_raw_nonzero().to_string());
            kill_process(janitor, signal).unwrap();
        }
        receiver.kill(signal);
        receiver.finish().expect_killed(signal);
        // The janitor takes a moment.
        wait_for(its_end, PollFlags::IN);
        assert_eq!(names(&mount), before);
        assert_eq!(fs::read(&target).unwrap(), b"what was there");
    }

    let receiver = Receiver::start("127.0.0.1:0", &target, &["--expect", "2"]);
    run(&mut zc(["send", "-", &receiver.address]), b"x").expect_failure(1, &["(ECONNRESET)"]);
    receiver.finish().expect_failure(3, &[", after 1 byte"]);
    assert_eq!(
        (names(&mount), fs::read(&target).unwrap()),
        (before.clone(), b"what was there".into())
    );

    let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
    run(&mut zc(["send", "-", &receiver.address]), b"new").expect_success();
    receiver.finish().expect_success();
    assert_eq!((names(&mount), fs::read(&target).unwrap()), (before, b"new".into()));
}

/// A limit on the size of files stands in for the full disk that an ordinary user cannot make.
#[test]
fn a_limit_on_file_size_leaves_no_file() {
    let dir = scratch();
    let target = dir.path().join("target");
    // 1024 blocks of 512 bytes. The signal is ignored, so writes beyond them fail.
    let script = r#"trap "" XFSZ; ulimit -f 1024; exec "$0" recv 127.0.0.1:0 "$1""#;
    let mut command = Command::new("sh");
    let receiver = Receiver::of(command.args(["-c", script]).arg(binary()).arg(&target));
    let sender = run(&mut zc(["send", "-", &receiver.address]), &bytes(7, LEN));
    assert_eq!(sender.code(), Some(1), "{sender:?}");
    let outcome = receiver.finish();
    outcome.expect_failure(1, &["File too large (EFBIG), after "]);
    assert_eq!(moved(outcome.line()), 512 * 1024);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_read_only_file_system_fails() {
    let dir = scratch();
    let script = r#"mount -t tmpfs -o ro none "$1" && exec "$0" cp - "$1/target""#;
    let Some(mut command) = in_mount_namespace("a_read_only_file_system_fails", script, dir.path())
    else {
        return;
    };
    run(&mut command, b"x").expect_failure(1, &["target: Read-only file system (EROFS)"]);
}

#[test]
fn a_full_disk_keeps_the_old_file() {
    let dir = scratch();
    // Prints the names that are left.
    let script = r#"mount -t tmpfs -o size=1m none "$1" || exit 9
        echo old >"$1/target"
        "$0" recv 127.0.0.1:0 "$1/target"; code=$?
        ls -A "$1"; cat "$1/target"
        exit $code"#;
    let Some(mut command) =
        in_mount_namespace("a_full_disk_keeps_the_old_file", script, dir.path())
    else {
        return;
    };
    let receiver = Receiver::of(&mut command);
    let sender = run(&mut zc(["send", "-", &receiver.address]), &bytes(8, LEN));
    assert_eq!(sender.code(), Some(1), "{sender:?}");
    let outcome = receiver.finish();
    outcome.expect_failure(1, &["No space left on device (ENOSPC), after "]);
    assert!(moved(outcome.line()) > 0);
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "target\nold\n");
}

#[test]
fn fails_if_its_reader_has_gone() {
    let mut child =
        start(zc(["cp", "/dev/zero", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()));
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr.contains("Broken pipe (EPIPE)"), "{stderr}");
}
