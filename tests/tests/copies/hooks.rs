//! The hook table: it records and replaces calls, nests, is per thread, and goes with its guard.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Barrier;
use std::time::Duration;

use rustix::io::Errno;
use zc_std::hook::{self, Action, Call, Record, Syscall};
use zc_std::{Copier, CopyError, Mechanism, Report};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{calls, fds, files, sockets};

const LEN: usize = 30_000;

/// An upload of `LEN` bytes into a file. They are spliced if the hooks allow it.
struct Upload {
    data: Vec<u8>,
    server: UnixStream,
    file: File,
}

impl Upload {
    fn new() -> Upload {
        let data = data::bytes(10, LEN);
        let (mut client, server) = sockets::unix();
        client.write_all(&data).unwrap();
        Upload { data, server, file: files::empty() }
    }

    fn run(&mut self) -> Result<Report, CopyError> {
        Copier::new().adaptive(false).copy(&mut &self.server, &mut self.file)
    }

    /// Asserts that every byte arrived.
    fn check(mut self) -> Report {
        let report = self.run().unwrap();
        assert_eq!(report.moved(), LEN as u64);
        assert_eq!(files::position(&self.file), LEN as u64);
        assert_same(&files::contents(&self.file), &self.data);
        report
    }
}

fn fail(syscall: Syscall, errno: Errno) -> impl Fn(&Call) -> Action {
    move |call| {
        if call.syscall == syscall { Action::Fail(errno.raw_os_error()) } else { Action::Proceed }
    }
}

// ---- Recording ----------------------------------------------------------------------------------

#[test]
fn a_recorder_tells_call_descriptors_length_and_answer() {
    let _leaks = fds::no_leaks();
    let upload = Upload::new();
    let (from, to) = (upload.server.as_raw_fd(), upload.file.as_raw_fd());
    let recorder = hook::record();
    let report = upload.check();

    let calls = recorder.calls();
    assert_eq!(
        calls::names(&calls::movers(&calls)),
        [Syscall::Splice, Syscall::Splice, Syscall::Splice, Syscall::Read]
    );
    assert_eq!(report.calls(), calls.len() as u64);
    calls::assert_spliced_through_a_pipe(&calls, from, to);
    let splices = recorder.calls_to(Syscall::Splice);
    assert_eq!(splices.iter().map(|r| r.result).collect::<Vec<_>>(), [Ok(LEN), Ok(LEN), Ok(0)]);
    assert_eq!(splices.iter().map(Record::moved).collect::<Vec<_>>(), [LEN, LEN, 0]);
    assert!(splices[0].call.len >= LEN, "room for all of it");
    assert_eq!(splices[1].call.len, LEN, "what is in the pipe");
    let pipes = recorder.calls_to(Syscall::Pipe);
    assert_eq!((pipes[0].call.len, pipes[0].result, pipes[0].moved()), (0, Ok(0), 0));
}

#[test]
fn a_recorder_forgets_when_told_and_ends_with_its_drop() {
    let _leaks = fds::no_leaks();
    let (first, second) = (hook::record(), hook::record());
    Upload::new().check();
    let seen = first.calls();
    assert!(!seen.is_empty());
    assert_eq!(seen, second.calls(), "both see everything");
    first.clear();
    assert!(first.calls().is_empty());
    assert_eq!(second.calls(), seen);
    drop(second);
    Upload::new().check();
    assert!(!first.calls().is_empty());
}

#[test]
fn a_recorder_sees_failures_and_replaced_calls() {
    let _leaks = fds::no_leaks();
    let recorder = hook::record();
    let _no_pipes = hook::replace(fail(Syscall::Pipe, Errno::MFILE));
    Upload::new().check();
    let pipes = recorder.calls_to(Syscall::Pipe);
    assert_eq!(pipes[0].result, Err(Errno::MFILE.raw_os_error()));
    assert_eq!(pipes[0].moved(), 0);
}

// ---- Replacing ----------------------------------------------------------------------------------

#[test]
fn proceed_changes_nothing() {
    let _leaks = fds::no_leaks();
    let _hook = hook::replace(|_| Action::Proceed);
    assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::Splice));
}

#[test]
fn fail_keeps_the_call_from_being_made() {
    let _leaks = fds::no_leaks();
    let mut upload = Upload::new();
    let file = upload.file.as_raw_fd();
    let hook = hook::replace(move |call| {
        if call.to == Some(file) {
            Action::Fail(Errno::NOSPC.raw_os_error())
        } else {
            Action::Proceed
        }
    });
    let mut copier = Copier::new().adaptive(false);
    let error = copier.copy(&mut &upload.server, &mut upload.file).unwrap_err();
    assert_eq!((error.kind(), error.moved()), (io::ErrorKind::StorageFull, 0));
    assert_eq!(error.syscall(), Some("splice"));
    assert_eq!(copier.in_flight(), LEN);
    assert_eq!(files::contents(&upload.file), b"");
    assert_eq!(files::position(&upload.file), 0);

    // The disk has room again, and the same copier goes on.
    drop(hook);
    let report = copier.copy(&mut &upload.server, &mut upload.file).unwrap();
    assert_eq!((report.moved(), copier.in_flight()), (LEN as u64, 0));
    assert_same(&files::contents(&upload.file), &upload.data);
}

