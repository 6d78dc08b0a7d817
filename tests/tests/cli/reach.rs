//! `zc` among other programs: many uploads, pipelines, a terminal, shells, and the manual.

use std::fs::{self, File};
use std::io::{BufRead, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use zc_testkit::cli::{
    Nobody, Receiver, binary, have, limit_descriptors, listens, names, run, scratch, zc,
};
use zc_testkit::data::bytes;

const LEN: usize = 3_000_001;

/// Waits for the condition `there`. A hang here is a failure.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if there() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come: {what}");
}

#[test]
fn keeps_taking_connections() {
    let dir = scratch();
    for listen in listens(dir.path()) {
        let into = dir.path().join("into");
        fs::create_dir(&into).unwrap();
        fs::write(into.join("000007"), "what was there").unwrap();
        let receiver = Receiver::start(&listen, &into, &["--keep-open"]);
        // A slow client does not hold up the others.
        let slow =
            (!listen.starts_with("unix:")).then(|| TcpStream::connect(&receiver.address).unwrap());
        thread::scope(|scope| {
            for seed in 0..20 {
                let address = &receiver.address;
                scope.spawn(move || {
                    run(&mut zc(["send", "-", address]), &bytes(seed, LEN)).expect_success();
                });
            }
        });
        let mut contents: Vec<Vec<u8>> = names(&into)
            .into_iter()
            .filter(|name| name != "000007")
            .map(|name| fs::read(into.join(name)).unwrap())
            .collect();
        let mut want: Vec<Vec<u8>> = (0..20).map(|seed| bytes(seed, LEN)).collect();
        contents.sort();
        want.sort();
        assert!(contents == want, "{listen}");
        assert!(names(&into).first().unwrap().as_str() >= "000007");
        drop(slow);
        receiver.kill(Signal::TERM);
        let outcome = receiver.finish();
        outcome.expect_killed(Signal::TERM);
        // A line for each upload.
        let lines = outcome.stderr.lines().filter(|line| line.contains("into/0000"));
        assert!(lines.count() >= 20, "{}", outcome.stderr);
        assert_eq!(fs::read(into.join("000007")).unwrap(), b"what was there");
        fs::remove_dir_all(&into).unwrap();
    }
}

/// An upload that fails is named and leaves no file, and the next one is taken.
#[test]
fn keeps_open_after_failures() {
    let dir = scratch();
    let path = dir.path().to_str().unwrap();
    let options = ["--keep-open", "--json", "--expect", "5"];
    let receiver = Receiver::start("127.0.0.1:0", path, &options);
    for content in [&b"half"[..], b"whole", b"", b"all of it"] {
        let sent = run(&mut zc(["send", "-", &receiver.address]), content);
        assert_eq!(sent.code(), Some(if content.len() < 5 { 1 } else { 0 }), "{sent:?}");
    }
    let mut contents: Vec<_> =
        names(dir.path()).iter().map(|name| fs::read(dir.path().join(name)).unwrap()).collect();
    contents.sort();
    assert_eq!(contents, [&b"all of it"[..], b"whole"]);
    receiver.kill(Signal::TERM);
    let outcome = receiver.finish();
    assert_eq!(outcome.stderr, "");
    let objects: Vec<serde_json::Value> = String::from_utf8(outcome.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let exits: Vec<_> = objects.iter().map(|object| object["exit"].as_u64().unwrap()).collect();
    assert_eq!(exits, [3, 0, 3, 0]);

    run(&mut zc(["recv", "-k", "127.0.0.1:0", "/nonexistent"]), b"")
        .expect_failure(1, &["cannot write to /nonexistent: ", "(ENOENT)"]);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    run(zc(["recv", "-k", "127.0.0.1:0"]).arg(&file), b"").expect_failure(1, &["(ENOTDIR)"]);
    let nobody = Nobody::new();
    if zc_testkit::cli::is_root() {
        run(&mut nobody.zc(&["recv", "-k", "127.0.0.1:0", path]), b"")
            .expect_failure(1, &["(EACCES)"]);
    }
}

/// The receiver pauses, says so once, and goes on when there are descriptors again.
#[test]
fn outlives_a_lack_of_descriptors() {
    let dir = scratch();
    let mut command = zc(["recv", "--keep-open", "127.0.0.1:0"]);
    limit_descriptors(&mut command, 24);
    let mut receiver = Receiver::of(command.arg(dir.path()));
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(&receiver.address).unwrap()).collect();
    let mut line = String::new();
    while !line.contains("cannot accept") {
        line.clear();
        assert!(receiver.stderr.read_line(&mut line).unwrap() > 0);
    }
    drop(clients);
    let mut sent = run(&mut zc(["send", "-", &receiver.address]), b"at last");
    // While the others are being closed, there may be no descriptor for its file.
    while sent.code() != Some(0) {
        sent = run(&mut zc(["send", "-", &receiver.address]), b"at last");
    }
    let is_last = |name: &String| fs::read(dir.path().join(name)).unwrap() == b"at last";
    assert_eq!(names(dir.path()).iter().filter(|name| is_last(name)).count(), 1);
    receiver.kill(Signal::TERM);
    let said = receiver.finish().stderr;
    assert!(!said.contains("cannot accept"), "{said}");
}

