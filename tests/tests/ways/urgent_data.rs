//! TCP urgent data: a byte that is no part of the stream, and holds back no byte behind it.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustix::event::PollFlags;
use rustix::net::{SendFlags, send};
use zc_std::driver::Next;
use zc_std::hook::{self, Syscall};
use zc_std::{Copier, Side, Transfer};
use zc_testkit::data::{self, assert_same};
use zc_testkit::wait::wait_for;
use zc_testkit::{fds, files, sockets};

/// How many bytes are on each side of the urgent byte. Both sides have to fit into the window of a receiver that has
/// read nothing: 64 KiB in Linux 5.10.
const SIDE: usize = 30_000;

/// Sends a side, the urgent byte and the other side. All of it has arrived when this returns.
fn sent(data: &[u8]) -> (TcpStream, TcpStream) {
    let (mut client, server) = sockets::tcp_v4();
    client.write_all(&data[..SIDE]).unwrap();
    assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
    client.write_all(&data[SIDE..]).unwrap();
    // The count includes the urgent byte.
    while rustix::io::ioctl_fionread(&server).unwrap() < SIDE as u64 {
        std::thread::yield_now();
    }
    (client, server)
}

/// Waits for bytes, as an event loop does. Panics if they seem to be there again and again and never come.
fn until_readable(source: impl AsFd, waits: &mut usize) {
    *waits += 1;
    assert!(*waits < 1000, "told to wait for bytes that are there");
    wait_for(source, PollFlags::IN);
}

#[test]
fn a_transfer_gets_past_urgent_data() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 2 * SIDE);
    let (_client, server) = sent(&data);
    server.set_nonblocking(true).unwrap();
    let file = files::empty();
    let (mut transfer, mut moved, mut waits) = (Transfer::default(), 0, 0);
    while moved < data.len() as u64 {
        let step = transfer.step(&mut &server, &mut &file, u64::MAX);
        moved += step.delivered;
        match step.next {
            Next::Again => {}
            Next::WantRead { .. } => until_readable(&server, &mut waits),
            other => panic!("{other:?}"),
        }
    }
    assert_same(&files::contents(&file), &data);
}

/// splice answers EAGAIN in front of urgent data as it does without bytes. No read is made to tell these apart, so
/// that an idle moment costs an event loop one cheap call.
#[test]
fn a_source_without_urgent_data_is_not_read_to_tell() {
    let _leaks = fds::no_leaks();
    // Enough for a plan to splice.
    let data = data::bytes(3, 2 * SIDE);
    let (mut client, server) = sockets::tcp_v4();
    client.write_all(&data).unwrap();
    while rustix::io::ioctl_fionread(&server).unwrap() < data.len() as u64 {
        std::thread::yield_now();
    }
    server.set_nonblocking(true).unwrap();
    let file = files::empty();
    let recorder = hook::record();
    let (mut transfer, mut moved) = (Transfer::default(), 0);
    loop {
        let step = transfer.step(&mut &server, &mut &file, u64::MAX);
        moved += step.delivered;
        match step.next {
            Next::Again => {}
            Next::WantRead { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(moved, data.len() as u64);
    assert_same(&files::contents(&file), &data);
    let last = recorder.calls().split_off(recorder.calls().len() - 2);
    assert_eq!((last[0].call.syscall, last[0].result), (Syscall::Splice, Err(libc::EAGAIN)));
    assert_eq!((last[1].call.syscall, last[1].result), (Syscall::AtMark, Ok(0)));
}

#[test]
fn a_copier_gets_past_urgent_data() {
    for nonblocking in [true, false] {
        for adaptive in [true, false] {
            let _leaks = fds::no_leaks();
            let data = data::bytes(2, 2 * SIDE);
            let (client, server) = sent(&data);
            server.set_nonblocking(nonblocking).unwrap();
            drop(client);
            let file = files::empty();
            let mut copier = Copier::new().adaptive(adaptive);
            let (mut moved, mut waits) = (0, 0);
            loop {
                match copier.resume(&mut &server, &mut &file) {
                    Ok(report) => {
                        moved += report.moved();
                        break;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        assert_eq!(error.waits_for(), Some(Side::Source));
                        moved += error.moved();
                        until_readable(&server, &mut waits);
                    }
                }
            }
            assert_eq!(moved, data.len() as u64);
            assert_same(&files::contents(&file), &data);
        }
    }
}
