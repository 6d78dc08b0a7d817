//! What `zc relay` does with its connections.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use zc_testkit::cli::{have, in_mount_namespace, limit_descriptors, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::relay::Relay;
use zc_testkit::running::start;
use zc_testkit::skip::skip;
use zc_testkit::sockets;

const LEN: usize = 5_000_003;

/// A server that reads a question to its end and answers it.
fn serve(
    mut connection: impl Read + Write + Send + 'static,
    answer: Vec<u8>,
) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut question = Vec::new();
        connection.read_to_end(&mut question).unwrap();
        connection.write_all(&answer).unwrap();
        question
    })
}

fn ask(mut client: impl Read + Write, question: &[u8], end: impl FnOnce()) -> Vec<u8> {
    client.write_all(question).unwrap();
    end();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    answer
}

fn ended(relay: &mut Relay, up: usize, down: usize) {
    let line = relay.line();
    assert_eq!((line["end"].as_str(), &line["error"]), (Some("closed"), &Value::Null), "{line}");
    assert_eq!((line["up"].as_u64(), line["down"].as_u64()), (Some(up as u64), Some(down as u64)));
    assert!(line["mechanism"].is_string(), "{line}");
}

#[test]
fn tcp_and_unix_are_relayed_in_every_way() {
    let (question, answer, dir) = (bytes(1, LEN), bytes(2, LEN / 2), scratch());
    let path = |name: &str| format!("unix:{}", dir.path().join(name).display());
    let (listen, target) = (path("listen"), path("target"));
    for (listen, to_unix) in
        [("127.0.0.1:0", false), ("127.0.0.1:0", true), (&listen[..], false), (&listen[..], true)]
    {
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), dir.path().join("target"));
        let _ = std::fs::remove_file(&unix);
        let unix = UnixListener::bind(unix).unwrap();
        let tcp_address = tcp.local_addr().unwrap().to_string();
        let mut relay = Relay::start(listen, if to_unix { &target } else { &tcp_address }, &[]);
        let asking = thread::spawn({
            let (address, question) = (relay.address.clone(), question.clone());
            move || match address.strip_prefix("unix:") {
                Some(path) => {
                    let client = UnixStream::connect(path).unwrap();
                    ask(&client, &question, || client.shutdown(Shutdown::Write).unwrap())
                }
                None => {
                    let client = TcpStream::connect(address).unwrap();
                    ask(&client, &question, || client.shutdown(Shutdown::Write).unwrap())
                }
            }
        });
        let serving = if to_unix {
            serve(unix.accept().unwrap().0, answer.clone())
        } else {
            serve(tcp.accept().unwrap().0, answer.clone())
        };
        assert!(serving.join().unwrap() == question);
        assert!(asking.join().unwrap() == answer);
        ended(&mut relay, question.len(), answer.len());
        relay.signal(Signal::TERM);
        assert_eq!(relay.finish(), (Some(0), String::new()));
    }
    assert!(!dir.path().join("listen").exists(), "its socket is left behind");
}

