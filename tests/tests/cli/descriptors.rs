//! Descriptors that `zc` inherits: by all their names, open or closed.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use zc_testkit::cli::{
    Nobody, Outcome, Receiver, binary, in_mount_namespace, names, run, scratch, zc,
};
use zc_testkit::data::bytes;
use zc_testkit::running::start;

const LEN: usize = 300_001;

/// Runs a script as `sh -c SCRIPT zc` in `dir`.
fn sh(program: &Path, dir: &Path, script: &str, input: &[u8]) -> Outcome {
    let mut command = Command::new("sh");
    run(command.current_dir(dir).args(["-c", script]).arg(program), input)
}

/// cat fails with 1, and so does each of these. The file stays as it was.
#[test]
fn a_closed_descriptor_is_an_error() {
    let nobody = Nobody::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // What starts the tests may have left descriptors open, as make(1) does.
    let scripts = [
        r#""$0" cp precious - >&-"#,
        r#""$0" cp precious /dev/stdout >&-"#,
        r#""$0" cp precious //dev/fd/1 >&-"#,
        r#""$0" cp precious /proc/self/fd/1 >&-"#,
        r#""$0" cp precious /dev/stderr 2>&-"#,
        r#""$0" cp precious /dev/fd/7 7>&-"#,
        r#""$0" cp precious /dev/fd/99999999999"#,
        r#""$0" cp precious link >&-"#,
        r#""$0" cp - precious <&-"#,
        r#""$0" cp - - <&- >&-"#,
        r#""$0" cp - precious <&- >&- 2>&-"#,
        r#""$0" cp /dev/stdin precious <&-"#,
        r#""$0" cp /dev/fd/0 precious <&-"#,
        r#""$0" cp /dev/fd/3 precious 3<&-"#,
        // Open, but not in this direction.
        r#""$0" cp /dev/fd/3 precious 3>/dev/null"#,
        r#""$0" cp precious /dev/fd/3 3</dev/null"#,
        r#""$0" recv 127.0.0.1:0 - >&0"#,
        r#""$0" recv 127.0.0.1:0 /dev/stdin"#,
        r#""$0" send - ADDRESS <&-"#,
        r#""$0" send /dev/stdin ADDRESS <&-"#,
        r#""$0" recv 127.0.0.1:0 - >&-"#,
        r#""$0" recv 127.0.0.1:0 /dev/stdout >&-"#,
    ];
    for program in [binary(), &nobody.program()] {
        for script in scripts {
            let dir = scratch();
            fs::write(dir.path().join("precious"), "precious").unwrap();
            symlink("/dev/stdout", dir.path().join("link")).unwrap();
            let outcome = sh(program, dir.path(), &script.replace("ADDRESS", &address), b"");
            assert_eq!(outcome.code(), Some(1), "{script}");
            if !script.contains("2>&-") {
                assert!(outcome.line().starts_with("zc "), "{script}: {outcome:?}");
            }
            assert_eq!(fs::read(dir.path().join("precious")).unwrap(), b"precious", "{script}");
            assert_eq!(names(dir.path()).len(), 2, "{script}");
        }
    }
    // A report that cannot go to standard output goes to standard error.
    let dir = scratch();
    fs::write(dir.path().join("precious"), "precious").unwrap();
    let outcome = sh(binary(), dir.path(), r#""$0" cp precious new --json >&-"#, b"");
    assert_eq!(outcome.code(), Some(0));
    assert!(outcome.line().starts_with('{'), "{outcome:?}");
    // Streams that a copy does not use may be closed.
    for script in
        [r#""$0" cp precious new <&- >&-"#, r#""$0" cp precious - 2>&-"#, r#""$0" cp - new >&-"#]
    {
        let dir = scratch();
        fs::write(dir.path().join("precious"), "precious").unwrap();
        assert_eq!(sh(binary(), dir.path(), script, b"").code(), Some(0), "{script}");
    }
}

/// In every mode: Python and daemon(3) open the null device for both directions.
#[test]
fn takes_the_null_device_on_purpose() {
    for script in [
        r#""$0" cp file - >/dev/null"#,
        r#""$0" cp file - 1<>/dev/null"#,
        r#""$0" cp file /dev/stdout 1<>/dev/null"#,
        r#""$0" cp - empty </dev/null"#,
        r#""$0" cp - empty <>/dev/null"#,
        r#""$0" cp - - <>/dev/null 1>&0 2>&0"#,
    ] {
        let dir = scratch();
        fs::write(dir.path().join("file"), bytes(1, LEN)).unwrap();
        sh(binary(), dir.path(), script, b"").expect_success();
        if script.contains("empty") {
            assert_eq!(fs::read(dir.path().join("empty")).unwrap(), b"", "{script}");
        }
    }
}

/// The names of descriptor `number`, with a link in `dir` among them.
fn spellings(number: u32, dir: &Path) -> Vec<String> {
    let mut names = vec![
        format!("/dev/fd/{number}"),
        format!("//dev/fd/{number}"),
        format!("/dev/./fd//{number}"),
        format!("/proc/self/fd/{number}"),
        format!("/proc/thread-self/fd/{number}"),
        format!("/proc/self/../self/fd/{number}"),
    ];
    if let Some(stream) = ["stdin", "stdout", "stderr"].get(number as usize) {
        names.push(format!("/dev/{stream}"));
        names.push(format!("//dev/{stream}"));
    }
    let link = dir.join(format!("link{number}"));
    symlink(&names[0], &link).unwrap();
    names.push(link.display().to_string());
    names
}

/// The file is written where its offset is, and not replaced.
#[test]
fn writes_descriptors_where_they_stand() {
    let dir = scratch();
    let content = bytes(2, LEN);
    fs::write(dir.path().join("from"), &content).unwrap();
    for number in [1, 2, 3, 9] {
        for name in spellings(number, dir.path()) {
            let script = format!(
                r#"{{ printf before >&{number}; "$0" cp from {name} && printf after >&{number}; }} {number}>to"#
            );
            assert_eq!(sh(binary(), dir.path(), &script, b"").code(), Some(0), "{script}");
            let want = [&b"before"[..], &content, b"after"].concat();
            assert!(fs::read(dir.path().join("to")).unwrap() == want, "{name}");
        }
    }
    // A descriptor in append mode appends.
    fs::write(dir.path().join("to"), "before").unwrap();
    sh(binary(), dir.path(), r#""$0" cp from /dev/fd/3 3>>to"#, b"").expect_success();
    assert!(fs::read(dir.path().join("to")).unwrap() == [&b"before"[..], &content].concat());
    assert_eq!(names(dir.path()).len(), 2 + 4);
}

/// The file is read from where its offset is.
#[test]
fn reads_descriptors_where_they_stand() {
    let dir = scratch();
    let content = bytes(3, LEN);
    for name in spellings(0, dir.path()) {
        fs::write(dir.path().join("from"), &content).unwrap();
        let mut from = File::open(dir.path().join("from")).unwrap();
        from.read_exact(&mut [0; 1000]).unwrap();
        let mut command = zc(["cp", &name, "to"]);
        let status =
            command.current_dir(dir.path()).stdin(from.try_clone().unwrap()).status().unwrap();
        assert!(status.success(), "{name}");
        assert!(fs::read(dir.path().join("to")).unwrap() == content[1000..], "{name}");
        assert_eq!(from.stream_position().unwrap(), LEN as u64, "{name}");
    }
}

/// A socket has no name by which it could be opened.
#[test]
fn names_of_descriptors_mean_sockets_too() {
    let content = bytes(4, LEN);
    for (from, to) in [("/dev/stdin", "/dev/stdout"), ("/dev/fd/0", "/proc/self/fd/1"), ("-", "-")]
    {
        let (mut feed, stdin) = UnixStream::pair().unwrap();
        let (stdout, mut drain) = UnixStream::pair().unwrap();
        let mut command = zc(["cp", from, to]);
        let mut child = start(command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(stdout)));
        drop(command); // it has the other ends of both sockets
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                feed.write_all(&content).unwrap();
                feed.shutdown(std::net::Shutdown::Write).unwrap();
            });
            drain.read_to_end(&mut received).unwrap();
        });
        assert!(child.wait().unwrap().success(), "{from} {to}");
        assert!(received == content);
    }
}

