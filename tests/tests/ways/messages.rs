//! Sockets that keep message boundaries: never spliced, one read and one write for each message.

use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use zc_std::hook::{self, Syscall};
use zc_std::{
    AsRawPollFd, Copier, Fd, Mechanism, Pace, Paced, ReadFrom, ReadSource, Side, WriteSink,
};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{calls, fds, files, sockets};

/// Sizes of messages: small, over a page, and UDP's largest.
const SIZES: [usize; 4] = [1, 100, 5000, 65_507];

fn messages() -> Vec<Vec<u8>> {
    (0u64..).zip(SIZES).map(|(seed, size)| data::bytes(seed, size)).collect()
}

fn udp() -> (UdpSocket, UdpSocket) {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    for end in [&a, &b] {
        end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (a, b)
}

fn seqpacket() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

#[test]
fn datagram_sockets_are_no_streams_and_others_are() {
    let _leaks = fds::no_leaks();
    let is_stream = |fd: &dyn AsFd| Fd::new(fd.as_fd()).unwrap().as_raw_poll_fd().is_stream();
    let (udp, unixgram, seqpacket) = (udp(), UnixDatagram::pair().unwrap(), seqpacket());
    assert!(!is_stream(&udp.0));
    assert!(!is_stream(&unixgram.0));
    assert!(!is_stream(&seqpacket.0));
    assert!(is_stream(&sockets::tcp_v4().0));
    assert!(is_stream(&sockets::tcp_v6().1));
    assert!(is_stream(&sockets::unix().0));
    assert!(is_stream(&std::io::pipe().unwrap().0));
    assert!(is_stream(&files::empty()));
    let udp = Fd::new(udp.0).unwrap();
    assert_eq!(udp.as_raw_poll_fd().fd().as_raw_fd(), udp.get_ref().as_raw_fd());
}

/// One read for each message, into a file. An empty message is the end.
#[test]
fn udp_is_read_into_a_file() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let (sender, receiver) = udp();
        let mut file = files::empty();
        for message in messages() {
            sender.send(&message).unwrap();
        }
        sender.send(&[]).unwrap();
        let recorder = hook::record();
        let mut source = Fd::new(&receiver).unwrap();
        let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut file).unwrap();
        let total = SIZES.iter().sum::<usize>() as u64;
        assert_eq!(report.moved_by(Mechanism::ReadWrite), total);
        assert!(!report.tried(Mechanism::Splice));
        let reads = recorder.calls_to(Syscall::Read);
        let sizes: Vec<_> = reads.iter().map(|read| read.moved()).collect();
        assert_eq!(sizes, [&SIZES[..], &[0]].concat());
        assert_eq!(calls::moved_to(&recorder.calls(), file.as_raw_fd()), total);
        assert_same(&files::contents(&file), &messages().concat());
    }
}

/// From one message socket into another each message arrives as it was sent.
#[test]
fn messages_stay_messages() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let ((client, from), (to, server)) = (seqpacket(), seqpacket());
        let sizes = [1, 5000, 100, 60_000, 65_536, 7];
        let relay = std::thread::spawn(move || {
            let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(to).unwrap());
            let recorder = hook::record();
            let mut copier = Copier::new().adaptive(adaptive);
            let report = copier.copy(&mut source, &mut sink).unwrap();
            (report, recorder.calls_to(Syscall::Splice).len())
        });
        let mut buf = vec![0; 100_000];
        for size in sizes {
            let message = data::bytes(size as u64, size);
            assert_eq!(rustix::io::write(&client, &message), Ok(size));
            let n = rustix::io::read(&server, &mut buf).unwrap();
            assert_same(&buf[..n], &message);
        }
        drop(client);
        let (report, splices) = relay.join().unwrap();
        assert_eq!((report.moved(), splices), (sizes.iter().sum::<usize>() as u64, 0));
        assert_eq!(rustix::io::read(&server, &mut buf), Ok(0));
    }
}

#[test]
fn unix_datagrams_stay_messages_over_udp() {
    let _leaks = fds::no_leaks();
    let ((client, from), (to, server)) = (UnixDatagram::pair().unwrap(), udp());
    let mut buf = vec![0; 100_000];
    from.set_nonblocking(true).unwrap();
    let (mut copier, mut source) = (Copier::new().adaptive(false), Fd::new(from).unwrap());
    let mut sink = Fd::new(to).unwrap();
    for message in messages() {
        client.send(&message).unwrap();
        let error = copier.copy(&mut source, &mut sink).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(error.moved(), message.len() as u64);
        let n = server.recv(&mut buf).unwrap();
        assert_same(&buf[..n], &message);
    }
}

/// A stream into a message socket and back: each write is one message, of every size.
#[test]
fn a_stream_becomes_messages_and_messages_a_stream() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(9, 200_000);
    let (to, from) = seqpacket();
    let (stream, mut out) = sockets::unix();
    let relay = std::thread::spawn(move || {
        let mut stream = stream;
        stream.read_from(Fd::new(from).unwrap()).unwrap()
    });
    let source = files::holding(&data);
    let writer = std::thread::spawn(move || {
        let mut sink = Fd::new(to).unwrap();
        Copier::new().adaptive(false).copy(&mut &source, &mut sink).unwrap()
    });
    let mut got = Vec::new();
    out.read_to_end(&mut got).unwrap();
    assert_same(&got, &data);
    assert_eq!(relay.join().unwrap(), 200_000);
    assert_eq!(writer.join().unwrap().moved_by(Mechanism::ReadWrite), 200_000);
}

