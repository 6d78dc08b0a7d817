//! `--resume`: a file that is half there becomes whole, and no byte of it moves twice.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use zc_testkit::cli::{Receiver, have, listens, names, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::running::start;
use zc_testkit::sockets::reset;

const LEN: usize = 3_000_001;

/// How much may be there already.
const HALVES: [usize; 5] = [0, 1, 4096, LEN - 1, LEN];

fn resumed(outcome: &[u8]) -> (u64, u64) {
    let object: serde_json::Value = serde_json::from_slice(outcome).unwrap();
    (object["resumed"].as_u64().unwrap(), object["moved"].as_u64().unwrap())
}

#[test]
fn resumes_a_copy() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(1, LEN);
    fs::write(&from, &content).unwrap();
    for half in HALVES {
        for piped in [false, true] {
            fs::write(&to, &content[..half]).unwrap();
            let source = if piped { Path::new("-") } else { &from };
            let args = ["cp", "--resume", "--json", "--expect", &LEN.to_string()];
            let outcome = run(zc(args).args([source, &to]), &content);
            assert_eq!(resumed(&outcome.stdout), (half as u64, (LEN - half) as u64));
            assert!(fs::read(&to).unwrap() == content, "{half}");
        }
    }
    // Without a file, and with one that is too long.
    fs::remove_file(&to).unwrap();
    run(zc(["cp", "--resume"]).args([&from, &to]), b"").expect_success();
    fs::write(&to, [&content[..], b"x"].concat()).unwrap();
    for (source, input) in [(from.as_path(), &b""[..]), (Path::new("-"), &content)] {
        run(zc(["cp", "--resume"]).args([source, &to]), input)
            .expect_failure(1, &["cannot resume after 3000002 bytes", "is shorter than"]);
    }
    assert_eq!(fs::metadata(&to).unwrap().len(), LEN as u64 + 1);
    assert_eq!(names(dir.path()).len(), 2);
}

/// What is there already cannot be told, and all of it would come once more.
#[test]
fn nothing_is_resumed_into_an_open_descriptor() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(1, LEN);
    fs::write(&from, &content).unwrap();
    fs::write(&to, &content[..LEN / 2]).unwrap();
    for target in ["-", "/dev/stdout"] {
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" cp --resume "$1" "$2" >> "$3""#]);
        command.arg(zc([""; 0]).get_program()).arg(&from).arg(target).arg(&to);
        let said = "of an open descriptor nothing says what is there already";
        run(&mut command, b"").expect_failure(1, &[said]);
        assert!(fs::read(&to).unwrap() == content[..LEN / 2], "{target}");
    }
}

#[test]
fn resumes_an_upload() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(2, LEN);
    fs::write(&from, &content).unwrap();
    for listen in listens(dir.path()) {
        for half in HALVES {
            fs::write(&to, &content[..half]).unwrap();
            let expect = LEN.to_string();
            let receiver =
                Receiver::start(&listen, &to, &["--resume", "--json", "--expect", &expect]);
            let source = if half % 2 == 0 { from.to_str().unwrap() } else { "-" };
            let args = ["send", "--resume", "--json", source, &receiver.address];
            let sent = run(&mut zc(args), &content);
            let counts = (half as u64, (LEN - half) as u64);
            assert_eq!(resumed(&sent.stdout), counts, "{sent:?}");
            assert_eq!(resumed(&receiver.finish().stdout), counts);
            assert!(fs::read(&to).unwrap() == content, "{listen} {half}");
        }
    }
}

/// A connection that breaks off leaves what came. The next one adds the rest.
#[test]
fn resumes_after_a_broken_connection() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(3, LEN);
    fs::write(&from, &content).unwrap();
    let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
    let mut client = TcpStream::connect(&receiver.address).unwrap();
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    client.write_all(b"0\n").unwrap();
    client.write_all(&content[..LEN / 2]).unwrap();
    while fs::metadata(&to).unwrap().len() < LEN as u64 / 2 {
        thread::yield_now();
    }
    reset(client);
    receiver.finish().expect_failure(1, &["(ECONNRESET), after 1500000 bytes"]);
    assert!(fs::read(&to).unwrap() == content[..LEN / 2]);

    let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
    let sent = run(zc(["send", "--resume"]).arg(&from).arg(&receiver.address), b"");
    sent.expect_success();
    receiver.finish().expect_success();
    assert!(fs::read(&to).unwrap() == content);
}

/// A sender that knows nothing of `--resume` would add the whole file to the half.
#[test]
fn refuses_to_resume_at_one_end_only() {
    let dir = scratch();
    let to = dir.path().join("to");
    for content in [&b"0123456789012345678901234567890"[..], b"5\nnot the offset", b"", b"x"] {
        fs::write(&to, "half").unwrap();
        let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
        let sent = run(&mut zc(["send", "-", &receiver.address]), content);
        assert_eq!(sent.code(), Some(1), "{sent:?}");
        receiver.finish().expect_failure(1, &["cannot resume after 4 bytes"]);
        assert_eq!(fs::read(&to).unwrap(), b"half");
    }
    // The other way round: the peer does not say how much it has.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = ["send", "--resume", "--timeout", "0.3", "-", &address];
    run(&mut zc(args), b"x").expect_failure(1, &["cannot resume to ", "(ETIMEDOUT)"]);
    let server = thread::spawn(move || {
        listener.accept().unwrap();
        listener.accept().unwrap().0.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
    });
    run(&mut zc(args), b"x").expect_failure(1, &["it does not say how much it has"]);
    server.join().unwrap();
}

