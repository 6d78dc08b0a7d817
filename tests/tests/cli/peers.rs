//! Peers that answer, that stop reading, and that vanish.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt;
use zc_testkit::cli::{
    Nobody, Outcome, Receiver, give_to_nobody, have, in_mount_namespace, names, run, scratch, zc,
};
use zc_testkit::data::bytes;
use zc_testkit::running::{Running, start};
use zc_testkit::sockets::{reset, unix_queue_for_one};

/// More than the buffers of a connection hold in both directions.
const LEN: usize = 30_000_001;

/// Serves one connection.
fn serve<T: Send + 'static>(
    server: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, thread::spawn(move || server(listener.accept().unwrap().0)))
}

fn echo(mut stream: TcpStream) {
    let mut back = stream.try_clone().unwrap();
    std::io::copy(&mut stream, &mut back).unwrap();
    back.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn passes_on_what_the_peer_answers() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(1, LEN);
    fs::write(&from, &content).unwrap();
    let send = |options: &[&str]| {
        let (address, server) = serve(echo);
        let outcome = run(zc(["send"]).arg(&from).arg(&address).args(options), b"");
        server.join().unwrap();
        outcome
    };
    send(&["--reply", to.to_str().unwrap()]).expect_success();
    assert!(fs::read(&to).unwrap() == content);

    let outcome = send(&["--reply", "-"]);
    outcome.expect_success();
    assert!(outcome.stdout == content);

    // Without `--reply` the answer is dropped, and counted.
    let outcome = send(&["--json"]);
    let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!((&object["moved"], &object["replied"]), (&LEN.into(), &LEN.into()));
    let outcome = send(&["--json", "--reply", "/dev/stdout"]);
    assert!(outcome.stdout == content && outcome.line().starts_with('{'));

    // The answer cannot be kept. The peer still gets everything.
    send(&["--reply", "/dev/full"])
        .expect_failure(1, &["cannot write the answer to /dev/full: ", "(ENOSPC)"]);
    // A peer that goes before the end leaves no half of an answer.
    let (address, server) = serve(|mut stream| {
        stream.write_all(b"half").unwrap();
        reset(stream);
    });
    let outcome =
        run(zc(["send", "--reply"]).arg(dir.path().join("new")).arg(&from).arg(&address), b"");
    server.join().unwrap();
    assert_eq!((outcome.code(), names(dir.path()).len()), (Some(1), 2));
    run(zc(["send", "--reply"]).args([&from, &from]).arg("127.0.0.1:1"), b"")
        .expect_failure(1, &["it is the file to send"]);
    assert!(fs::read(&from).unwrap() == content);
    let missing = dir.path().join("missing/reply");
    run(zc(["send", "--reply"]).arg(&missing).arg(&from).arg("127.0.0.1:1"), b"")
        .expect_failure(1, &["cannot write ", "(ENOENT)"]);
    assert_eq!(names(dir.path()).len(), 2);
}

/// A file that cannot be replaced is written in place, as by any other copy, and no old byte stays.
#[test]
fn writes_an_answer_into_a_file_that_cannot_be_replaced() {
    let (nobody, dir) = (Nobody::new(), scratch());
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let reply = locked.join("reply");
    fs::write(&reply, "what was there, and is longer than the answer").unwrap();
    give_to_nobody(&reply);
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    let (address, server) = serve(echo);
    let args = ["send", "--reply", reply.to_str().unwrap(), "-", &address];
    run(&mut nobody.zc(&args), b"answer").expect_success();
    server.join().unwrap();
    fs::set_permissions(&locked, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read(&reply).unwrap(), b"answer");
}

/// socat is the echo server, and nc sends its whole input back.
#[test]
fn reads_the_answers_of_socat() {
    if !have("socat", "reads_the_answers_of_socat") {
        return;
    }
    let dir = scratch();
    let socket = dir.path().join("socket");
    let content = bytes(2, LEN);
    let mut server = Command::new("socat");
    server.arg(format!("UNIX-LISTEN:{}", socket.display())).arg("EXEC:cat");
    let mut server = start(&mut server);
    let address = format!("unix:{}", socket.display());
    wait_for(&socket, &mut server);
    let outcome = run(&mut zc(["send", "-", &address, "--reply", "-"]), &content);
    outcome.expect_success();
    assert!(outcome.stdout == content);
    assert!(server.wait().unwrap().success());
}

fn wait_for(socket: &Path, server: &mut Running) {
    while !socket.exists() {
        assert_eq!(server.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(10));
    }
}

/// A minimal HTTP server: it answers once the request is there.
#[test]
fn reads_the_answer_of_an_http_server() {
    let (address, server) = serve(|mut stream| {
        let mut request = String::new();
        stream.read_to_string(&mut request).unwrap();
        stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
        request
    });
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let outcome = run(&mut zc(["send", "-", &address, "--reply", "-"]), request);
    outcome.expect_success();
    assert_eq!(outcome.stdout, b"HTTP/1.0 204 No Content\r\n\r\n");
    assert_eq!(server.join().unwrap().as_bytes(), request);
}

