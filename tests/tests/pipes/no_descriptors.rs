//! No descriptor is left for a pipe: the copy reads and writes instead. A test that sets the process's limit runs in
//! a process of its own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::Resource;
use zc_std::driver::Next;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism, Options, Report, Transfer, pool};
use zc_testkit::data::{self, assert_same};
use zc_testkit::sockets::Socket;
use zc_testkit::streams::Stream;
use zc_testkit::{calls, child, fds, files, limits, sockets};

const LEN: usize = 100_000;

/// Copies a socket into a file, by splice if there is a pipe. No other descriptor is opened, and none closed before
/// the copy is done.
fn upload((server, file): &mut (Socket, File), adaptive: bool) -> Report {
    let recorder = hook::record();
    let report = Copier::new().adaptive(adaptive).copy(server, file).unwrap();
    let calls = recorder.calls();
    assert_eq!(report.moved(), LEN as u64);
    assert_eq!(calls::moved_from(&calls, server.as_fd().as_raw_fd()), LEN as u64);
    assert_eq!(calls::moved_to(&calls, file.as_raw_fd()), LEN as u64);
    assert_eq!(files::position(file), LEN as u64);
    assert_same(&files::contents(file), &data::bytes(60, LEN));
    report
}

/// A socket whose queue has all bytes of the copy, and a file.
fn ends(kind: Stream) -> (Socket, File) {
    let (mut client, server) = kind.sockets();
    set_socket_send_buffer_size(&client, LEN).unwrap(); // doubled by the kernel
    client.write_all(&data::bytes(60, LEN)).unwrap();
    (server, files::empty())
}

/// Holds as many open files as the process may have.
struct Exhausted {
    before: Option<u64>,
    hoard: Vec<File>,
}

impl Exhausted {
    fn new() -> Exhausted {
        let before = limits::set_soft(Resource::Nofile, Some(200));
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
        limits::set_soft(Resource::Nofile, self.before);
    }
}

#[test]
fn without_a_descriptor_left_a_copy_reads_and_writes() {
    child::run("without_a_descriptor_left_a_copy_reads_and_writes", "child", || {
        let _leaks = fds::no_leaks();
        for kind in Stream::SOCKETS {
            for adaptive in [true, false] {
                let mut both = ends(kind);
                let exhausted = Exhausted::new();
                let report = upload(&mut both, adaptive);
                assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64, "{report:?}");
                if !adaptive {
                    let errno = Some(Errno::MFILE.raw_os_error());
                    assert_eq!(report.refused(Mechanism::Splice), errno);
                }
                assert_eq!((pool::in_use(), pool::idle()), (0, 0));
                drop((exhausted, both));

                pool::clear(); // otherwise the next few copies would not ask again
                let report = upload(&mut ends(kind), false);
                assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64, "it was only for then");
                pool::clear();
            }
        }
    });
}

#[test]
fn without_a_descriptor_left_a_pipe_of_the_pool_serves() {
    child::run("without_a_descriptor_left_a_pipe_of_the_pool_serves", "child", || {
        let _leaks = fds::no_leaks();
        upload(&mut ends(Stream::Unix), false);
        assert_eq!(pool::idle(), 1);
        let mut both = ends(Stream::Unix);
        let _exhausted = Exhausted::new();
        assert_eq!(upload(&mut both, false).moved_by(Mechanism::Splice), LEN as u64);
    });
}

/// A pipe takes two descriptors. The one that was left is not lost.
#[test]
fn with_one_descriptor_left_a_copy_reads_and_writes() {
    child::run("with_one_descriptor_left_a_copy_reads_and_writes", "child", || {
        let _leaks = fds::no_leaks();
        let mut both = ends(Stream::Unix);
        let mut exhausted = Exhausted::new();
        exhausted.hoard.pop();
        assert_eq!(upload(&mut both, false).moved_by(Mechanism::ReadWrite), LEN as u64);
    });
}

#[test]
fn every_way_of_not_getting_a_pipe_means_read_and_write() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::PERM, Errno::NOSYS] {
        let _leaks = fds::no_leaks();
        let _no_pipe = hook::replace(move |call| match call.syscall {
            Syscall::Pipe => Action::Fail(errno.raw_os_error()),
            _ => Action::Proceed,
        });
        let report = upload(&mut ends(Stream::Unix), false);
        assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64, "{errno}");
        assert_eq!(report.refused(Mechanism::Splice), Some(errno.raw_os_error()));
    }
}

/// A pipe that must not grow is used as it is. One of a page or two is not used at all.
#[test]
fn a_pipe_that_is_too_small_is_not_used() {
    let _leaks = fds::no_leaks();
    let cannot_grow = hook::replace(|call| match call.syscall {
        Syscall::SetPipeSize => Action::Fail(Errno::PERM.raw_os_error()),
        _ => Action::Proceed,
    });
    let report = upload(&mut ends(Stream::Unix), false);
    assert_eq!(report.moved_by(Mechanism::Splice), LEN as u64);
    pool::clear();
    let _tiny = hook::replace(|call| match call.syscall {
        Syscall::GetPipeSize => Action::Return(4096),
        _ => Action::Proceed,
    });
    let report = upload(&mut ends(Stream::Unix), false);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
    assert_eq!(report.refused(Mechanism::Splice), Some(Errno::NOBUFS.raw_os_error()));
    drop(cannot_grow);
}

/// A hundred relays that are stuck half-way hold at most half of the pool's pipes. The others hold their bytes in
/// memory. All of the bytes arrive.
#[test]
fn more_copies_than_pipes_lose_nothing() {
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
            set_socket_send_buffer_size(&to, 1).unwrap();
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
    assert!(pool::in_use() <= pool::MAX_IN_USE / 2 + 1, "{} are in use", pool::in_use());
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
