//! A two-way relay on mio: two transfers, one event loop, which waits for readiness alone.
//!
//! `cargo run --release -p zc-std --example relay_mio`

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use mio::{Events, Interest, Poll, Token};
use zc_std::driver::Next;
use zc_std::{Fd, Transfer};

type Socket = Fd<mio::net::TcpStream>;

/// Moves what there is from `from` to `to`; `true`: all of it is there, and `to` has been told.
///
/// mio is edge-triggered: a transfer is stepped until its own call says that it would have to wait.
fn pump(transfer: &mut Transfer, from: &mut Socket, to: &mut Socket) -> io::Result<bool> {
    loop {
        match transfer.step(from, to, 256 * 1024).next {
            Next::Again => {}
            Next::WantRead { .. } | Next::WantWrite => {
                transfer.park();
                return Ok(false);
            }
            Next::Ended => {
                to.get_ref().shutdown(Shutdown::Write)?;
                return Ok(true);
            }
            Next::Failed(error) => return Err(error.into_copy_error(0).into()),
            other => unreachable!("a socket has no layers that would want {other:?}"),
        }
    }
}

fn relay(a: TcpStream, b: TcpStream) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    let mut ends = Vec::new();
    for (number, stream) in [a, b].into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut end = Fd::new(mio::net::TcpStream::from_std(stream))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(end.get_mut(), Token(number), interest)?;
        ends.push(end);
    }
    let [a, b] = &mut ends[..] else { unreachable!("two were pushed") };
    let (mut there, mut back) = (Transfer::default(), Transfer::default());
    let (mut there_done, mut back_done) = (false, false);
    while !(there_done && back_done) {
        poll.poll(&mut events, None)?;
        there_done = there_done || pump(&mut there, a, b)?;
        back_done = back_done || pump(&mut back, b, a)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    // A client, the relay, and a server that answers with what it was sent.
    let (front, back) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let (to_front, to_back) = (front.local_addr()?, back.local_addr()?);
    let server = thread::spawn(move || -> io::Result<u64> {
        let (mut stream, _) = back.accept()?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(&all)?;
        Ok(all.len() as u64)
    });
    let relay = thread::spawn(move || relay(front.accept()?.0, TcpStream::connect(to_back)?));

    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 8) as u8).collect();
    let mut client = TcpStream::connect(to_front)?;
    client.write_all(&sent)?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;

    assert!(answer == sent);
    relay.join().expect("no panic")?;
    println!("{} bytes there and back", server.join().expect("no panic")?);
    Ok(())
}
