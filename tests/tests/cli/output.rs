//! What `zc` says: `--json`, `--explain`, help, wrong command lines, and the demo.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use zc_testkit::cli::{Outcome, Receiver, listens, names, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::skip::leave_out;

const LEN: usize = 3_000_001;

/// The keys that `zc --help` promises.
const KEYS: [&str; 20] = [
    "ok",
    "exit",
    "command",
    "from",
    "to",
    "moved",
    "holes",
    "resumed",
    "residue",
    "seconds",
    "calls",
    "mechanism",
    "mechanisms",
    "replied",
    "unacknowledged",
    "kept",
    "error",
    "syscall",
    "errno",
    "errno_name",
];

fn parse(text: &[u8]) -> Value {
    let object: Value = serde_json::from_slice(text).expect("one JSON object");
    let keys: BTreeSet<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, KEYS.into());
    object
}

/// The one object that a command printed on standard output.
#[track_caller]
fn json(outcome: &Outcome) -> Value {
    assert_eq!(outcome.stderr, "");
    assert_eq!(outcome.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let object = parse(&outcome.stdout);
    assert_eq!(object["exit"], outcome.code().unwrap());
    assert_eq!(object["ok"], outcome.code() == Some(0));
    object
}

/// The part of `object` about one mechanism.
fn mechanism<'a>(object: &'a Value, name: &str) -> &'a Value {
    let mechanisms = object["mechanisms"].as_array().unwrap();
    assert_eq!(mechanisms.len(), 5);
    mechanisms.iter().find(|mechanism| mechanism["name"] == name).unwrap()
}

#[test]
fn keys_are_documented() {
    let help = String::from_utf8(run(&mut zc(["--help"]), b"").stdout).unwrap();
    for key in KEYS {
        // "from" and "to" share a line.
        let line = if ["from", "to"].contains(&key) { "from, to" } else { key };
        let ends = ["  ", "\n"].map(|end| format!("\n    {line}{end}"));
        assert!(ends.iter().any(|line| help.contains(line)), "{key}");
    }
}

#[test]
fn json_tells_of_an_upload() {
    let dir = scratch();
    let target = dir.path().join("target");
    for listen in listens(dir.path()) {
        let receiver = Receiver::start(&listen, &target, &["--json"]);
        let address = receiver.address.clone();
        let sent = run(&mut zc(["send", "-", &address, "--json"]), &bytes(1, LEN));
        let (sent, received) = (json(&sent), json(&receiver.finish()));
        for object in [&sent, &received] {
            assert_eq!(object["moved"], LEN);
            assert_eq!(object["residue"], 0);
            assert!(object["calls"].as_u64().unwrap() > 0);
            assert!(object["seconds"].as_f64().unwrap() > 0.0);
            for absent in ["error", "syscall", "errno", "errno_name"] {
                assert_eq!(object[absent], Value::Null);
            }
            let parts = object["mechanisms"].as_array().unwrap();
            let moved: u64 = parts.iter().map(|part| part["moved"].as_u64().unwrap()).sum();
            assert_eq!(moved, LEN as u64);
        }
        assert_eq!((&sent["command"], &received["command"]), (&"send".into(), &"recv".into()));
        assert_eq!((&sent["from"], &sent["to"]), (&"-".into(), &address.as_str().into()));
        assert_eq!(received["to"], target.to_str().unwrap());
    }
}

