//! The few things that no safe interface offers, and the only unsafe code of the tool.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::io::{Errno, FdFlags, fcntl_getfd};

/// Which of the standard streams were closed when the program was started.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Notes which standard streams are closed, before std opens /dev/null in their place.
///
/// From then on the two cannot be told apart: Python, libuv and daemon(3) pass on, on purpose, a /dev/null
/// that is open for reading and writing, too.
extern "C" fn look() {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (closed, stream) in CLOSED.iter().zip(streams) {
        closed.store(fcntl_getfd(stream) == Err(Errno::BADF), Relaxed);
    }
}

// SAFETY: the section holds pointers to functions that the C library calls once, before main, on the only
// thread. `look` needs nothing that is set up later: it makes three system calls and stores what they say.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Another descriptor for what the process was started with as `number`; EBADF if there was none.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    let closed = usize::try_from(number).ok().and_then(|n| CLOSED.get(n));
    if number < 0 || closed.is_some_and(|closed| closed.load(Relaxed)) {
        return Err(Errno::BADF.into());
    }
    // SAFETY: it is not -1, and of a number that is not open the kernel says EBADF. One that is open was
    // passed on to this process, which never closes such a descriptor; or it fails the test below.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // Everything that is opened here is closed on exec, and what came through exec is not.
    if fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    fd.try_clone_to_owned()
}