#[test]
fn limit_lets_a_call_move_less_and_no_more() {
    let _leaks = fds::no_leaks();
    let recorder = hook::record();
    let _hook = hook::replace(|call| match call.syscall {
        Syscall::Splice => Action::Limit(777),
        _ => Action::Proceed,
    });
    Upload::new().check();
    let splices = recorder.calls_to(Syscall::Splice);
    assert!(splices.iter().all(|record| record.result.unwrap() <= 777));
    assert_eq!(splices.len(), 2 * LEN.div_ceil(777) + 1);
}

/// A read of 0 bytes says that the source has ended, and does not wait for it.
#[test]
fn limit_0_ends_a_silent_socket() {
    let _leaks = fds::no_leaks();
    let none = hook::replace(|call| match call.syscall {
        Syscall::Read => Action::Limit(0),
        _ => Action::Proceed,
    });
    let (_silent, mut stream) = sockets::tcp_v4();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let report = Copier::new().copy(&mut stream, &mut files::empty()).unwrap();
    assert_eq!((report.moved(), report.calls()), (0, 1));
    drop(none);
}

#[test]
fn return_answers_for_the_kernel() {
    let _leaks = fds::no_leaks();
    let _hook = hook::replace(|call| match call.syscall {
        Syscall::CopyFileRange => Action::Return(0),
        _ => Action::Proceed,
    });
    let data = data::bytes(11, LEN);
    let (mut from, mut to) = (files::holding(&data), files::empty());
    let report = Copier::new().adaptive(false).copy(&mut from, &mut to).unwrap();
    assert!(report.tried(Mechanism::CopyFileRange));
    assert_eq!(report.moved_by(Mechanism::CopyFileRange), 0);
    assert_same(&files::contents(&to), &data);
}

#[test]
fn a_hook_sees_the_call_before_it_is_made() {
    let _leaks = fds::no_leaks();
    let upload = Upload::new();
    let file = upload.file.try_clone().unwrap();
    let lengths = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&lengths);
    let to = upload.file.as_raw_fd();
    let hook = hook::replace(move |call| {
        if call.to == Some(to) {
            seen.borrow_mut().push((call.len, file.metadata().unwrap().len()));
        }
        Action::Proceed
    });
    upload.check();
    assert_eq!(*lengths.borrow(), [(LEN, 0)]);
    drop(hook);
    assert_eq!(Rc::strong_count(&lengths), 1, "the hook went with its guard");
}

// ---- Nesting ------------------------------------------------------------------------------------

#[test]
fn the_innermost_hook_is_asked_first_and_the_next_about_what_it_lets_go_on() {
    let _leaks = fds::no_leaks();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name: &'static str, action: Action| {
        let order = Rc::clone(&order);
        move |call: &Call| {
            if call.syscall != Syscall::Splice {
                return Action::Proceed;
            }
            order.borrow_mut().push((name, call.len));
            action
        }
    };
    let _outer = hook::replace(note("outer", Action::Limit(5_000)));
    let recorder = hook::record();
    let _middle = hook::replace(note("middle", Action::Limit(50_000)));
    let _inner = hook::replace(note("inner", Action::Limit(10_000)));
    Upload::new().check();

    let order = order.borrow();
    let splices = recorder.calls_to(Syscall::Splice);
    assert_eq!(order.len(), 3 * splices.len());
    for (asked, record) in order.chunks(3).zip(&splices) {
        let len = record.call.len;
        let limited = len.min(10_000);
        assert_eq!(asked, [("inner", len), ("middle", limited), ("outer", limited)]);
        assert!(record.result.unwrap() <= 5_000, "the least of the limits counts");
    }
}

#[test]
fn an_outer_hook_is_not_asked_about_a_call_that_is_not_made() {
    let _leaks = fds::no_leaks();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    let _outer = hook::replace(move |call| {
        seen.borrow_mut().push(call.syscall);
        Action::Proceed
    });
    let inner = hook::replace(fail(Syscall::Splice, Errno::INVAL));
    assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::ReadWrite));
    assert!(!asked.borrow().contains(&Syscall::Splice));
    assert!(asked.borrow().contains(&Syscall::Read));
    drop(inner);
    Upload::new().check();
    assert!(asked.borrow().contains(&Syscall::Splice));
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let _leaks = fds::no_leaks();
    let recorder = hook::record();
    let no_pipe = hook::replace(fail(Syscall::Pipe, Errno::MFILE));
    let no_splice = hook::replace(fail(Syscall::Splice, Errno::INVAL));
    let small = hook::replace(|_| Action::Limit(1000));

    drop(no_pipe);
    assert_eq!(Upload::new().check().refused(Mechanism::Splice), Some(22));
    drop(no_splice);
    recorder.clear();
    assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::Splice));
    assert!(recorder.calls().iter().all(|record| record.moved() <= 1000), "the last one is there");
    drop(recorder);
    drop(small);
    assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::Splice));
}