/// What fits into one read goes whole. Of a longer datagram the kernel drops the rest, which the copy says.
#[test]
fn a_unix_datagram_of_256_kib_goes_whole_and_a_longer_one_is_an_error() {
    const MOST: usize = 256 << 10;
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let ((client, from), (to, server)) =
            (UnixDatagram::pair().unwrap(), UnixDatagram::pair().unwrap());
        for sender in [&client, &to] {
            rustix::net::sockopt::set_socket_send_buffer_size(sender, 2 * MOST).unwrap();
        }
        from.set_nonblocking(true).unwrap();
        let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(to).unwrap());
        let mut copier = Copier::new().adaptive(adaptive);
        let mut buf = vec![0; 2 * MOST];
        for len in [MOST - 1, MOST, MOST + 1, MOST + 5000, 1] {
            let message = data::bytes(len as u64, len);
            assert_eq!(client.send(&message).unwrap(), len);
            if len > MOST {
                let error = copier.copy(&mut source, &mut sink).unwrap_err();
                assert_eq!(
                    (error.raw_os_error(), error.syscall(), error.side()),
                    (Some(libc::EMSGSIZE), Some("read"), Some(Side::Source))
                );
                // What is left of it is still to be had.
                assert_eq!((error.moved(), copier.in_flight()), (0, MOST));
            }
            let error = copier.copy(&mut source, &mut sink).unwrap_err();
            assert_eq!((error.kind(), error.syscall()), (io::ErrorKind::WouldBlock, Some("read")));
            assert_eq!((error.moved(), copier.in_flight()), (len.min(MOST) as u64, 0));
            let n = server.recv(&mut buf).unwrap();
            assert_same(&buf[..n], &message[..len.min(MOST)]);
        }
    }
}

/// Also where a type says that it is a stream, and nothing has asked what it is before the read.
#[test]
fn a_message_that_is_too_long_is_an_error_behind_a_stream_s_type() {
    const MOST: usize = 256 << 10;
    for first in [0, 10, 40_000] {
        let _leaks = fds::no_leaks();
        let (client, from) = seqpacket();
        rustix::net::sockopt::set_socket_send_buffer_size(&client, 2 * MOST).unwrap();
        let sent = [data::bytes(1, first), data::bytes(2, MOST + 1)];
        let as_file = std::fs::File::from(from.try_clone().unwrap());
        let from = UnixStream::from(from);
        from.set_nonblocking(true).unwrap();
        let (mut file, mut got) = (files::empty(), Vec::new());
        for (is_file, into_file) in [(false, true), (false, false), (true, true), (true, false)] {
            let mut source: &mut dyn ReadSource = if is_file { &mut &as_file } else { &mut &from };
            for message in sent.iter().filter(|message| !message.is_empty()) {
                assert_eq!(rustix::io::write(&client, message), Ok(message.len()));
            }
            let sink: &mut dyn WriteSink = if into_file { &mut file } else { &mut got };
            let mut copier = Copier::new();
            let error = copier.copy(&mut source, sink).unwrap_err();
            assert_eq!(
                (error.raw_os_error(), error.syscall(), error.side()),
                (Some(libc::EMSGSIZE), Some("read"), Some(Side::Source))
            );
            assert_eq!((error.moved(), copier.in_flight()), (first as u64, MOST));
            let error = copier.copy(&mut source, sink).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert_eq!((error.moved(), copier.in_flight()), (MOST as u64, 0));
        }
        let want = [&sent[0][..], &sent[1][..MOST]].concat().repeat(2);
        assert_same(&files::contents(&file), &want);
        assert_same(&got, &want);
    }
}

/// A step that may take less than a message, from a socket that only the kernel knows to be one.
#[test]
fn a_small_step_takes_a_message_whole_behind_a_file_s_type() {
    let want = messages().concat();
    for (into_nowhere, limit) in [(false, u64::MAX), (true, u64::MAX), (true, 60_000)] {
        let _leaks = fds::no_leaks();
        let (client, from) = seqpacket();
        let sent = messages();
        // What fits below the limit.
        let sent = if limit == u64::MAX { &sent[..] } else { &sent[..3] };
        for message in sent {
            assert_eq!(rustix::io::write(&client, message), Ok(message.len()));
        }
        let all: usize = sent.iter().map(Vec::len).sum();
        drop(client);
        let pace = Pace::new(1 << 30).burst(1000);
        let mut source = Paced::with_pace(File::from(from), pace).take(limit);
        let (mut got, mut nowhere) = (Vec::new(), io::sink());
        let sink: &mut dyn WriteSink = if into_nowhere { &mut nowhere } else { &mut got };
        assert_eq!(zc_std::copy(&mut source, sink).unwrap(), all as u64);
        assert_same(&got, if into_nowhere { &[] } else { &want });
    }
}

/// A limit cuts a message as the buffer of a `read` does: that is no error, and the rest of the message is lost.
#[test]
fn a_limit_cuts_a_message() {
    for limit in [100, 100_000, 300_000] {
        let _leaks = fds::no_leaks();
        let (client, from) = UnixDatagram::pair().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&client, 1 << 19).unwrap();
        let messages = [data::bytes(1, 200_000), data::bytes(2, 10)];
        for message in &messages {
            assert_eq!(client.send(message).unwrap(), message.len());
        }
        let (mut source, mut got) = (Fd::new(&from).unwrap().take(limit), Vec::new());
        let moved = if limit > 200_010 {
            from.set_nonblocking(true).unwrap();
            Copier::new().copy(&mut source, &mut got).unwrap_err().moved()
        } else {
            Copier::new().copy(&mut source, &mut got).unwrap().moved()
        };
        let fits = (limit as usize).min(200_000);
        assert_same(&got[..fits], &messages[0][..fits]);
        assert_same(&got[fits..], if limit > 200_010 { &messages[1] } else { &[] });
        assert_eq!((moved, source.limit()), (got.len() as u64, limit - got.len() as u64));
    }
}
