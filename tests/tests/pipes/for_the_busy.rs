//! Quiet connections leave pipes of the pool to those that have bytes to move. A copy that could have no pipe gets
//! one once there is one again.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism, Source, Upstream, pool};
use zc_testkit::wait::eventually;
use zc_testkit::{fds, files, sockets};

const PIECE: usize = 128 * 1024;

#[test]
fn quiet_connections_leave_half_of_the_pipes() {
    let _leaks = fds::no_leaks();
    let mut clients = Vec::new();
    let copies: Vec<_> = (0..pool::MAX_IN_USE + 8)
        .map(|_| {
            let (client, stream) = UnixStream::pair().unwrap();
            clients.push(client);
            thread::spawn(move || {
                let mut file = tempfile::tempfile().unwrap();
                let moved = Copier::new().copy(&mut &stream, &mut file).unwrap().moved();
                assert_eq!(file.stream_position().unwrap(), moved);
                moved
            })
        })
        .collect();
    // A read, then splices, again and again. Then the connection is quiet.
    for _ in 0..8 {
        for client in &mut clients {
            client.write_all(&[b'x'; PIECE]).unwrap();
        }
    }
    eventually("half of the pipes are free", || pool::in_use() <= pool::MAX_IN_USE / 2);

    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&[b'y'; PIECE]).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let mut busy = (&stream).take(PIECE as u64);
    let report = Copier::new().adaptive(false).copy(&mut busy, &mut file).unwrap();
    assert_eq!((report.moved_by(Mechanism::Splice), busy.limit()), (PIECE as u64, 0));

    drop(clients);
    for copy in copies {
        assert_eq!(copy.join().unwrap(), 8 * PIECE as u64);
    }
    assert_eq!(pool::in_use(), 0);
}

/// A read that may wait needs no pipe, even after splices.
#[test]
fn a_copy_that_reads_holds_no_pipe() {
    /// A stream whose first bytes the kernel may move; the bytes after them have to be read.
    struct Framed<'a> {
        stream: &'a UnixStream,
        body: u64,
    }
    impl Read for Framed<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.stream.read(buf)
        }
    }
    impl Source for Framed<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            if self.body == 0 {
                return Upstream::opaque();
            }
            Upstream::through(&mut self.stream).limit(self.body)
        }
        fn taken(&mut self, n: u64) {
            self.body -= n;
        }
    }

    const LEN: u64 = 3 * PIECE as u64;
    // Each takes `LEN` bytes from the first stream, and then waits.
    type Copy = fn(&UnixStream, &UnixStream, &mut File);
    let a_link_goes_quiet: Copy = |busy, quiet, file| {
        Copier::new().copy(&mut busy.take(LEN).chain(quiet), file).unwrap();
    };
    let a_header_is_to_come: Copy = |busy, _, file| {
        Copier::new().copy(&mut Framed { stream: busy, body: LEN }, file).unwrap();
    };
    let a_copy_is_resumed: Copy = |busy, quiet, file| {
        let (mut copier, sink) = (Copier::new().pipe_size(64 * 1024), file.as_raw_fd());
        let full = hook::replace(move |call| match call.syscall {
            Syscall::Splice if call.to == Some(sink) => Action::Fail(libc::ENOSPC),
            _ => Action::Proceed,
        });
        copier.copy(&mut busy.take(LEN), file).unwrap_err();
        assert!(copier.in_flight() > 0 && pool::in_use() == 1);
        drop(full);
        copier
            .copy(
                &mut busy
                    .take(LEN - files::position(file) - copier.in_flight() as u64)
                    .chain(quiet),
                file,
            )
            .unwrap();
    };

    let _leaks = fds::no_leaks();
    for copy in [a_link_goes_quiet, a_header_is_to_come, a_copy_is_resumed] {
        pool::clear();
        let ((mut client, busy), (other, quiet)) = (sockets::unix(), sockets::unix());
        let copying = thread::spawn(move || {
            let mut file = files::empty();
            copy(&busy, &quiet, &mut file);
            file
        });
        client.write_all(&[b'x'; LEN as usize]).unwrap();
        eventually("a pipe has come back", || (pool::idle(), pool::in_use()) == (1, 0));
        drop((client, other));
        assert_eq!(files::contents(&copying.join().unwrap()), [b'x'; LEN as usize]);
    }
}

#[test]
fn a_copy_without_a_pipe_tries_again() {
    let _leaks = fds::no_leaks();
    for adaptive in [true, false] {
        pool::clear();
        let (mut client, stream) = UnixStream::pair().unwrap();
        let sender = thread::spawn(move || client.write_all(&vec![b'x'; 64 * PIECE]).unwrap());
        let mut file = tempfile::tempfile().unwrap();
        let mut failures = 2;
        let guard = hook::replace(move |call| match call.syscall {
            Syscall::Pipe if failures > 0 => {
                failures -= 1;
                Action::Fail(libc::EMFILE)
            }
            // The copy asks again after some bytes and not at each step, so the steps are small.
            Syscall::Read => Action::Limit(16 * 1024),
            _ => Action::Proceed,
        });
        let report = Copier::new().adaptive(adaptive).copy(&mut &stream, &mut file).unwrap();
        drop(guard);
        sender.join().unwrap();

        assert_eq!(report.moved(), 64 * PIECE as u64);
        assert!(report.moved_by(Mechanism::Splice) > 0, "{report:?}");
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        assert!(content == vec![b'x'; 64 * PIECE]);
    }
}