// ---- Threads ------------------------------------------------------------------------------------

#[test]
fn threads_do_not_see_each_others_hooks() {
    let _leaks = fds::no_leaks();
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        let hooked = scope.spawn(|| {
            let recorder = hook::record();
            let _hook = hook::replace(fail(Syscall::Splice, Errno::INVAL));
            both.wait();
            for _ in 0..20 {
                assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::ReadWrite));
            }
            both.wait();
            recorder.calls()
        });
        let free = scope.spawn(|| {
            let recorder = hook::record();
            both.wait();
            for _ in 0..20 {
                assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::Splice));
            }
            both.wait();
            recorder.calls()
        });
        let (hooked, free) = (hooked.join().unwrap(), free.join().unwrap());
        // Each recorder has the 20 copies of its own thread, and no others.
        assert_eq!(calls::moved_by(&hooked, Syscall::Write), 20 * LEN as u64);
        assert_eq!(calls::moved_by(&hooked, Syscall::Splice), 0);
        assert_eq!(calls::moved_by(&free, Syscall::Splice), 2 * 20 * LEN as u64);
        assert_eq!(calls::moved_by(&free, Syscall::Write), 0);
    });
}

// ---- Panics -------------------------------------------------------------------------------------

#[test]
fn a_panic_takes_the_hook_away() {
    let _leaks = fds::no_leaks();
    let panicked = catch_unwind(|| {
        let _hook = hook::replace(fail(Syscall::Splice, Errno::INVAL));
        let _recorder = hook::record();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.is_err());
    assert_eq!(Upload::new().check().mechanism(), Some(Mechanism::Splice));
}

/// The panic passes through the copy. The copier still has the bytes in flight.
#[test]
fn a_hook_that_panics_loses_no_bytes() {
    let _leaks = fds::no_leaks();
    let mut upload = Upload::new();
    let mut copier = Copier::new().adaptive(false);
    let to = upload.file.as_raw_fd();
    let guard = hook::replace(move |call| {
        if call.to == Some(to) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        Action::Proceed
    });
    let panicked =
        catch_unwind(AssertUnwindSafe(|| copier.copy(&mut &upload.server, &mut upload.file)));
    assert!(panicked.is_err());
    drop(guard);
    assert_eq!(copier.in_flight(), LEN);
    let report = copier.copy(&mut &upload.server, &mut upload.file).unwrap();
    assert_eq!((report.moved(), copier.in_flight()), (LEN as u64, 0));
    assert_same(&files::contents(&upload.file), &upload.data);
}

/// A guard in a thread-local is dropped as the thread ends, before the hooks or after them.
#[test]
fn a_guard_may_end_with_its_thread() {
    thread_local! {
        static KEPT: RefCell<Option<hook::Guard>> = const { RefCell::new(None) };
    }
    for hooks_first in [true, false] {
        let thread = std::thread::spawn(move || {
            if hooks_first {
                drop(hook::record());
            }
            KEPT.with_borrow(|kept| assert!(kept.is_none()));
            KEPT.set(Some(hook::replace(|_| Action::Proceed)));
        });
        thread.join().unwrap();
    }
}

/// A destructor makes a copy after the thread's hooks are gone.
#[test]
fn a_thread_without_hooks_any_more_may_still_copy() {
    struct CopiesAtTheEnd;
    impl Drop for CopiesAtTheEnd {
        fn drop(&mut self) {
            Upload::new().check();
        }
    }
    thread_local! {
        static LATE: CopiesAtTheEnd = const { CopiesAtTheEnd };
    }
    let _leaks = fds::no_leaks();
    for hooks_first in [true, false] {
        let thread = std::thread::spawn(move || {
            if hooks_first {
                drop(hook::record());
            }
            LATE.with(|_| {});
            drop(hook::record());
        });
        thread.join().unwrap();
    }
}

// ---- Hooks that copy ------------------------------------------------------------------------------

#[test]
fn a_hook_may_copy_and_is_not_asked_about_its_own_calls() {
    let _leaks = fds::no_leaks();
    let recorder = hook::record();
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    let _hook = hook::replace(move |_| {
        *count.borrow_mut() += 1;
        Upload::new().check();
        Action::Proceed
    });
    Upload::new().check();

    let asked = *asked.borrow();
    assert!(asked > 0);
    // The hook's own copies are recorded: one by the engine, and one for each call that the hook saw.
    let spliced = calls::moved_by(&recorder.calls(), Syscall::Splice);
    assert_eq!(spliced, 2 * (1 + asked) * LEN as u64);
}

/// A hook may install hooks, which see the calls after this one.
#[test]
fn a_hook_may_install_another() {
    let _leaks = fds::no_leaks();
    let mut installed = None;
    let _hook = hook::replace(move |call| {
        if call.syscall == Syscall::Pipe {
            installed = Some(hook::replace(fail(Syscall::Splice, Errno::INVAL)));
        }
        let _ = &installed;
        Action::Proceed
    });
    assert_eq!(Upload::new().check().refused(Mechanism::Splice), Some(22));
}
