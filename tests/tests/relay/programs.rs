//! Other projects' programs through `zc relay`: what they measure, and the errors that they report.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use zc_testkit::cli::{Nobody, have, is_root, run, scratch};
use zc_testkit::data::bytes;
use zc_testkit::relay::Relay;
use zc_testkit::servers::{Server, free_port, postgresql};
use zc_testkit::skip::skip;

fn sum(lines: &[Value], field: &str) -> u64 {
    lines.iter().map(|line| line[field].as_u64().unwrap()).sum()
}

/// Asserts that every connection was ended by its peers, and by no error.
fn ended_by_their_peers(lines: &[Value]) {
    for line in lines {
        assert!(matches!(line["end"].as_str(), Some("closed" | "reset")), "{line}");
    }
}

#[test]
fn iperf3_measures_both_ways() {
    const BYTES: u64 = 200_000_000;
    if !have("iperf3", "iperf3_measures_both_ways") {
        return;
    }
    for reverse in [false, true] {
        let port = free_port();
        let mut serve = Command::new("iperf3");
        serve.args(["-s", "-1", "-B", "127.0.0.1", "-p", &port.to_string()]);
        let server = Server::start(&mut serve, port);
        let mut relay = Relay::start("127.0.0.1:0", &server.address, &[]);
        let mut client = Command::new("iperf3");
        client.args(["-c", "127.0.0.1", "-p", relay.port(), "-J", "-P", "2", "-n"]);
        client.arg(BYTES.to_string()).args(reverse.then_some("-R"));
        let outcome = run(&mut client, b"");
        let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        assert_eq!((outcome.code(), &report["error"]), (Some(0), &Value::Null), "{report}");
        let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap();
        assert!(received > 0, "{report}");
        // One connection for control, and two for the data.
        let lines = relay.lines(3);
        ended_by_their_peers(&lines);
        let (up, down) = (sum(&lines, "up"), sum(&lines, "down"));
        let carried = if reverse { down } else { up };
        assert!(carried >= received, "{received} received, {up} up, {down} down");
        assert!(lines.iter().any(|line| line["mechanism"] == "splice"), "{lines:?}");
    }
}

#[test]
fn wrk_finds_no_error_before_nginx() {
    if !have("wrk", "wrk_finds_no_error_before_nginx")
        || !have("nginx", "wrk_finds_no_error_before_nginx")
    {
        return;
    }
    let (dir, port) = (scratch(), free_port());
    let body = bytes(1, 20_000);
    fs::write(dir.path().join("body"), &body).unwrap();
    let user = if is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {what};"))
        .collect();
    let configuration = format!(
        "daemon off; {user} pid pid; error_log stderr; worker_processes 1;
         events {{ worker_connections 256; }}
         http {{ {temporary} access_log off; keepalive_requests 1000000;
             server {{ listen 127.0.0.1:{port}; root {}; }} }}",
        dir.path().display()
    );
    fs::write(dir.path().join("nginx.conf"), configuration).unwrap();
    let mut serve = Command::new("nginx");
    serve.arg("-p").arg(dir.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
    let server = Server::start(&mut serve, port);
    for options in [&[][..], &["--coalesce", "1", "--idle-timeout", "60"]] {
        let relay = Relay::start("127.0.0.1:0", &server.address, options);
        let url = format!("http://{}/body", relay.address);
        let outcome = run(Command::new("wrk").args(["-t1", "-c32", "-d2s", &url]), b"");
        let report = String::from_utf8(outcome.stdout).unwrap();
        assert_eq!(outcome.status.code(), Some(0), "{report}");
        assert!(report.contains("requests in"), "{report}");
        for trouble in ["Socket errors", "Non-2xx", " 0 requests in"] {
            assert!(!report.contains(trouble), "{report}");
        }
        if have("curl", "wrk_finds_no_error_before_nginx") {
            assert!(run(Command::new("curl").args(["-s", &url]), b"").stdout == body);
        }
    }
}

#[test]
fn redis_benchmark_finds_no_error() {
    if !have("redis-server", "redis_benchmark_finds_no_error")
        || !have("redis-benchmark", "redis_benchmark_finds_no_error")
    {
        return;
    }
    const REQUESTS: u64 = 20_000;
    const VALUE: u64 = 3000;
    let (dir, port) = (scratch(), free_port());
    let mut serve = Command::new("redis-server");
    serve.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]).arg("--dir");
    let server = Server::start(serve.arg(dir.path()), port);
    let mut relay = Relay::start("127.0.0.1:0", &server.address, &[]);
    let (requests, value) = (REQUESTS.to_string(), VALUE.to_string());
    let mut client = Command::new("redis-benchmark");
    client.args(["-h", "127.0.0.1", "-p", relay.port(), "-t", "set,get", "-c", "20", "--csv"]);
    let outcome = run(client.args(["-n", &requests, "-d", &value]), b"");
    let report = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!((outcome.status.code(), report.lines().count()), (Some(0), 3), "{report}");
    relay.signal(Signal::TERM);
    let mut lines = Vec::new();
    while let Some(line) = relay.next_line() {
        lines.push(line);
    }
    ended_by_their_peers(&lines);
    assert!(sum(&lines, "up") >= REQUESTS * VALUE && sum(&lines, "down") >= REQUESTS * VALUE);
}

