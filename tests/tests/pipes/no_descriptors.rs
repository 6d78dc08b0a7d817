//! No pipe to be had: the copy reads and writes instead. Descriptors and pipes are the process's, so
//! these tests have a binary of their own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zc_std::driver::Next;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism, Options, Report, Transfer, pool};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{calls, fds, files, sockets};

const LEN: usize = 100_000;

/// A Unix stream into a file, which would be spliced if there were a pipe. It opens nothing else and
/// closes nothing before the copy is done.
fn upload(server: &UnixStream, mut file: &File) -> Report {
    let recorder = hook::record();
    let report = Copier::new().adaptive(false).copy(&mut &*server, &mut file).unwrap();
    let calls = recorder.calls();
    assert_eq!(report.moved(), LEN as u64);
    assert_eq!(calls::moved_from(&calls, server.as_raw_fd()), LEN as u64);
    assert_eq!(calls::moved_to(&calls, file.as_raw_fd()), LEN as u64);
    assert_eq!(files::position(file), LEN as u64);
    assert_same(&files::contents(file), &data::bytes(60, LEN));
    report
}

fn ends() -> (UnixStream, File) {
    let (mut client, server) = sockets::unix();
    client.write_all(&data::bytes(60, LEN)).unwrap();
    (server, files::empty())
}

/// As many open files as the process may have, until dropped.
struct Exhausted {
    before: Rlimit,
    hoard: Vec<File>,
}

impl Exhausted {
    fn new() -> Exhausted {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..before }).unwrap();
        let mut hoard = Vec::new();
        let full = loop {
            match File::open("/dev/null") {
                Ok(file) => hoard.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(Errno::from_io_error(&full), Some(Errno::MFILE));
        Exhausted { before, hoard }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

#[test]
fn without_a_descriptor_left_a_copy_reads_and_writes() {
    let _leaks = fds::no_leaks();
    let (stream, file) = ends();
    let exhausted = Exhausted::new();
    let report = upload(&stream, &file);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
    assert_eq!(report.refused(Mechanism::Splice), Some(Errno::MFILE.raw_os_error()));
    drop(exhausted);

    pool::clear(); // or the next few copies would not ask again
    let (stream, file) = ends();
    assert_eq!(upload(&stream, &file).moved_by(Mechanism::Splice), LEN as u64, "and then again");
}

/// A pipe that the pool has kept needs no descriptor.
#[test]
fn a_pooled_pipe_serves_when_no_descriptor_is_left() {
    let _leaks = fds::no_leaks();
    let (stream, file) = ends();
    upload(&stream, &file);
    assert_eq!(pool::idle(), 1);
    let (stream, file) = ends();
    let _exhausted = Exhausted::new();
    assert_eq!(upload(&stream, &file).moved_by(Mechanism::Splice), LEN as u64);
}

/// With one descriptor left there is no pipe, which takes two, and the one is not lost.
#[test]
fn half_a_pipe_is_no_pipe() {
    let _leaks = fds::no_leaks();
    let (stream, file) = ends();
    let mut exhausted = Exhausted::new();
    exhausted.hoard.pop();
    assert_eq!(upload(&stream, &file).moved_by(Mechanism::ReadWrite), LEN as u64);
}

#[test]
fn every_way_of_not_getting_a_pipe_means_read_and_write() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::PERM, Errno::NOSYS] {
        let _leaks = fds::no_leaks();
        let _no_pipe = hook::replace(move |call| match call.syscall {
            Syscall::Pipe => Action::Fail(errno.raw_os_error()),
            _ => Action::Proceed,
        });
        let (stream, file) = ends();
        let report = upload(&stream, &file);
        assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64, "{errno}");
        assert_eq!(report.refused(Mechanism::Splice), Some(errno.raw_os_error()));
    }
}

/// A pipe that must not grow is used as it is; one of a page or two is not used at all.
#[test]
fn a_pipe_that_is_too_small_is_not_used() {
    let _leaks = fds::no_leaks();
    let cannot_grow = hook::replace(|call| match call.syscall {
        Syscall::SetPipeSize => Action::Fail(Errno::PERM.raw_os_error()),
        _ => Action::Proceed,
    });
    let (stream, file) = ends();
    assert_eq!(upload(&stream, &file).moved_by(Mechanism::Splice), LEN as u64);
    pool::clear();
    let _tiny = hook::replace(|call| match call.syscall {
        Syscall::GetPipeSize => Action::Return(4096),
        _ => Action::Proceed,
    });
    let (stream, file) = ends();
    let report = upload(&stream, &file);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
    assert_eq!(report.refused(Mechanism::Splice), Some(Errno::NOBUFS.raw_os_error()));
    drop(cannot_grow);
}

/// A hundred relays stuck half-way hold no more than half of the pipes that the pool lends. The others hold their
/// bytes in memory, and all of them arrive.
#[test]
fn more_copies_than_pipes() {
    struct Relay {
        transfer: Transfer,
        data: Vec<u8>,
        from: UnixStream,
        to: UnixStream,
        server: UnixStream,
    }
    impl Relay {
        fn step(&mut self) -> Next {
            self.transfer.step(&mut &self.from, &mut &self.to, u64::MAX).next
        }
    }

    let _leaks = fds::no_leaks();
    let mut options = Options::default();
    options.adaptive = false;
    let mut relays: Vec<Relay> = (0..100)
        .map(|n| {
            let data = data::bytes(n, 100_000);
            let ((mut client, from), (to, server)) = (sockets::unix(), sockets::unix());
            client.write_all(&data).unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&to, 1).unwrap();
            for end in [&to, &server] {
                end.set_nonblocking(true).unwrap();
            }
            Relay { transfer: Transfer::new(options), data, from, to, server }
        })
        .collect();

    for relay in &mut relays {
        while let Next::Again = relay.step() {}
        assert!(relay.transfer.in_flight() > 0);
    }
    assert!(pool::in_use() <= pool::MAX_IN_USE / 2 + 1, "{} are lent", pool::in_use());
    assert!(pool::in_use() > 0);

    for mut relay in relays {
        let mut got = Vec::new();
        loop {
            let next = relay.step();
            match io::Read::read_to_end(&mut relay.server, &mut got) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
                _ => {}
            }
            match next {
                Next::Again | Next::WantWrite => {}
                Next::Ended => break,
                other => panic!("{other:?}"),
            }
        }
        assert_same(&got, &relay.data);
    }
    assert_eq!(pool::in_use(), 0);
    assert!(pool::idle() <= pool::MAX_IDLE);
}