/// pv | gzip | zc send, and zc recv | gzip -d.
#[test]
fn works_in_pipelines() {
    if !["pv", "gzip", "jq"].iter().all(|program| have(program, "works_in_pipelines")) {
        return;
    }
    let dir = scratch();
    let content = bytes(1, LEN);
    fs::write(dir.path().join("from"), &content).unwrap();
    let mut receiver = Command::new("sh");
    let script = r#""$0" recv 127.0.0.1:0 - | gzip -d >to"#;
    let receiver =
        Receiver::of(receiver.current_dir(dir.path()).args(["-c", script]).arg(binary()));
    let script = r#"set -e; pv -q from | gzip -1 | "$0" send - "$1" --json | jq -r .exit"#;
    let mut sender = Command::new("sh");
    let sent = run(
        sender.current_dir(dir.path()).args(["-c", script]).arg(binary()).arg(&receiver.address),
        b"",
    );
    sent.expect_success();
    assert_eq!(sent.stdout, b"0\n");
    receiver.finish().expect_success();
    assert!(fs::read(dir.path().join("to")).unwrap() == content);
}

/// Not even a sender that has nothing to send takes the end of the connection for a success.
#[test]
fn resets_a_connection_that_gets_no_file() {
    let dir = scratch();
    let incoming = dir.path().join("incoming");
    fs::create_dir(&incoming).unwrap();
    let receiver = Receiver::start("127.0.0.1:0", &incoming, &["--keep-open"]);
    fs::remove_dir(&incoming).unwrap();
    run(&mut zc(["send", "-", &receiver.address]), b"").expect_failure(1, &["(ECONNRESET)"]);
    receiver.kill(Signal::TERM);
    receiver.finish().expect_killed(Signal::TERM);
}

/// After this number there is none.
#[test]
fn keeps_nothing_open_without_a_number_left() {
    let dir = scratch();
    fs::write(dir.path().join(u64::MAX.to_string()), "").unwrap();
    run(zc(["recv", "--keep-open", "127.0.0.1:0"]).arg(dir.path()), b"")
        .expect_failure(1, &["cannot write to ", "(EOVERFLOW)"]);
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn says_how_far_it_is() {
    let dir = scratch();
    let content = bytes(2, LEN);
    let expect = LEN.to_string();
    let to = dir.path().join("to");
    let quiet = run(zc(["cp", "-", "--quiet"]).arg(&to), &content);
    quiet.expect_success();
    let outcome = run(zc(["cp", "-", "--progress", "--expect", &expect]).arg(&to), &content);
    assert_eq!(outcome.code(), Some(0));
    for part in ["- 100% ", "2.9 MiB/2.9 MiB ", "/s ETA "] {
        assert!(outcome.line().contains(part), "{}", outcome.stderr);
    }
    let outcome = run(zc(["cp", "-", "--progress"]).arg(&to), &content);
    assert!(outcome.line().contains("- 2.9 MiB "), "{}", outcome.stderr);
    run(zc(["cp", "-", "-q", "--expect", "4M"]).arg(&to), &content)
        .expect_failure(3, &["expected"]);
    // What was there before counts, and is not limited.
    fs::write(&to, &content[..1024]).unwrap();
    let args = ["cp", "-", "--progress", "--resume", "--limit", "1024"];
    let outcome = run(zc(args).arg(&to), &content);
    assert!(outcome.line().contains(" 100% 2 KiB/2 KiB "), "{outcome:?}");
    // Of standard input at an offset, only what follows is to come.
    let from = dir.path().join("from");
    fs::write(&from, &content).unwrap();
    let mut input = File::open(&from).unwrap();
    input.seek(SeekFrom::Start(content.len() as u64 / 2)).unwrap();
    let mut command = zc(["cp", "-", "--progress"]);
    let outcome = command.arg(&to).stdin(input).output().unwrap();
    let said = String::from_utf8(outcome.stderr).unwrap();
    assert!(said.lines().last().unwrap().starts_with("- 100% "), "{said}");
    run(zc(["cp", "-", "-q", "--progress"]).arg(&to), b"").expect_failure(2, &["--progress"]);
}

/// A tmux server of the test's own, with one window, which ends with the test.
struct Tmux<'a>(&'a Path);

