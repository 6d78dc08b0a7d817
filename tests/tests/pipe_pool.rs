//! The pool's pipes are this process's own, of the sizes in use, and counted right whatever happens.

use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, pool};

/// The pool is the process's, and so are the tests.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

    // SAFETY: the child takes the pool's lock, which nobody holds (see `alone`), and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let inherited = i32::from(pool::idle() > 0);
        // SAFETY: it runs no destructor and no exit handler.
        unsafe { libc::_exit(inherited) };
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 0, "the child would share its parent's pipes");
    assert_eq!(pool::idle(), 1, "the parent keeps its own");
}

#[test]
fn sizes_no_longer_used_make_room() {
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
    assert_eq!((pool::lent(), pool::idle()), (0, 0));
}