/// Without `--pass-resets` a connection that was reset looks complete to the other peer.
#[test]
fn resets_are_passed_on_if_asked_for() {
    for (options, is_reset) in [(&[][..], false), (&["--pass-resets"], true)] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = server.local_addr().unwrap().to_string();
        let mut relay = Relay::start("127.0.0.1:0", &target, options);
        let mut client = relay.connect();
        client.write_all(b"half of it").unwrap();
        let (mut connection, _) = server.accept().unwrap();
        connection.read_exact(&mut [0; 10]).unwrap();
        sockets::reset(client);
        let heard = connection.read(&mut [0; 1]).map_err(|error| error.kind());
        let expected = if is_reset { Err(ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(heard, expected);
        let line = relay.line();
        assert_eq!(
            (line["end"].as_str(), line["up"].as_u64()),
            (Some("reset"), Some(10)),
            "{line}"
        );
    }
}

#[test]
fn a_relay_drains_when_told_to_stop() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--drain", "60"]);
    let client = relay.connect();
    let connection = server.accept().unwrap().0;
    relay.signal(Signal::TERM);
    // No new client is let in, and the connection that is there ends as it would have.
    while TcpListener::bind(&relay.address).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    let serving = serve(connection, b"late".to_vec());
    assert_eq!(ask(&client, b"hello", || client.shutdown(Shutdown::Write).unwrap()), b"late");
    assert_eq!(serving.join().unwrap(), b"hello");
    ended(&mut relay, 5, 4);
    assert_eq!(relay.finish(), (Some(0), String::new()));

    // … but not for ever.
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--drain", "0.1"]);
    let mut client = relay.connect();
    client.write_all(b"hello").unwrap();
    let mut connection = server.accept().unwrap().0;
    connection.read_exact(&mut [0; 5]).unwrap();
    relay.signal(Signal::TERM);
    let line = relay.line();
    assert_eq!((line["end"].as_str(), line["up"].as_u64()), (Some("aborted"), Some(5)), "{line}");
    assert_eq!(relay.finish(), (Some(0), String::new()));
}

#[test]
fn connections_beyond_the_most_wait() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--max-connections", "1"]);
    let (first, second) = (relay.connect(), relay.connect());
    (&second).write_all(b"second").unwrap();
    let connection = server.accept().unwrap().0;
    server.set_nonblocking(true).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(server.accept().is_err(), "it does not wait");
    server.set_nonblocking(false).unwrap();
    drop((first, connection));
    let _ = relay.line();
    let mut got = [0; 6];
    server.accept().unwrap().0.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"second");
}

#[test]
fn a_relay_says_how_a_connection_ended() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--idle-timeout", "0.2"]);
    let client = relay.connect();
    let _connection = server.accept().unwrap();
    let line = relay.line();
    assert_eq!((line["end"].as_str(), line["up"].as_u64()), (Some("timeout"), Some(0)), "{line}");
    assert_eq!(line["peer"].as_str(), Some(&*client.local_addr().unwrap().to_string()));

    let mut relay = Relay::start("127.0.0.1:0", &target, &[]);
    let client = relay.connect();
    (&client).write_all(b"abc").unwrap();
    let mut connection = server.accept().unwrap().0;
    connection.read_exact(&mut [0; 3]).unwrap();
    sockets::reset(connection);
    let line = relay.line();
    assert_eq!((line["end"].as_str(), line["up"].as_u64()), (Some("reset"), Some(3)), "{line}");

    let error = line["error"].as_str().unwrap();
    assert!(error.ends_with("read: Connection reset by peer (ECONNRESET)"), "{line}");

    drop(server);
    let _client = relay.connect();
    let line = relay.line();
    assert_eq!((line["end"].as_str(), &line["mechanism"]), (Some("connect"), &Value::Null));
    assert_eq!(line["error"], "Connection refused (ECONNREFUSED)");
}

/// Its lines fill a pipe that nobody reads. Connections go on, and it ends when it is told to. Whoever reads them in the
/// end gets all.
#[test]
fn a_relay_does_not_wait_for_the_reader_of_its_lines() {
    for (nonblocking, is_read) in [(false, false), (false, true), (true, true)] {
        fill_its_lines(nonblocking, is_read);
    }
}