impl Tmux<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.0).env_remove("TMUX");
        command
    }
    fn start(&self, script: &str) {
        let session = ["-f", "/dev/null", "new-session", "-d", "-s", "zc", "-x", "120", "-y", "10"];
        assert!(self.command().args(session).arg(script).status().unwrap().success());
    }
    /// What it shows. A line that is too long for it is one line all the same.
    fn screen(&self) -> String {
        let output = self.command().args(["capture-pane", "-pJ", "-t", "zc"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").status();
    }
}

/// A slow peer keeps the sender waiting, and the sender says so.
#[test]
fn says_what_it_waits_for() {
    if !have("tmux", "says_what_it_waits_for") {
        return;
    }
    let dir = scratch();
    let socket = dir.path().join("tmux");
    let tmux = Tmux(&socket);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let from = dir.path().join("from");
    fs::write(&from, "content").unwrap();
    tmux.start(&format!("{} send {} {address}; sleep 1000", binary().display(), from.display()));
    let (client, _) = listener.accept().unwrap();
    until("a hint", || tmux.screen().contains("all is sent; waiting for 127.0.0.1:"));
    drop(client);
    until("an error, with the content unread", || tmux.screen().contains("(ECONNRESET)"));
}

#[test]
fn draws_a_bar_on_a_terminal() {
    if !have("tmux", "draws_a_bar_on_a_terminal") {
        return;
    }
    let dir = scratch();
    let (socket, fifo) = (dir.path().join("tmux"), dir.path().join("source.img"));
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let tmux = Tmux(&socket);
    let script = format!(
        "{} cp {} {} --expect {LEN}; sleep 1000",
        binary().display(),
        fifo.display(),
        dir.path().join("to").display(),
    );
    tmux.start(&script);

    let content = bytes(3, LEN);
    let mut feed = File::options().write(true).open(&fifo).unwrap();
    feed.write_all(&content[..LEN / 2]).unwrap();
    thread::sleep(Duration::from_millis(300));
    // The bar is drawn anew with the next bytes.
    feed.write_all(&content[LEN / 2..LEN / 2 + 1]).unwrap();
    until("name, percent and ETA", || {
        let screen = tmux.screen();
        ["source.img  50% ", "/2.86 MiB ", "/s ETA "].iter().all(|part| screen.contains(part))
    });
    feed.write_all(&content[LEN / 2 + 1..]).unwrap();
    drop(feed);
    // The bar goes, and a summary stays.
    until("a summary", || {
        let screen = tmux.screen();
        screen.contains("zc cp: 2.9 MiB in ") && !screen.contains('%')
    });
    assert!(fs::read(dir.path().join("to")).unwrap() == content);
}

#[test]
fn prints_help() {
    for (args, part) in [
        (&["help"][..], "Commands:"),
        (&["help", "recv"], "--keep-open"),
        (&["help", "cp"], "cp -a"),
        (&["cp", "--help"], "cp -a"),
        (&["--help"], "cp -a"),
        (&["--version"], "zc "),
    ] {
        let outcome = run(&mut zc(args), b"");
        outcome.expect_success();
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(text.contains(part), "{args:?}: {text}");
        // Internal commands are not listed.
        assert!(!text.contains("janitor") && !text.contains("man-pages"), "{text}");
        // Help that was asked for and cannot be printed is a failure.
        let mut sh = Command::new("sh");
        sh.args(["-c", r#"exec "$0" "$@" >&-"#]).arg(binary()).args(args);
        run(&mut sh, b"").expect_failure(1, &["cannot write -: Bad file descriptor (EBADF)"]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(zc(args).stdout(full).stderr(Stdio::null()).status().unwrap().code(), Some(1));
    }
}

/// The shells accept the completions.
#[test]
fn prints_completions_that_shells_take() {
    let dir = scratch();
    let script = |shell: &str| {
        let outcome = run(&mut zc(["completions", shell]), b"");
        outcome.expect_success();
        let path = dir.path().join(shell);
        fs::write(&path, &outcome.stdout).unwrap();
        (path, String::from_utf8(outcome.stdout).unwrap())
    };
    for shell in ["bash", "zsh", "fish"] {
        let (_, text) = script(shell);
        assert!(text.contains("keep-open") && !text.contains("janitor"), "{shell}");
    }
    if have("bash", "prints_completions_that_shells_take") {
        let (path, _) = script("bash");
        // What bash offers after "zc recv --k".
        let complete = r#"source "$1"; COMP_WORDS=(zc recv --k); COMP_CWORD=2; _zc zc --k recv
            echo "${COMPREPLY[@]}""#;
        let offered = run(Command::new("bash").args(["-c", complete, "bash"]).arg(&path), b"");
        assert_eq!(String::from_utf8_lossy(&offered.stdout), "--keep-open\n", "{offered:?}");
    }
    run(&mut zc(["completions", "cmd.exe"]), b"").expect_failure(2, &["cmd.exe"]);
}

#[test]
fn prints_manual_pages() {
    let dir = scratch();
    run(zc(["man-pages"]).arg(dir.path()), b"").expect_success();
    let pages =
        ["completions", "cp", "demo", "recv", "relay", "send"].map(|name| format!("zc-{name}.1"));
    assert_eq!(names(dir.path()), pages.into_iter().chain(["zc.1".into()]).collect());
    for (page, part) in [("zc.1", "Exit status"), ("zc-send.1", "linger"), ("zc-cp.1", "resume")] {
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(
            text.starts_with(".ie") || text.starts_with(".TH") || text.contains("\n.TH"),
            "{page}"
        );
        assert!(text.contains(part), "{page}");
    }
}