/// The kernel does not copy between file systems of two kinds. A long copy tries whether it does.
#[test]
fn says_what_gave_way() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return zc_testkit::skip::skip("needs /dev/shm");
    };
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (source, target) = (memory.path().join("source"), disk.path().join("target"));
    // A hole would not be copied at all.
    let len = 40 << 20;
    fs::write(&source, vec![0; len]).unwrap();
    let device = |dir: &tempfile::TempDir| fs::metadata(dir.path()).unwrap().dev();
    if device(&memory) == device(&disk) {
        return zc_testkit::skip::skip("/dev/shm and the build's files are on one file system");
    }
    let object = json(&run(zc(["cp", "--json"]).args([&source, &target]), b""));
    assert!(fs::read(&target).unwrap() == vec![0; len]);
    let first = mechanism(&object, "copy_file_range");
    assert_eq!((&first["tried"], &first["moved"]), (&true.into(), &0.into()));
    let name = first["errno_name"].as_str().unwrap();
    // The first piece, which copy_file_range refused, was read and written. splice moved the rest.
    assert!(mechanism(&object, "splice")["moved"].as_u64().unwrap() >= len as u64 - (64 << 10));
    assert_eq!(object["mechanism"], "splice");
    assert_eq!(mechanism(&object, "sendfile")["tried"], false);

    let outcome = run(zc(["cp", "--explain"]).args([&source, &target]), b"");
    assert_eq!(outcome.code(), Some(0));
    let line = |name: &str| {
        let mut lines = outcome.stderr.lines();
        lines.find(|line| line.trim_start().starts_with(name)).unwrap().to_owned()
    };
    assert!(outcome.stderr.starts_with("zc cp: "), "{}", outcome.stderr);
    assert!(line("zc cp").contains("system calls"));
    assert!(line("from").contains(&format!("{} (regular file)", source.display())));
    assert!(line("copy_file_range").contains(name));
    assert!(line("sendfile").contains("not tried"));
}