/// The JSON goes to standard error if the data goes to standard output.
#[test]
fn json_stays_clear_of_standard_output() {
    let dir = scratch();
    for name in spellings(1, dir.path()) {
        let outcome = run(&mut zc(["cp", "-", &name, "--json"]), b"data");
        assert_eq!((outcome.code(), &outcome.stdout[..]), (Some(0), &b"data"[..]), "{name}");
        assert!(outcome.line().starts_with('{'), "{name}");
    }
}

/// Like cat, `zc` says that the input file is the output file before it has filled the disk.
#[test]
fn refuses_a_descriptor_of_the_same_file() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "content").unwrap();
    for script in [
        r#""$0" cp file - >>file"#,
        r#""$0" cp - - <file >>file"#,
        r#""$0" cp - file <file"#,
        r#""$0" cp /dev/fd/3 file 3<file"#,
    ] {
        let outcome = sh(binary(), dir.path(), script, b"");
        outcome.expect_failure(1, &["they are the same file"]);
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    }
}

/// A file that another process has open, and that has lost its name.
#[test]
fn takes_descriptors_of_other_processes() {
    let dir = scratch();
    let path = dir.path().join("file");
    for deleted in [false, true] {
        fs::write(&path, "what was there before").unwrap();
        let mut file = File::open(&path).unwrap();
        if deleted {
            fs::remove_file(&path).unwrap();
        }
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let name = format!("/proc/{}/fd/{number}", std::process::id());
        run(&mut zc(["cp", "-", &name]), b"new").expect_success();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "new");
        assert_eq!(names(dir.path()).len(), usize::from(!deleted));
    }
}

/// Files through which the kernel takes settings.
#[test]
fn writes_files_of_proc_and_sys_in_place() {
    let dir = scratch();
    // A network namespace of its own, so that the settings affect nothing else.
    let script = r#"exec unshare --net sh -c '
        mount -t sysfs none /sys && echo 1 >"$1/one" && echo 1281 >"$1/mtu" &&
        "$0" cp "$1/one" /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward &&
        echo 0 | "$0" cp - /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward &&
        "$0" cp "$1/mtu" /sys/class/net/lo/mtu && cat /sys/class/net/lo/mtu' "$0" "$1""#;
    let Some(mut command) =
        in_mount_namespace("writes_files_of_proc_and_sys_in_place", script, dir.path())
    else {
        return;
    };
    let outcome = run(&mut command, b"");
    outcome.expect_success();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "1\n0\n1281\n");
}

#[test]
fn receives_into_a_descriptor() {
    let dir = scratch();
    let content = bytes(5, LEN);
    let script = r#"exec "$0" recv 127.0.0.1:0 /dev/fd/3 3>to"#;
    let mut command = Command::new("sh");
    let receiver = Receiver::of(command.current_dir(dir.path()).args(["-c", script]).arg(binary()));
    run(&mut zc(["send", "/dev/stdin", &receiver.address]), &content).expect_success();
    receiver.finish().expect_success();
    assert!(fs::read(dir.path().join("to")).unwrap() == content);
    assert_eq!(names(dir.path()), ["to".into()].into());
}
