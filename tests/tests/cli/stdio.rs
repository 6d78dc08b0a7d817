//! Standard streams that are closed, full, moved, or cannot be written.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use zc_testkit::cli::{Receiver, names, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::running::start;

/// A message that cannot be written is no failure, and changes no status.
#[test]
fn exits_as_documented_where_standard_error_cannot_be_written() {
    let dir = scratch();
    let data = bytes(1, 100_000);
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, &data).unwrap();
    let cases: [(&[&str], i32); 4] = [
        (&["cp", "from", "to", "--explain"], 0),
        (&["cp", "nothing", "to"], 1),
        (&["cp", "--nonsense", "to"], 2),
        (&["cp", "from", "to", "--expect", "1M"], 3),
    ];
    for (args, status) in cases {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = zc(args);
        let ended = command.current_dir(dir.path()).stderr(full).status().unwrap();
        assert_eq!(ended.code(), Some(status), "{args:?}");
    }
    assert_eq!(fs::read(&to).unwrap(), data);
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn receives_where_standard_error_cannot_be_written() {
    let dir = scratch();
    let data = bytes(2, 100_000);
    let (socket, to) = (dir.path().join("socket"), dir.path().join("to"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let listen = format!("unix:{}", socket.display());
    let mut command = zc(["recv", &listen, "to"]);
    let mut receiver = start(command.current_dir(dir.path()).stderr(full));
    // It cannot say that it listens, so the client tries until it does.
    let mut client = loop {
        match UnixStream::connect(&socket) {
            Ok(client) => break client,
            Err(_) => assert_eq!(receiver.try_wait().unwrap(), None, "it gave up"),
        }
        std::thread::yield_now();
    };
    client.write_all(&data).unwrap();
    drop(client);
    assert!(receiver.wait().unwrap().success());
    assert_eq!(fs::read(&to).unwrap(), data);
}

/// Standard input is read from its offset. Another process may have moved that beyond the end; then there is nothing
/// to read.
#[test]
fn reads_standard_input_where_it_stands() {
    let dir = scratch();
    let data = bytes(4, 100_000);
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, &data).unwrap();
    for start in [0, 40_000, data.len(), data.len() + 50] {
        let mut input = File::open(&from).unwrap();
        input.seek(SeekFrom::Start(start as u64)).unwrap();
        let mut command = zc(["cp", "-", "to"]);
        let stdin = input.try_clone().unwrap();
        let ended = command.current_dir(dir.path()).stdin(stdin).status().unwrap();
        assert!(ended.success(), "from {start}");
        assert_eq!(fs::read(&to).unwrap(), data.get(start..).unwrap_or_default());
        assert_eq!(input.stream_position().unwrap(), start.max(data.len()) as u64);
        fs::remove_file(&to).unwrap();
    }
}

/// By each of its names standard output is written where the shell has it: in the middle of a file, for one.
#[test]
fn writes_standard_output_where_it_stands() {
    let dir = scratch();
    let data = bytes(3, 100_000);
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, &data).unwrap();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let mut file = File::create(&to).unwrap();
        file.write_all(b"before ").unwrap();
        let mut command = zc(["cp", from.to_str().unwrap(), name]);
        let status = command.stdout(Stdio::from(file.try_clone().unwrap())).status().unwrap();
        assert!(status.success(), "{name}");
        file.write_all(b" after").unwrap();
        drop(file);
        let want = [&b"before "[..], &data, b" after"].concat();
        assert!(fs::read(&to).unwrap() == want, "{name}");
    }
    assert_eq!(names(dir.path()).len(), 2);
}

/// A second receiver at the same path fails, and the first one goes on.
#[test]
fn a_rival_receiver_leaves_the_first_alone() {
    let dir = scratch();
    let data = bytes(4, 100_000);
    let (socket, to) = (dir.path().join("socket"), dir.path().join("to"));
    fs::write(&to, "old").unwrap();
    let listen = format!("unix:{}", socket.display());
    let first = Receiver::start(&listen, &to, &[]);
    let rival = zc(["recv", &listen, dir.path().join("rival").to_str().unwrap()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(rival.code(), Some(1));

    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(&data).unwrap();
    drop(client);
    first.finish().expect_success();
    assert_eq!(fs::read(&to).unwrap(), data);
    assert_eq!(names(dir.path()).into_iter().collect::<Vec<_>>(), ["to"]);
}
