//! The pool's pipes are this process's own, of the sizes in use, and always counted right.

use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, pool};

/// One test at a time: the pool is the process's.
fn alone() -> MutexGuard<'static, ()> {
    let alone = zc_testkit::serial::serial();
    pool::clear();
    alone
}

/// Splices a few bytes through a pipe of `size` bytes.
fn splice_through(size: usize) {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"some bytes").unwrap();
    drop(client);
    let mut file = tempfile::tempfile().unwrap();
    let mut copier = Copier::new().adaptive(false).pipe_size(size);
    assert_eq!(copier.copy(&mut &stream, &mut file).unwrap().moved(), 10);
    let mut content = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "some bytes");
}

#[test]
fn a_forked_child_starts_with_none() {
    let _alone = alone();
    splice_through(1 << 16);
    assert_eq!(pool::idle(), 1);

    // SAFETY: the child takes the pool's lock, which no thread holds (see `alone`), and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let inherited = i32::from(pool::idle() > 0);
        // SAFETY: it runs no destructor and no exit handler.
        unsafe { libc::_exit(inherited) };
    }
    assert_eq!(status(child), 0, "the child would share its parent's pipes");
    assert_eq!(pool::idle(), 1, "the parent keeps its own");
}

/// Waits for a child, which has to exit.
fn status(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    libc::WEXITSTATUS(status)
}

/// A process with the number 1 in its PID namespace forks another number 1, as the first process of a container may.
#[test]
fn a_child_of_the_same_number_starts_with_none() {
    let _alone = alone();
    const NOT_PERMITTED: i32 = 77;
    // SAFETY: as in the test above, and so for the processes that this one forks.
    let outer = unsafe { libc::fork() };
    if outer == 0 {
        // SAFETY: none of these calls takes a pointer, and none of the processes returns from here.
        unsafe {
            if libc::unshare(libc::CLONE_NEWPID) != 0 {
                libc::_exit(NOT_PERMITTED);
            }
            let first = libc::fork();
            if first != 0 {
                libc::_exit(status(first));
            }
            splice_through(1 << 16);
            let warm = if libc::getpid() == 1 { pool::idle() } else { 0 };
            libc::unshare(libc::CLONE_NEWPID);
            let second = libc::fork();
            if second == 0 {
                libc::_exit(i32::from(libc::getpid() != 1 || pool::idle() > 0));
            }
            libc::_exit(status(second) | i32::from(warm != 1 || pool::idle() != 1));
        }
    }
    match status(outer) {
        NOT_PERMITTED => zc_testkit::skip::skip("PID namespaces are for root alone"),
        status => assert_eq!(status, 0, "the child would share its parent's pipes"),
    }
}

/// The child may have other files under the numbers of its parent's pipes.
#[test]
fn a_forked_child_that_has_closed_everything_loses_nothing() {
    let _alone = alone();
    splice_through(1 << 16);
    // SAFETY: as above.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no code of this process uses the descriptors that are closed here, and it runs no destructors. The
        // path is a C string.
        let lost = unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
            let open = |_| libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            let mine: Vec<_> = (0..40).map(open).collect();
            splice_through(1 << 16);
            mine.iter().filter(|&&fd| libc::fcntl(fd, libc::F_GETFD) < 0).count()
        };
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(lost > 0)) };
    }
    assert_eq!(status(child), 0, "descriptors of its own were closed behind its back");
    assert_eq!(pool::idle(), 1, "the parent keeps its own");
}

#[test]
fn pipes_of_sizes_no_longer_used_make_room() {
    let _alone = alone();
    for i in 0..pool::MAX_IDLE {
        splice_through((1 << 16) + i);
    }
    assert_eq!(pool::idle(), pool::MAX_IDLE);
    splice_through(1 << 17);
    assert_eq!(pool::idle(), pool::MAX_IDLE);

    let recorder = hook::record();
    splice_through(1 << 17);
    assert!(recorder.calls_to(Syscall::Pipe).is_empty(), "made anew each time");
}

#[test]
fn a_panic_on_the_way_to_a_pipe_lends_none() {
    let _alone = alone();
    let guard = hook::replace(|call| match call.syscall {
        Syscall::Pipe => panic!("on purpose"),
        _ => Action::Proceed,
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| splice_through(1 << 16)));
    drop(guard);
    assert!(outcome.is_err());
    assert_eq!((pool::in_use(), pool::idle()), (0, 0));
}
