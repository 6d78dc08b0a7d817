//! `zc recv` and `zc send` with the programs that people use: curl, nc, socat, and each other.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use zc_testkit::cli::{Receiver, have, listens, names, run, scratch, zc};
use zc_testkit::data::bytes;
use zc_testkit::running::{Running, start};
use zc_testkit::skip::skip;

/// More than all buffers on the way hold, and no round number.
const LEN: usize = 20_000_003;

/// Runs `client` to its end with `input` as its standard input.
fn feed(client: &mut Command, input: &Path) {
    let input = File::open(input).unwrap();
    let status = client.stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

/// Has the programs that `client` makes for a receiver send a file to `zc recv`, over TCP and Unix.
fn uploads(client: impl Fn(&Receiver, &Path)) {
    let dir = scratch();
    let (input, output) = (dir.path().join("input"), dir.path().join("output"));
    for (seed, listen) in listens(dir.path()).iter().enumerate() {
        let sent = bytes(seed as u64, LEN);
        fs::write(&input, &sent).unwrap();
        let receiver = Receiver::start(listen, &output, &["--expect", &LEN.to_string()]);
        client(&receiver, &input);
        receiver.finish().expect_success();
        assert!(fs::read(&output).unwrap() == sent, "{listen}");
        fs::remove_file(&output).unwrap();
        assert_eq!(names(dir.path()), ["input".into()].into(), "{listen}");
    }
}

/// Several programs are called nc, with different options.
fn have_nc(test: &str) -> bool {
    if !have("nc", test) {
        return false;
    }
    let help = run(Command::new("nc").arg("-h"), b"");
    let found = help.stderr.contains("OpenBSD");
    if !found {
        skip(&format!("{test}: nc is not OpenBSD's"));
    }
    found
}

#[test]
fn takes_uploads_from_nc() {
    if !have_nc("takes_uploads_from_nc") {
        return;
    }
    uploads(|receiver, input| match receiver.address.strip_prefix("unix:") {
        Some(path) => feed(Command::new("nc").args(["-N", "-U", path]), input),
        None => feed(Command::new("nc").args(["-N", "127.0.0.1", receiver.port()]), input),
    });
}

#[test]
fn takes_uploads_from_socat() {
    if !have("socat", "takes_uploads_from_socat") {
        return;
    }
    uploads(|receiver, input| {
        let to = match receiver.address.strip_prefix("unix:") {
            Some(path) => format!("UNIX-CONNECT:{path}"),
            None => format!("TCP:{}", receiver.address),
        };
        feed(Command::new("socat").args(["-u", "STDIN", &to]), input);
    });
}

#[test]
fn takes_uploads_from_zc_send() {
    uploads(|receiver, input| {
        let sent = zc(["send"]).arg(input).arg(&receiver.address).status();
        assert!(sent.unwrap().success());
    });
}

#[test]
fn zc_uploads_over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip("zc_uploads_over_ipv6: this machine has no ::1");
    }
    let dir = scratch();
    let sent = bytes(6, LEN);
    let receiver = Receiver::start("[::1]:0", dir.path().join("output"), &[]);
    run(&mut zc(["send", "-", &receiver.address]), &sent).expect_success();
    receiver.finish().expect_success();
    assert!(fs::read(dir.path().join("output")).unwrap() == sent);
}

/// A port alone stands for all addresses.
#[test]
fn listens_on_all_addresses_of_a_port_alone() {
    let dir = scratch();
    let output = dir.path().join("output");
    for (seed, spell) in [|port: String| port, |port| format!(":{port}")].into_iter().enumerate() {
        let sent = bytes(seed as u64, 100_000);
        let receiver = Receiver::start(&spell(free_port()), &output, &[]);
        let port = receiver.port().to_owned();
        let address = if seed == 0 { format!("127.0.0.1:{port}") } else { spell(port) };
        run(&mut zc(["send", "-", &address]), &sent).expect_success();
        receiver.finish().expect_success();
        assert!(fs::read(&output).unwrap() == sent);
    }
}

/// curl waits for an answer and does not end its side of the connection, so the limit ends the upload. Its request is
/// cut down to the one header that curl cannot do without, so that every byte is known.
#[test]
fn takes_an_upload_from_curl_up_to_its_limit() {
    if !have("curl", "takes_an_upload_from_curl_up_to_its_limit") {
        return;
    }
    let dir = scratch();
    let (input, output) = (dir.path().join("input"), dir.path().join("output"));
    let sent = bytes(7, LEN);
    fs::write(&input, &sent).unwrap();
    let mut expected = format!("PUT /x HTTP/1.0\r\nContent-Length: {LEN}\r\n\r\n").into_bytes();
    expected.extend(&sent);

    for listen in listens(dir.path()) {
        let limit = expected.len().to_string();
        let receiver = Receiver::start(&listen, &output, &["--limit", &limit, "--expect", &limit]);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--http1.0", "--noproxy", "*", "--max-time", "60"]);
        for header in ["Host:", "User-Agent:", "Accept:", "Expect:"] {
            curl.args(["-H", header]);
        }
        match receiver.address.strip_prefix("unix:") {
            Some(path) => curl.args(["--unix-socket", path, "http://localhost/x"]),
            None => curl.arg(format!("http://{}/x", receiver.address)),
        };
        // curl's status where it gets no answer.
        const EMPTY_REPLY: i32 = 52;
        let status = curl.arg("-T").arg(&input).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(EMPTY_REPLY), "{listen}");
        receiver.finish().expect_success();
        assert!(fs::read(&output).unwrap() == expected, "{listen}");
    }
}