/// Both ends fail, or the receiver would take the file that it has for the one that was to come.
#[test]
fn refuses_to_resume_into_a_longer_file() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, "short").unwrap();
    for listen in listens(dir.path()) {
        fs::write(&to, "longer").unwrap();
        let receiver = Receiver::start(&listen, &to, &["--resume"]);
        run(zc(["send", "--resume"]).arg(&from).arg(&receiver.address), b"")
            .expect_failure(1, &["cannot resume after 6 bytes: ", "is shorter than"]);
        // A Unix socket has no reset.
        let heard = if listen.starts_with("unix:") {
            "the connection ended before that was agreed on"
        } else {
            "(ECONNRESET)"
        };
        receiver.finish().expect_failure(1, &["cannot resume after 6 bytes: ", heard]);
        assert_eq!(fs::read(&to).unwrap(), b"longer");
    }
}

/// What counts is how long the file is when the connection is made, which may be long after.
#[test]
fn resumes_a_file_that_changed_while_nobody_sent() {
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(5, LEN);
    fs::write(&from, &content).unwrap();
    for (before, meanwhile) in [(LEN / 2, LEN / 3), (LEN / 3, LEN / 2), (LEN, 0)] {
        fs::write(&to, &content[..before]).unwrap();
        let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
        fs::write(&to, &content[..meanwhile]).unwrap();
        let sent = run(zc(["send", "--resume", "--json"]).arg(&from).arg(&receiver.address), b"");
        assert_eq!(resumed(&sent.stdout), (meanwhile as u64, (LEN - meanwhile) as u64));
        receiver.finish().expect_success();
        assert!(fs::read(&to).unwrap() == content, "{before} {meanwhile}");
    }
}

/// The sender goes on where it was told to, and that is not where the file ends by now.
#[test]
fn refuses_to_resume_a_file_that_changes_before_the_sender_answers() {
    let dir = scratch();
    let to = dir.path().join("to");
    for meanwhile in ["", "and more than half"] {
        fs::write(&to, "half").unwrap();
        let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
        let mut client = TcpStream::connect(&receiver.address).unwrap();
        let mut line = [0; 2];
        client.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"4\n");
        fs::write(&to, meanwhile).unwrap();
        client.write_all(b"4\nrest").unwrap();
        // Unless it is reset by then.
        let _ = client.shutdown(Shutdown::Write);
        let outcome = receiver.finish();
        let now = format!(" has {} bytes by now", meanwhile.len());
        outcome.expect_failure(1, &["cannot resume after 4 bytes: ", &now]);
        assert_eq!(fs::read_to_string(&to).unwrap(), meanwhile);
    }
}

/// What is written to a file without a name is lost, and that is no success.
#[test]
fn says_that_the_file_is_gone() {
    let dir = scratch();
    let to = dir.path().join("to");
    let there =
        [("--resume", true), ("--resume", false), ("--in-place", true), ("--in-place", false)];
    for (option, is_there) in there {
        if is_there {
            fs::write(&to, "half").unwrap();
        }
        let receiver = Receiver::start("127.0.0.1:0", &to, &[option]);
        fs::remove_file(&to).unwrap();
        let args = ["send", "-", &receiver.address, "--resume"];
        let args = if option == "--resume" { &args[..] } else { &args[..3] };
        let sent = run(&mut zc(args), b"half and half");
        assert_eq!(sent.code(), Some(1), "{sent:?}");
        receiver.finish().expect_failure(1, &["cannot put ", ": it has been removed meanwhile"]);
        assert!(names(dir.path()).is_empty());
    }
    // A file of somebody else's that has the name by now stays, whatever becomes of the upload.
    let receiver = Receiver::start("127.0.0.1:0", &to, &["--in-place", "--expect", "9"]);
    fs::remove_file(&to).unwrap();
    fs::write(&to, "another").unwrap();
    run(&mut zc(["send", "-", &receiver.address]), b"short");
    receiver.finish().expect_failure(3, &[", after 5 bytes"]);
    assert_eq!(fs::read(&to).unwrap(), b"another");
    // With another name it is still there.
    fs::write(&to, "half").unwrap();
    let receiver = Receiver::start("127.0.0.1:0", &to, &["--in-place"]);
    fs::rename(&to, dir.path().join("elsewhere")).unwrap();
    run(&mut zc(["send", "-", &receiver.address]), b"whole").expect_success();
    receiver.finish().expect_success();
    assert_eq!(fs::read(dir.path().join("elsewhere")).unwrap(), b"whole");
}

/// A shell and nc at the other end.
#[test]
fn resumes_with_a_shell_and_nc() {
    if !have("nc", "resumes_with_a_shell_and_nc") {
        return;
    }
    let dir = scratch();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = bytes(4, LEN);
    fs::write(&from, &content).unwrap();
    fs::write(&to, &content[..1000]).unwrap();
    let receiver = Receiver::start("127.0.0.1:0", &to, &["--resume"]);
    let mut nc = Command::new("nc");
    nc.args(["-N", "127.0.0.1", receiver.port()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut nc = start(&mut nc);
    let mut line = String::new();
    BufReader::new(nc.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at: usize = line.trim_end().parse().unwrap();
    let mut stdin = nc.stdin.take().unwrap();
    stdin.write_all(line.as_bytes()).unwrap();
    let mut rest = Vec::new();
    File::open(&from).unwrap().read_to_end(&mut rest).unwrap();
    stdin.write_all(&rest[at..]).unwrap();
    drop(stdin);
    assert!(nc.wait().unwrap().success());
    receiver.finish().expect_success();
    assert!(fs::read(&to).unwrap() == content);
}
