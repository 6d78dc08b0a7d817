//! A two-way proxy: two threads, each passing an end on as it comes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use zc_testkit::data::{self, assert_same};
use zc_testkit::fds;

fn proxy(client: &TcpStream, server: &TcpStream) -> io::Result<(u64, u64)> {
    let one_way = |mut from: &TcpStream, mut to: &TcpStream| {
        let moved = zc_std::copy(&mut from, &mut to);
        // The peer hears of the end, and may still send.
        let _ = to.shutdown(Shutdown::Write);
        moved
    };
    thread::scope(|scope| {
        let up = scope.spawn(|| one_way(client, server));
        let down = one_way(server, client)?;
        Ok((up.join().expect("no panic")?, down))
    })
}

#[test]
fn passes_on_both_ways_and_each_end() {
    let _leaks = fds::no_leaks();
    let (request, answer) = (data::bytes(1, 3_000_000), data::bytes(2, 5_000_000));
    let (front, back) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (to_front, to_back) = (front.local_addr().unwrap(), back.local_addr().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = back.accept().unwrap();
            let mut got = Vec::new();
            // It answers only once the request has ended.
            stream.read_to_end(&mut got).unwrap();
            assert_same(&got, &request);
            stream.write_all(&answer).unwrap();
        });
        let proxying = scope.spawn(|| {
            let client = front.accept().unwrap().0;
            proxy(&client, &TcpStream::connect(to_back).unwrap()).unwrap()
        });
        let mut client = TcpStream::connect(to_front).unwrap();
        client.write_all(&request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_same(&got, &answer);
        assert_eq!(proxying.join().unwrap(), (request.len() as u64, answer.len() as u64));
    });
}

/// A client that goes away ends both ways, with an error or without, and no thread is left.
#[test]
fn ends_with_a_client_that_goes_away() {
    let _leaks = fds::no_leaks();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = || {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    };
    let ((client, a), (b, mut server)) = (pair(), pair());
    thread::scope(|scope| {
        scope.spawn(|| proxy(&a, &b).map(drop).unwrap_or_default());
        scope.spawn(|| {
            let mut rest = Vec::new();
            let _ = server.read_to_end(&mut rest);
            drop(server);
        });
        drop(client);
    });
}
