//! `CopyError::syscall` is the last call that was to move bytes, of every mechanism.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use zc_std::{Copier, CopyError, ReadSource, WriteSink, hook};
use zc_testkit::fds;

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn stops_as_named(
    copier: &mut Copier,
    mut source: impl ReadSource + AsFd,
    mut sink: impl WriteSink,
) -> CopyError {
    let recorder = hook::record();
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    // Calls that only ask which side it was move no bytes. And what is in flight may be read out of a pipe that it
    // hardly fills.
    let reads_pipe = |record: &hook::Record| {
        record.call.syscall == hook::Syscall::Read
            && record.call.from != Some(source.as_fd().as_raw_fd())
    };
    // What sendfile claimed and did not send is read.
    let sends = !recorder.calls_to(hook::Syscall::Sendfile).is_empty();
    let keeps = |record: &hook::Record| sends && record.call.syscall == hook::Syscall::Read;
    let moves =
        |record: &hook::Record| record.call.len > 0 && !reads_pipe(record) && !keeps(record);
    let Some(last) = recorder.calls().into_iter().rfind(moves) else {
        // poll(2) has spared the copy that call.
        assert_eq!(recorder.calls().last().unwrap().result, Ok(0));
        return error;
    };
    assert_eq!(last.result, Err(libc::EAGAIN));
    assert_eq!(error.syscall(), Some(last.call.syscall.name()));
    error
}

#[test]
fn an_empty_source_names_its_call() {
    let _leaks = fds::no_leaks();
    let (_client, stream) = tcp();
    stream.set_nonblocking(true).unwrap();
    let file = tempfile::tempfile().unwrap();
    // The first bytes are read, since they may be few.
    let error = stops_as_named(&mut Copier::new(), &stream, &file);
    assert_eq!(error.syscall(), Some("read"));
    let error = stops_as_named(&mut Copier::new().adaptive(false), &stream, &file);
    assert_eq!(error.syscall(), Some("splice"));
}

#[test]
fn a_full_sink_names_its_call() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        let (sink, far_end) = UnixStream::pair().unwrap();
        sink.set_nonblocking(true).unwrap();
        while (&sink).write(&[0; 4096]).is_ok() {}
        client.write_all(&[b'x'; 1000]).unwrap();

        let mut copier = Copier::new().adaptive(adaptive);
        stops_as_named(&mut copier, &stream, &sink);
        assert_eq!(copier.in_flight(), 1000);
        // The copy goes on, with the bytes still in flight.
        let error = stops_as_named(&mut copier, &stream, &sink);
        assert_eq!(error.syscall(), Some("write"));
        assert_eq!(copier.take_residue(), [b'x'; 1000]);
        drop(far_end);
    }
}

#[test]
fn a_full_sink_of_a_file_names_its_call() {
    let _leaks = fds::no_leaks();
    let (sink, _far_end) = UnixStream::pair().unwrap();
    sink.set_nonblocking(true).unwrap();
    while (&sink).write(&[0; 4096]).is_ok() {}
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let error = stops_as_named(&mut Copier::new().adaptive(false), &file, &sink);
    assert_eq!(error.syscall(), Some("sendfile"));
    // A small file is read and written.
    std::io::Seek::rewind(&mut file).unwrap();
    let mut copier = Copier::new();
    let error = stops_as_named(&mut copier, &file, &sink);
    assert_eq!(error.syscall(), Some("write"));
    assert_eq!(copier.take_residue(), b"content");
}