/// PostgreSQL's clients leave without reading the last answers, so their connections end with a reset now and then.
#[test]
fn pgbench_finds_no_error() {
    let Some(bin) = postgresql() else {
        skip("pgbench_finds_no_error: postgresql is not installed");
        return;
    };
    if !have("pgbench", "pgbench_finds_no_error") {
        return;
    }
    const CLIENTS: usize = 4;
    let (dir, port) = (scratch(), free_port());
    let data = dir.path().join("data");
    // The server refuses to run as root.
    let as_user = |command: &mut Command| {
        if is_root() {
            command.uid(Nobody::ID).gid(Nobody::ID);
        }
    };
    if is_root() {
        chown(dir.path(), Some(Nobody::ID), Some(Nobody::ID)).unwrap();
    }
    let mut init = Command::new(bin.join("initdb"));
    init.args(["--no-sync", "-A", "trust", "-U", "bench", "-D"]).arg(&data).current_dir(dir.path());
    as_user(&mut init);
    let outcome = run(&mut init, b"");
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let mut serve = Command::new(bin.join("postgres"));
    serve.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-F", "-k"]);
    serve.arg(dir.path()).current_dir(dir.path()).stderr(std::process::Stdio::null());
    as_user(&mut serve);
    let server = Server::start(&mut serve, port);
    let mut relay = Relay::start("127.0.0.1:0", &server.address, &["--idle-timeout", "60"]);
    let port = relay.port().to_owned();
    let bench = |options: &[&str]| {
        let mut client = Command::new("pgbench");
        client.args(["-h", "127.0.0.1", "-p", &port, "-U", "bench"]).args(options).arg("postgres");
        let outcome = run(&mut client, b"");
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        String::from_utf8(outcome.stdout).unwrap()
    };
    bench(&["-i", "-q"]);
    let report = bench(&["-c", &CLIENTS.to_string(), "-t", "100"]);
    assert!(report.contains("transactions actually processed: 400/400"), "{report}");
    ended_by_their_peers(&relay.lines(1 + CLIENTS));
}

/// Sends every byte back, on a thread for each connection.
fn echo(server: TcpListener) {
    thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let mut got = Vec::new();
                let _ = connection.read_to_end(&mut got).and_then(|_| connection.write_all(&got));
            });
        }
    });
}

fn churns(connections: usize) {
    const AT_A_TIME: usize = 16;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    echo(server);
    let mut relay = Relay::start("127.0.0.1:0", &target, &[]);
    let address = relay.address.clone();
    let ask = move |seed: usize| {
        let (question, mut answer) = (bytes(seed as u64, 1 + seed % 30_000), Vec::new());
        let mut client = TcpStream::connect(&address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(&question).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == question, "connection {seed}");
    };
    // Makes the runtime's own descriptors, and the first pipes.
    ask(0);
    relay.line();
    let before = relay.descriptors();
    let asking: Vec<_> = (0..AT_A_TIME)
        .map(|first| {
            let ask = ask.clone();
            thread::spawn(move || (first..connections).step_by(AT_A_TIME).for_each(ask))
        })
        .collect();
    let lines = relay.lines(connections);
    for thread in asking {
        thread.join().unwrap();
    }
    ended_by_their_peers(&lines);
    let carried: usize = (0..connections).map(|seed| 1 + seed % 30_000).sum();
    assert_eq!((sum(&lines, "up"), sum(&lines, "down")), (carried as u64, carried as u64));
    // Idle pipes are kept for later copies.
    let kept = 2 * zc_std::pool::MAX_IDLE;
    let after = relay.descriptors();
    assert!(after <= before + kept, "{before} descriptors before, {after} after");
}

#[test]
fn thousands_of_connections_leave_nothing() {
    churns(5_000);
}

/// `cargo test --release -p zc-testkit --test relay -- programs:: --ignored`
#[test]
#[ignore = "the long form of the one above"]
fn a_hundred_thousand_connections_leave_nothing() {
    churns(100_000);
}

/// What each connection holds: descriptors, and the tool's memory.
#[test]
fn ten_thousand_idle_connections_hold_little() {
    const MOST: u64 = 10_000;
    const EACH: u64 = 6 << 10;
    // Two descriptors here for each connection, two in the relay, and some more.
    let (limit, need) = (getrlimit(Resource::Nofile), 2 * MOST + 500);
    let maximum = limit.maximum.map(|maximum| maximum.max(need));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(need), maximum });
    let has = if raised.is_ok() { need } else { limit.maximum.unwrap_or(need) };
    if raised.is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: Some(has), ..limit }).unwrap();
    }
    // If the limit cannot be raised so far, almost as many as it allows.
    let idle = has.saturating_sub(500).min(2 * MOST) / 2;
    if idle < 1000 {
        skip(&format!("ten_thousand_idle_connections_hold_little: no more than {has} descriptors"));
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let relay = Relay::start("127.0.0.1:0", &target, &["--idle-timeout", "600"]);
    let connect = || {
        let (mut client, mut connection) = (relay.connect(), server.accept().unwrap().0);
        client.write_all(b"there").unwrap();
        connection.read_exact(&mut [0; 5]).unwrap();
        connection.write_all(b"back").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        (client, connection)
    };
    let mut first: Vec<_> = (0..50).map(|_| connect()).collect();
    let (descriptors, resident) = (relay.descriptors() as u64, relay.resident());
    let mut all: Vec<_> = (0..idle).map(|_| connect()).collect();
    let grown = relay.resident().saturating_sub(resident);
    assert_eq!(relay.descriptors() as u64 - descriptors, 2 * idle);
    println!("{idle} connections, {} bytes each", grown / idle);
    assert!(grown <= EACH * idle, "{} bytes a connection", grown / idle);
    // All connections still work.
    for (client, connection) in first.iter_mut().chain(&mut all).step_by(1000) {
        client.write_all(b"still").unwrap();
        connection.read_exact(&mut [0; 5]).unwrap();
    }
}
