//! No pipe within the budget of the user, or of the pool: the copy reads and writes instead.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Mechanism, pool};
use zc_testkit::collector::Collector;
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{contents, position};
use zc_testkit::skip::skip;
use zc_testkit::sockets::Socket;
use zc_testkit::streams::Stream;
use zc_testkit::wait::eventually;
use zc_testkit::{child, files, limits};

const ENOBUFS: i32 = 105;
const LEN: usize = 2 << 20;
const FAR: u64 = 1 << 40;

/// The ends of a copy, made before descriptors run out.
struct Upload {
    sent: Vec<u8>,
    source: std::io::Take<Socket>,
    feeder: Feeder<usize>,
    file: File,
}

impl Upload {
    fn new(kind: Stream) -> Upload {
        let sent = bytes(0, LEN);
        let (ours, theirs) = kind.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        Upload { sent, source: ours.take(FAR), feeder, file: tempfile::tempfile().unwrap() }
    }

    /// Copies, and asserts everything but the mechanism.
    fn copy(mut self, adaptive: bool) -> zc_std::Report {
        let mut copier = Copier::new().adaptive(adaptive);
        let report = copier.copy(&mut self.source, &mut self.file).unwrap();
        assert_eq!((report.moved(), FAR - self.source.limit()), (LEN as u64, LEN as u64));
        assert_eq!(position(&self.file), LEN as u64);
        assert_joined(&self.sent, &[("the file", &contents(&self.file))]);
        self.feeder.finish().unwrap();
        report
    }
}

/// Beyond `pipe-user-pages-soft` an ordinary user's new pipes have two pages at most. Such a pipe is not worth a
/// splice.
#[test]
fn beyond_the_users_budget_of_pipes_a_copy_reads_and_writes() {
    child::run("beyond_the_users_budget_of_pipes_a_copy_reads_and_writes", "child", || {
        let _leaks = fds::no_leaks();
        let handle = std::thread::spawn(|| -> Result<(), String> {
            limits::become_ordinary_user(54_321)?;
            let hoard = hoard_pipes()?;
            let (mut to, peer) = Stream::Tcp.sockets();
            let reader = Collector::start(peer);
            for kind in Stream::SOCKETS {
                let report = Upload::new(kind).copy(false);
                assert_eq!(report.refused(Mechanism::Splice), Some(ENOBUFS), "{report:?}");
                assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
            }
            let Upload { sent, mut source, feeder, .. } = Upload::new(Stream::Tcp);
            let report = Copier::new().copy(&mut source, &mut to).unwrap();
            assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64);
            drop(to);
            assert_joined(&sent, &[("what arrived", &reader.finish())]);
            feeder.finish().unwrap();
            assert_eq!((pool::in_use(), pool::idle()), (0, 0), "small pipes are not kept");

            // Once the budget is free there are pipes again.
            drop(hoard);
            pool::clear(); // otherwise the next few copies would not ask again
            let report = Upload::new(Stream::Unix).copy(false);
            assert_eq!(report.mechanism(), Some(Mechanism::Splice), "{report:?}");
            Ok(())
        });
        match handle.join() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => skip(&why),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
}

/// Takes the user's pipe pages until new pipes are small.
fn hoard_pipes() -> Result<Vec<(OwnedFd, OwnedFd)>, String> {
    const DEFAULT: usize = 64 << 10;
    const MAX: usize = 1 << 20;
    const FAIRLY_MANY: usize = 2048;
    let mut hoard = Vec::new();
    while hoard.len() < FAIRLY_MANY {
        let pipe = rustix::pipe::pipe().map_err(|errno| format!("a pipe to hoard: {errno}"))?;
        let size = fcntl_getpipe_size(&pipe.1).map_err(|errno| format!("F_GETPIPE_SZ: {errno}"))?;
        // Beyond the budget the pipe stays small.
        let _ = fcntl_setpipe_size(&pipe.1, MAX);
        hoard.push(pipe);
        if size < DEFAULT {
            return Ok(hoard);
        }
    }
    Err(format!("{FAIRLY_MANY} large pipes are still within the user's budget"))
}

/// The pipes are in use by copies in the middle of a call.
#[test]
fn with_all_pipes_of_the_pool_in_use_a_copy_reads_and_writes() {
    let _leaks = fds::no_leaks();
    let go_on = Arc::new(Barrier::new(pool::MAX_IN_USE + 1));
    let mut copies = Vec::new();
    for _ in 0..pool::MAX_IN_USE {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&[7; 100_000]).unwrap();
        drop(client);
        let go_on = Arc::clone(&go_on);
        copies.push(std::thread::spawn(move || {
            let mut file = files::on_disk(b"");
            let (to, mut waits) = (file.as_raw_fd(), true);
            let _stuck = hook::replace(move |call| {
                if call.syscall == Syscall::Splice && call.to == Some(to) && waits {
                    waits = false;
                    go_on.wait();
                }
                Action::Proceed
            });
            Copier::new().adaptive(false).copy(&mut &stream, &mut file).unwrap();
            assert!(contents(&file) == [7; 100_000]);
        }));
    }
    eventually("all pipes are in use", || pool::in_use() == pool::MAX_IN_USE);
    let report = Upload::new(Stream::Unix).copy(false);
    assert_eq!(report.refused(Mechanism::Splice), Some(ENOBUFS));
    go_on.wait();
    copies.into_iter().for_each(|copy| copy.join().unwrap());
    assert_eq!(pool::in_use(), 0);
    assert!(pool::idle() <= pool::MAX_IDLE);
    let report = Upload::new(Stream::Unix).copy(false);
    assert_eq!(report.mechanism(), Some(Mechanism::Splice));
}