/// A peer that never reads, and stays until its listener is dropped.
fn deaf(buffer: usize) -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_recv_buffer_size(&listener, buffer).unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

/// The number of bytes that a message says are unacknowledged.
fn unacknowledged(outcome: &Outcome) -> u64 {
    let (before, _) = outcome.line().split_once(" bytes are unacknowledged").expect("so many");
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn says_how_many_bytes_were_never_taken() {
    let len = 200_000;
    let (address, _listener) = deaf(1024);
    let args = ["send", "-", &address, "--linger", "0.5"];
    let outcome = run(&mut zc(args), &bytes(3, len));
    outcome.expect_failure(1, &["did not take all of -", "--linger 0.5, after 200000 bytes"]);
    let n = unacknowledged(&outcome);
    assert!(n > len as u64 / 2 && n < len as u64, "{n}");

    let outcome = run(zc(args).arg("--json"), &bytes(3, len));
    let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert!(object["unacknowledged"].as_u64().unwrap() > len as u64 / 2);
    assert_eq!(object["moved"], len);
}

/// The kernel at the other end has every byte, but the peer does not end.
#[test]
fn fails_if_the_peer_does_not_end() {
    let (address, _listener) = deaf(1 << 20);
    run(&mut zc(["send", "-", &address, "--linger", "0.2"]), b"small").expect_failure(
        1,
        &["did not end the connection", "acknowledged every byte", "--linger 0.2"],
    );
}

/// The peer ends its side before it has read everything, as some servers do, and then reads on.
#[test]
fn sends_on_to_a_peer_that_ends_first() {
    let (address, server) = serve(|mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        thread::sleep(Duration::from_millis(200));
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    let content = bytes(4, LEN);
    run(&mut zc(["send", "-", &address]), &content).expect_success();
    assert!(server.join().unwrap() == content);
}

/// The peer ends its side, and then resets the connection over what it has not read.
#[test]
fn fails_if_the_peer_ends_and_resets() {
    let (address, listener) = deaf(1024);
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        thread::sleep(Duration::from_millis(300));
        reset(stream);
    });
    // As much as the buffers at this end hold.
    let outcome = run(&mut zc(["send", "-", &address]), &bytes(5, 100_000));
    server.join().unwrap();
    assert_eq!(outcome.code(), Some(1), "{outcome:?}");
}

#[test]
fn gives_up_on_an_idle_receiver() {
    let dir = scratch();
    let from = dir.path().join("from");
    fs::write(&from, bytes(6, LEN)).unwrap();
    for from in [from.to_str().unwrap(), "-"] {
        let (address, _listener) = deaf(1024);
        let outcome =
            run(&mut zc(["send", from, &address, "--timeout", "0.3", "--json"]), &bytes(6, LEN));
        let object: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
        assert_eq!((&object["exit"], &object["errno_name"]), (&1.into(), &"ETIMEDOUT".into()));
        assert!(
            object["error"].as_str().unwrap().contains("not a byte moved within --timeout 0.3")
        );
    }
    // All is sent, and the peer neither reads nor ends.
    let (address, _listener) = deaf(1024);
    let outcome = run(&mut zc(["send", "-", &address, "--timeout", "0.3"]), &bytes(6, 200_000));
    outcome.expect_failure(1, &[" bytes are unacknowledged after --timeout 0.3"]);
}

/// A sender that vanished does not hold half a file for ever. A slow one is not cut off.
#[test]
fn gives_up_on_an_idle_sender_and_not_on_a_slow_one() {
    let dir = scratch();
    let target = dir.path().join("target");
    fs::write(&target, "what was there").unwrap();
    for (listen, coalesce) in [("127.0.0.1:0", "5"), ("127.0.0.1:0", "0")] {
        let options = ["--timeout", "1.5", "--coalesce", coalesce];
        let receiver = Receiver::start(listen, &target, &options);
        let mut client = TcpStream::connect(&receiver.address).unwrap();
        // Together longer than the timeout.
        for _ in 0..10 {
            client.write_all(b"x").unwrap();
            thread::sleep(Duration::from_millis(200));
        }
        let outcome = receiver.finish();
        outcome.expect_failure(1, &["not a byte moved within --timeout 1.5, after 10 bytes"]);
        assert_eq!(fs::read(&target).unwrap(), b"what was there");
        assert_eq!(names(dir.path()).len(), 1);
        // The connection is reset, so that a sender that comes back hears of it.
        assert!(client.read(&mut [0]).is_err());
    }
    let listen = format!("unix:{}", dir.path().join("socket").display());
    let receiver = Receiver::start(&listen, &target, &["--timeout", "0.2"]);
    let mut client = std::os::unix::net::UnixStream::connect(receiver.path()).unwrap();
    client.write_all(b"half").unwrap();
    receiver.finish().expect_failure(1, &["--timeout 0.2, after 4 bytes"]);
}

