//! The reader of a pipe gets the bytes that are in it while the copy into the pipe waits for more from a socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zc_std::hook::{self, Action};
use zc_std::{Copier, ReadSource};
use zc_testkit::fds;

/// Waits until the thread `tid` of this process sleeps in a call.
fn until_it_sleeps(tid: i32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        // The thread's name, in parentheses, may have any byte in it.
        let (_, state) = stat.rsplit_once(") ").unwrap();
        if state.starts_with('S') {
            return;
        }
        thread::yield_now();
    }
}

/// Sends a request, which is copied into a pipe. Whether the pipe's reader gets it while the connection is still
/// open.
fn request_gets_through<S>(mut client: impl Write, mut stream: S, adaptive: bool)
where
    S: ReadSource + AsRawFd + Send + 'static,
{
    let (mut far_end, mut near_end) = std::io::pipe().unwrap();
    let (tell, waits) = mpsc::channel();
    let copy = thread::spawn(move || {
        let (from, mut takes) = (Some(stream.as_raw_fd()), 0);
        let _hook = hook::replace(move |call| {
            takes += u32::from(call.from == from && call.len > 0);
            if takes == 2 {
                takes += 1;
                tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            }
            Action::Proceed
        });
        Copier::new().adaptive(adaptive).copy(&mut stream, &mut near_end).unwrap().moved()
    });
    client.write_all(b"request").unwrap();
    // The copy has passed the request on, and sleeps once it waits for more from the stream.
    until_it_sleeps(waits.recv().unwrap());

    let (got, request) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 64];
        let n = far_end.read(&mut buffer).unwrap();
        got.send(buffer[..n].to_vec()).unwrap();
        assert_eq!(far_end.read(&mut buffer).unwrap(), 0);
    });
    // Without an answer the client sends nothing more, so a wait here would not end.
    let request = request.recv_timeout(Duration::from_secs(20));
    drop(client);
    assert_eq!(copy.join().unwrap(), 7);
    reader.join().unwrap();
    assert_eq!(request.expect("stuck until the connection closed"), b"request");
}

#[test]
fn a_copy_from_a_socket_leaves_its_pipe_to_the_reader() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let (client, stream) = UnixStream::pair().unwrap();
        request_gets_through(client, stream, adaptive);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        request_gets_through(client, listener.accept().unwrap().0, adaptive);
    }
}