/// Another process writes its lines into the same pipe, and the reader is slow. No line has another one within, and
/// none is lost when the relay is told to end.
#[test]
fn lines_are_whole_and_all_there_for_a_slow_reader() {
    const CONNECTIONS: usize = 400;
    const OTHERS: usize = 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = zc(["relay", "--json", "127.0.0.1:0", &target]);
    let mut relay = start(command.stdout(writer.try_clone().unwrap()).stderr(Stdio::piped()));
    let mut stderr = BufReader::new(relay.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let address = said.trim_end().strip_prefix("zc relay: listening on ").unwrap();
    for _ in 0..CONNECTIONS {
        drop((TcpStream::connect(address).unwrap(), server.accept().unwrap()));
    }
    let other = thread::spawn(move || {
        for _ in 0..OTHERS {
            (&writer).write_all(b"\"another\"\n").unwrap();
        }
    });
    rustix::process::kill_process(relay.pid(), Signal::TERM).unwrap();
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::with_capacity(100, reader).lines() {
        thread::sleep(Duration::from_millis(5));
        lines.push(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    }
    other.join().unwrap();
    let (others, ours): (Vec<Value>, Vec<Value>) = lines.into_iter().partition(Value::is_string);
    assert_eq!((ours.len(), others.len()), (CONNECTIONS, OTHERS));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!((relay.wait().unwrap().code(), &rest[..]), (Some(0), ""));
}

fn fill_its_lines(nonblocking: bool, is_read: bool) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    rustix::io::ioctl_fionbio(&writer, nonblocking).unwrap();
    let mut command = zc(["relay", "--json", "127.0.0.1:0", &target]);
    let mut relay = start(command.stdout(writer).stderr(Stdio::piped()));
    let mut said = String::new();
    BufReader::new(relay.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim_end().strip_prefix("zc relay: listening on ").unwrap();
    for _ in 0..100 {
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let serving = serve(server.accept().unwrap().0, b"answer".into());
        let answer = ask(&client, b"question", || client.shutdown(Shutdown::Write).unwrap());
        assert_eq!((answer, serving.join().unwrap()), (b"answer".into(), b"question".into()));
    }
    drop(command);
    let (lines, _unread) = if is_read {
        (Some(thread::spawn(move || BufReader::new(reader).lines().count())), None)
    } else {
        (None, Some(reader))
    };
    rustix::process::kill_process(relay.pid(), Signal::TERM).unwrap();
    assert_eq!(relay.wait().unwrap().code(), Some(0));
    if let Some(lines) = lines {
        assert_eq!(lines.join().unwrap(), 100);
    }
}

/// A name server that does not answer is asked again and again, and no thread can be kept from it.
#[test]
fn a_relay_ends_while_a_name_is_looked_up() {
    const TEST: &str = "a_relay_ends_while_a_name_is_looked_up";
    let Ok(name_server) = UdpSocket::bind("127.0.0.153:53") else {
        return skip(&format!("{TEST}: no name server can be had"));
    };
    let dir = scratch();
    let configuration = "nameserver 127.0.0.153\noptions timeout:5 attempts:3\n";
    std::fs::write(dir.path().join("resolv.conf"), configuration).unwrap();
    let script = r#"mount --bind "$1/resolv.conf" /etc/resolv.conf &&
        exec "$0" relay --json 127.0.0.1:0 nowhere.example:80 --drain 0"#;
    let Some(mut command) = in_mount_namespace(TEST, script, dir.path()) else { return };
    let relay = Relay::of(&mut command);
    let _client = relay.connect();
    name_server.recv(&mut [0; 1024]).unwrap();
    relay.signal(Signal::TERM);
    assert_eq!(relay.finish(), (Some(0), String::new()));
    // Each attempt asks for two kinds of addresses.
    name_server.set_nonblocking(true).unwrap();
    let asked = 1 + std::iter::from_fn(|| name_server.recv(&mut [0; 1024]).ok()).count();
    assert!(asked < 6, "it has given up on the name first");
}

/// Where the queue of a Unix listener is full, connect(2) waits in blocking mode, and fails in the other.
#[test]
fn a_busy_unix_target_is_waited_for() {
    let dir = scratch();
    let path = dir.path().join("target");
    let listener = sockets::unix_queue_for_one(&path);
    let first = UnixStream::connect(&path).unwrap();
    let target = format!("unix:{}", path.display());
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--connect-timeout", "0.3"]);
    drop(relay.connect());
    let line = relay.line();
    assert_eq!(line["end"], "connect", "{line}");
    assert_eq!(line["error"], "timed out", "{line}");

    drop((first, listener.accept().unwrap()));
    let client = relay.connect();
    let server = serve(listener.accept().unwrap().0, b"answer".into());
    assert_eq!(ask(&client, b"question", || client.shutdown(Shutdown::Write).unwrap()), b"answer");
    assert_eq!(server.join().unwrap(), b"question");
}

/// The relay pauses, says so once, and goes on when there are descriptors again.
#[test]
fn a_relay_outlives_a_lack_of_descriptors() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut command = zc(["relay", "--json", "127.0.0.1:0", &target]);
    limit_descriptors(&mut command, 24);
    let mut relay = Relay::of(command.args(["--connect-timeout", "1"]));
    let (heard, hears) = mpsc::channel();
    thread::spawn(move || {
        for connection in server.incoming() {
            let (mut connection, heard) = (connection.unwrap(), heard.clone());
            thread::spawn(move || {
                let mut got = Vec::new();
                connection.read_to_end(&mut got).unwrap();
                let _ = heard.send(got);
            });
        }
    });
    let clients: Vec<_> = (0..20).map(|_| relay.connect()).collect();
    let mut line = String::new();
    relay.stderr.read_line(&mut line).unwrap();
    assert!(line.contains("cannot accept"), "{line}");
    drop(clients);
    for _ in 0..20 {
        relay.line();
    }
    let mut last = relay.connect();
    last.write_all(b"at last").unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    while hears.recv_timeout(Duration::from_secs(20)).unwrap() != b"at last" {}
    relay.signal(Signal::TERM);
    assert_eq!(relay.finish(), (Some(0), String::new()));
}

/// It can be stopped also if nobody reads that it lacks descriptors.
#[test]
fn a_relay_does_not_wait_for_the_reader_of_its_errors() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = zc(["relay", "127.0.0.1:0", &target, "--drain", "0"]);
    limit_descriptors(&mut command, 24);
    command.stdout(Stdio::null()).stderr(writer.try_clone().unwrap());
    let mut relay = start(&mut command);
    let mut reader = BufReader::new(reader);
    let mut said = String::new();
    reader.read_line(&mut said).unwrap();
    let address = said.trim_end().strip_prefix("zc relay: listening on ").unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    // One after the other, until there is no descriptor left for the next one.
    while std::fs::read_dir(format!("/proc/{}/fd", relay.id())).unwrap().count() < 23 {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(200));
    rustix::process::kill_process(relay.pid(), Signal::TERM).unwrap();
    assert_eq!(relay.wait().unwrap().code(), Some(0));
    drop((clients, reader));
}