/// The connection's timer, as ss(8) shows it.
fn timers(port: &str) -> String {
    let output =
        Command::new("ss").args(["-Htno", "sport", &format!("= :{port}")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn asks_silent_peers_whether_they_are_there() {
    if !have("ss", "asks_silent_peers_whether_they_are_there") {
        return;
    }
    let dir = scratch();
    let receiver = Receiver::start("127.0.0.1:0", dir.path().join("target"), &[]);
    let (port, address) = (receiver.port().to_owned(), receiver.address.clone());
    let mut sender = start(zc(["send", "-", &address]).stdin(Stdio::piped()).stderr(Stdio::null()));
    let keepalive = |what: &dyn Fn() -> String| {
        while !what().contains("timer:(keepalive,") {
            thread::sleep(Duration::from_millis(20));
        }
    };
    keepalive(&|| timers(&port));
    let output = || Command::new("ss").args(["-Htno", "dport", &format!("= :{port}")]).output();
    keepalive(&|| String::from_utf8(output().unwrap().stdout).unwrap());
    drop(sender.stdin.take());
    assert!(sender.wait().unwrap().success());
    receiver.finish().expect_success();
}

/// The network goes in the middle of an upload, and neither end hears of the other any more.
#[test]
fn notices_a_peer_that_vanishes() {
    let dir = scratch();
    // A network namespace of its own, whose loopback interface can be taken down.
    let script = r#"exec unshare --net sh -c '
        cd "$1" && ip link set lo up && mkfifo pipe || exit 9
        "$0" recv 127.0.0.1:7000 target --timeout 1 2>recv & receiver=$!
        until grep -q listening recv; do sleep 0.05; done
        "$0" send pipe 127.0.0.1:7000 --linger 1 2>send & sender=$!
        exec 3>pipe
        head -c 100000 /dev/zero >&3
        sleep 0.3
        ip link set lo down
        head -c 50000 /dev/zero >&3
        exec 3>&-
        wait $receiver; echo $?; wait $sender; echo $?' "$0" "$1""#;
    let test = "notices_a_peer_that_vanishes";
    let Some(mut command) = in_mount_namespace(test, script, dir.path()) else { return };
    if !have("ip", test) {
        return;
    }
    let outcome = run(&mut command, b"");
    assert_eq!((outcome.code(), &outcome.stdout[..]), (Some(0), &b"1\n1\n"[..]), "{outcome:?}");
    let said = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (recv, send) = (said("recv"), said("send"));
    assert!(recv.contains("not a byte moved within --timeout 1, after "), "{recv}");
    assert!(send.contains(" bytes are unacknowledged after --linger 1, after 150000"), "{send}");
    assert!(!dir.path().join("target").exists());
}

/// The receiver could not keep the file. Over TCP the sender does not report a success.
#[test]
fn hears_that_it_was_not_kept() {
    let dir = scratch();
    let target = dir.path().join("target");
    let receiver = Receiver::start("127.0.0.1:0", &target, &[]);
    fs::create_dir(&target).unwrap();
    let sent = run(&mut zc(["send", "-", &receiver.address]), &bytes(7, 1000));
    sent.expect_failure(1, &["did not take all of -: ", "(ECONNRESET)"]);
    assert_eq!(receiver.finish().code(), Some(1));
}

/// A receiver that is killed when it has all that came, and not yet the file in its place, has not kept it.
#[test]
fn hears_that_the_receiver_was_killed() {
    let mut command = zc(["recv", "127.0.0.1:0", "-"]);
    let mut receiver = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut said = String::new();
    BufReader::new(receiver.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim_end().strip_prefix("zc recv: listening on ").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"all of it").unwrap();
    receiver.stdout.take().unwrap().read_exact(&mut [0; 9]).unwrap();
    receiver.kill().unwrap();
    let heard = client.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::ConnectionReset));
}

/// Neither a connection nor a refusal.
#[test]
fn gives_up_on_a_connection_that_is_not_made() {
    // A full queue neither answers nor refuses.
    let (address, _listener) = deaf(1024);
    let queue: Vec<TcpStream> = (0..400)
        .map_while(|_| {
            let address = address.parse().unwrap();
            TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()
        })
        .collect();
    if queue.len() == 400 {
        return zc_testkit::skip::skip(
            "gives_up_on_a_connection_that_is_not_made: the queue has no end",
        );
    }
    run(&mut zc(["send", "-", &address, "--timeout", "0.3"]), b"")
        .expect_failure(1, &[&format!("cannot connect to {address}: ")]);
}

/// The same of a Unix listener, whose queue makes a caller wait.
#[test]
fn gives_up_on_a_unix_listener_that_accepts_nothing() {
    let dir = scratch();
    let path = dir.path().join("socket");
    let _listener = unix_queue_for_one(&path);
    let _first = UnixStream::connect(&path).unwrap();
    let address = format!("unix:{}", path.display());
    run(&mut zc(["send", "-", &address, "--timeout", "0.3"]), b"")
        .expect_failure(1, &[&format!("cannot connect to {address}: "), "(ETIMEDOUT)"]);
}