/// Starts a server, has `zc send` send to it, and compares what the server wrote to `output`.
fn downloads(server: &mut Command, address: &str, dir: &Path) {
    let (input, output) = (dir.join("input"), dir.join("output"));
    let sent = bytes(8, LEN);
    fs::write(&input, &sent).unwrap();
    let server =
        server.stdin(Stdio::null()).stdout(File::create(&output).unwrap()).stderr(Stdio::null());
    let mut server = start(server);
    send_once_it_listens(&input, address, &mut server);
    assert!(server.wait().unwrap().success());
    assert!(fs::read(&output).unwrap() == sent, "{address}");
}

/// Servers do not say when they listen.
fn send_once_it_listens(input: &Path, address: &str, server: &mut Running) {
    loop {
        let sent = run(zc(["send"]).arg(input).arg(address), b"");
        if sent.code() == Some(0) {
            return sent.expect_success();
        }
        let line = sent.line();
        assert!(line.contains("ECONNREFUSED") || line.contains("ENOENT"), "{line}");
        assert_eq!(server.try_wait().unwrap(), None, "the server ended; {line}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago, outside the range that the kernel picks from: a port from there might soon be
/// the end of another test's connection.
fn free_port() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let given: Vec<u32> = range.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let ports = (10_000..60_000).filter(|port| !(given[0]..=given[1]).contains(port));
    let ports: Vec<u32> = ports.collect();
    let start = std::process::id().wrapping_mul(97);
    loop {
        let nth = start.wrapping_add(NEXT.fetch_add(1, Relaxed)) as usize;
        let port = ports[nth % ports.len()].to_string();
        if TcpListener::bind(format!("127.0.0.1:{port}")).is_ok() {
            return port;
        }
    }
}

#[test]
fn sends_to_nc() {
    if !have_nc("sends_to_nc") {
        return;
    }
    let dir = scratch();
    let port = free_port();
    let tcp = format!("127.0.0.1:{port}");
    downloads(Command::new("nc").args(["-l", "-N", "127.0.0.1", &port]), &tcp, dir.path());

    let path = dir.path().join("socket");
    let unix = format!("unix:{}", path.display());
    downloads(Command::new("nc").args(["-l", "-N", "-U"]).arg(&path), &unix, dir.path());
}

#[test]
fn sends_to_socat() {
    if !have("socat", "sends_to_socat") {
        return;
    }
    let dir = scratch();
    let port = free_port();
    let tcp = format!("127.0.0.1:{port}");
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr");
    downloads(Command::new("socat").args(["-u", &listen, "STDOUT"]), &tcp, dir.path());

    let path = dir.path().join("socket");
    let unix = format!("unix:{}", path.display());
    let listen = format!("UNIX-LISTEN:{}", path.display());
    downloads(Command::new("socat").args(["-u", &listen, "STDOUT"]), &unix, dir.path());
}

#[test]
fn sends_standard_input_and_receives_to_standard_output() {
    let dir = scratch();
    for listen in listens(dir.path()) {
        let sent = bytes(9, LEN);
        let receiver = Receiver::start(&listen, "-", &[]);
        let address = receiver.address.clone();
        let received = thread::spawn(|| receiver.finish());
        run(&mut zc(["send", "-", &address]), &sent).expect_success();
        let received = received.join().unwrap();
        received.expect_success();
        assert!(received.stdout == sent, "{listen}");
    }
    assert!(names(dir.path()).is_empty());
}

#[test]
fn stops_at_a_limit_at_either_end() {
    let dir = scratch();
    let output = dir.path().join("output");
    let sent = bytes(10, 3 << 20);
    for listen in listens(dir.path()) {
        for (limit, len) in [("0", 0), ("1", 1), ("1MiB", 1 << 20), ("1000kB", 1_000_000)] {
            let receiver = Receiver::start(&listen, &output, &["--limit", limit]);
            let address = receiver.address.clone();
            // Whether the sender fails, half of whose bytes are never read, is for another test.
            let sender = run(&mut zc(["send", "-", &address]), &sent);
            receiver.finish().expect_success();
            assert!(fs::read(&output).unwrap() == sent[..len], "{listen} {limit}");
            assert!([Some(0), Some(1)].contains(&sender.code()), "{sender:?}");

            let receiver = Receiver::start(&listen, &output, &["--expect", limit]);
            run(&mut zc(["send", "-", &receiver.address, "--limit", limit]), &sent)
                .expect_success();
            receiver.finish().expect_success();
            assert!(fs::read(&output).unwrap() == sent[..len], "{listen} {limit}");
        }
    }
}