/// nc ends its side after its input, and prints what still comes.
#[test]
fn nc_half_closes_and_gets_its_answer() {
    if !have("nc", "nc_half_closes_and_gets_its_answer") {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--coalesce", "1"]);
    let port = relay.address.rsplit_once(':').unwrap().1.to_owned();
    let (question, answer) = (bytes(3, LEN), bytes(4, LEN));
    let asking = thread::spawn({
        let question = question.clone();
        move || run(Command::new("nc").args(["-N", "127.0.0.1", &port]), &question)
    });
    let serving = serve(server.accept().unwrap().0, answer.clone());
    assert!(serving.join().unwrap() == question);
    assert!(asking.join().unwrap().stdout == answer);
    ended(&mut relay, LEN, LEN);
}

#[test]
fn curl_gets_everything_at_a_limited_rate() {
    if !have("curl", "curl_gets_everything_at_a_limited_rate") {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let mut relay = Relay::start("127.0.0.1:0", &target, &["--idle-timeout", "20"]);
    let (url, body) = (format!("http://{}/", relay.address), bytes(5, LEN));
    let asking = thread::spawn(move || {
        run(Command::new("curl").args(["-s", "--limit-rate", "5M", &url]), b"")
    });
    let mut connection = server.accept().unwrap().0;
    let mut request = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    while request.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\nConnection: close\r\n\r\n")
        .unwrap();
    connection.write_all(&body).unwrap();
    drop((connection, request));
    assert!(asking.join().unwrap().stdout == body);
    assert_eq!(relay.line()["end"].as_str(), Some("closed"));
}