#[test]
fn failures_have_json_too() {
    let dir = scratch();
    let source = dir.path().join("source");
    fs::write(&source, bytes(2, LEN)).unwrap();
    let missing = dir.path().join("missing/target");

    let object = json(&run(zc(["cp", "--json"]).arg(&source).arg(&missing), b""));
    assert_eq!((&object["errno"], &object["errno_name"]), (&2.into(), &"ENOENT".into()));
    assert!(object["error"].as_str().unwrap().contains("missing/target"));

    let object = json(&run(zc(["cp", "-", "/dev/full", "--json"]).arg("--explain=x"), b""));
    assert_eq!((&object["exit"], &object["command"]), (&2.into(), &Value::Null));

    let object = json(&run(&mut zc(["cp", "-", "/dev/full", "--json"]), &bytes(3, 1000)));
    assert_eq!((&object["exit"], &object["errno_name"]), (&1.into(), &"ENOSPC".into()));
    assert_eq!((&object["syscall"], &object["moved"]), (&"write".into(), &0.into()));
    assert_eq!(object["residue"], 1000);

    let target = dir.path().join("target");
    let args = ["cp", "--json", "--expect", "1001", "-"];
    let object = json(&run(zc(args).arg(&target), &bytes(3, 1000)));
    assert_eq!((&object["exit"], &object["moved"]), (&3.into(), &1000.into()));

    // `--json` tells on standard error why the listener could not start: standard output is for data.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = run(&mut zc(["recv", &address, "-", "--json"]), b"");
    assert!(outcome.stdout.is_empty());
    assert_eq!(parse(outcome.line().as_bytes())["errno_name"], "EADDRINUSE");
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn json_stays_clear_of_the_data() {
    let content = bytes(4, LEN);
    let outcome = run(&mut zc(["cp", "-", "-", "--json"]), &content);
    assert!(outcome.stdout == content);
    assert_eq!(parse(outcome.line().as_bytes())["moved"], LEN);
}

#[test]
fn a_wrong_command_line_is_one_line_of_error() {
    for (args, part) in [
        (&["recv"][..], "<LISTEN> <FILE>"),
        (&["frob"], "frob"),
        (&["recv", "nowhere", "x"], "neither HOST:PORT nor unix:PATH"),
        (&["recv", "unix:", "x"], "no path"),
        (&["recv", "127.0.0.1:80000", "x"], "port '80000' is not a number from 0 to 65535"),
        (&["send", "x", "localhost:http"], "port 'http'"),
        (&["cp", "a", "b", "--limit", "1.0001M"], "not a whole number of bytes"),
        (&["send", "a", ":1", "--timeout", "0"], "more than 0 seconds"),
        (&["cp", "a", "b", "--sync", "--no-sync"], "--no-sync"),
        (&["cp", "a", "b", "--limit", "5x"], "unknown suffix 'x'"),
        (&["cp", "a", "b", "--limit", "99999999T"], "too large"),
        (&["cp", "a", "b", "--limit", "1k", "--expect", "2k"], "--expect 2048"),
        (&["cp", "a", "b", "c"], "'c'"),
        (&["demo", "--size", "0"], "at least 1 byte"),
    ] {
        let outcome = run(&mut zc(args), b"");
        assert!(outcome.stdout.is_empty());
        outcome.expect_failure(2, &["zc: ", part, "; see zc --help"]);
    }
}

#[test]
fn help_documents_exit_statuses() {
    for args in [&["--help"][..], &["-h"], &["recv", "--help"], &["send", "-h"], &["cp", "--help"]]
    {
        let outcome = run(&mut zc(args), b"");
        outcome.expect_success();
        let help = String::from_utf8(outcome.stdout).unwrap();
        for line in ["Exit status:", "\n  0  ", "\n  1  ", "\n  2  ", "\n  3  fewer bytes"] {
            assert!(help.contains(line), "{args:?}: {line}");
        }
    }
}

#[test]
fn demo_compares_and_checks_uploads() {
    let dir = scratch();
    let path = dir.path().to_str().unwrap();
    // Not a multiple of any block or buffer.
    let outcome = run(&mut zc(["demo", "--size", "9000001", "--json", "--dir", path]), b"");
    outcome.expect_success();
    let object: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!((&object["ok"], &object["verified"]), (&true.into(), &true.into()));
    assert_eq!(object["size"], 9_000_001);
    let calls = |transport, method| {
        let mut results = object["results"].as_array().unwrap().iter();
        let result = results
            .find(|result| result["transport"] == transport && result["method"] == method)
            .unwrap();
        assert!(result["bytes_per_second"].as_u64().unwrap() > 0);
        assert!(result["cpu_seconds"].as_f64().unwrap() > 0.0);
        result["calls"].as_u64().unwrap()
    };
    for transport in ["tcp", "unix"] {
        let (std, zc) = (calls(transport, "std"), calls(transport, "zc"));
        let by_64_kib = calls(transport, "loop");
        assert!((2 * 9_000_001 / 65_536..std).contains(&by_64_kib), "{by_64_kib} {std}");
        // Each read and each write moves 8 KiB at most.
        assert!(std >= 2 * 9_000_001 / 8192, "{std}");
        assert!((1..std).contains(&zc), "{zc} {std}");
    }
    assert!(names(dir.path()).is_empty());
}

/// The demo needs a toolchain that builds. A receiver made of `cat` is as good as Go's own.
#[test]
fn demo_compares_with_go() {
    let dir = scratch();
    let toolchain = dir.path().join("go");
    let script = "#!/bin/sh\n\
        test \"$1 $2 $3 $4\" = 'build -o receiver main.go' && grep -q io.Copy main.go || exit 1\n\
        printf '#!/bin/sh\\ncat\\necho 2000000000 1000000000 >&2\\n' > receiver\n\
        chmod +x receiver\n";
    write_program(&toolchain, script);
    let path = dir.path().to_str().unwrap();
    let mut toolchains = vec![toolchain.clone()];
    match Command::new("go").arg("version").output() {
        Ok(output) if output.status.success() => toolchains.push("go".into()),
        // Not a skip: the gate has no Go.
        _ => leave_out("Go's own toolchain is not in PATH"),
    }
    for go in &toolchains {
        let args = ["demo", "--size", "9000001", "--json", "--dir", path, "--go"];
        let outcome = run(zc(args).arg(go), b"");
        outcome.expect_success();
        let object: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        let results = object["results"].as_array().unwrap();
        assert_eq!(results.len(), 8);
        for result in results.iter().filter(|result| result["method"] == "go") {
            assert_eq!(result["calls"], Value::Null);
            assert!(result["cpu_seconds"].as_f64().unwrap() > 0.0);
            if *go == toolchain {
                assert_eq!(
                    (&result["seconds"], &result["cpu_seconds"]),
                    (&2.0.into(), &1.0.into())
                );
            }
        }
    }
    let outcome = run(zc(["demo", "--size", "1MiB", "--dir", path, "--go"]).arg(&toolchain), b"");
    outcome.expect_success();
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(text.contains("better than Go's io.Copy"), "{text}");

    write_program(&toolchain, "#!/bin/sh\necho 'no such thing' >&2\nexit 1\n");
    run(zc(["demo", "--dir", path, "--go"]).arg(&toolchain), b"")
        .expect_failure(1, &["cannot build the Go receiver with", "no such thing"]);
    write_program(&toolchain, "#!/bin/sh\nexit 7\n");
    run(zc(["demo", "--dir", path, "--go"]).arg(&toolchain), b"")
        .expect_failure(1, &["cannot build the Go receiver with", ": exit status: 7"]);
    run(&mut zc(["demo", "--dir", path, "--go", "/nonexistent"]), b"")
        .expect_failure(1, &["cannot build the Go receiver with /nonexistent", "(ENOENT)"]);
    assert_eq!(names(dir.path()), BTreeSet::from(["go".to_owned()]));
}

/// Another process writes it. A child that this process forks meanwhile would have the file open for writing, and
/// then it cannot be run (ETXTBSY).
fn write_program(path: &Path, script: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"cat > "$0" && chmod +x "$0""#]).arg(path);
    run(&mut shell, script.as_bytes()).expect_success();
}

/// Names may hold anything, and a terminal obeys some of it.
#[test]
fn names_are_said_in_one_line() {
    let dir = scratch();
    let name = "two\nlines\u{1b}[31m";
    let said = r"two\nlines\u{1b}[31m";
    let path = dir.path().join(name);
    let outcome = run(zc(["cp", "--explain", "-"]).arg(&path), b"x");
    assert_eq!(outcome.code(), Some(0));
    assert!(outcome.stderr.contains(&format!("{said} (regular file)\n")), "{}", outcome.stderr);

    let socket = format!("unix:{}", path.with_extension("socket").display());
    let receiver = Receiver::start(&socket, &path, &["--explain"]);
    assert!(receiver.address.contains(r"two\nlines"), "{}", receiver.address);
    run(&mut zc(["send", "-", &socket]), b"received").expect_success();
    let outcome = receiver.finish();
    assert!(outcome.stderr.contains(&format!("{said} (regular file)\n")), "{}", outcome.stderr);
    assert_eq!(fs::read(&path).unwrap(), b"received");
}

#[test]
fn demo_draws_bars() {
    let dir = scratch();
    for (locale, bar) in [("C", '#'), ("C.UTF-8", '\u{2588}')] {
        let mut command = zc(["demo", "--size", "1MiB", "--dir"]);
        let outcome = run(command.arg(dir.path()).env("LC_ALL", locale), b"");
        outcome.expect_success();
        let text = String::from_utf8(outcome.stdout).unwrap();
        assert!(text.contains("Uploads of 1 MiB into a file on "), "{text}");
        assert!(text.contains("byte for byte: no difference"), "{text}");
        for word in ["throughput", "CPU seconds", "system calls", "better than", "a 64 KiB loop"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(text.contains(bar), "{text}");
        assert_eq!(text.is_ascii(), locale == "C");
    }
}

#[test]
fn demo_fails_without_room() {
    let dir = scratch();
    let path = dir.path().to_str().unwrap();
    run(&mut zc(["demo", "--size", "4000000T", "--dir", path]), b"")
        .expect_failure(1, &["cannot make a file of ", " are free"]);
    run(&mut zc(["demo", "--dir", "/nonexistent"]), b"")
        .expect_failure(1, &["/nonexistent", "(ENOENT)"]);
    assert!(names(dir.path()).is_empty());
}
