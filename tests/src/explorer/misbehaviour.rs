//! What a system call can do wrong, and which of it a kernel may do.

use std::fmt;

use zc_std::hook::{Action, Call, Record, Syscall};

/// The errnos that are injected, by name.
pub mod errno {
    pub use libc::{
        EACCES, EAGAIN, EBADF, ECONNRESET, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR,
        EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EOVERFLOW, EPERM, EPIPE, ESPIPE,
        ETIMEDOUT, ETXTBSY, EXDEV,
    };

    /// All of them: those of the manual pages, and those seen in the field. New ones go to the end, so that the
    /// fuzzer's corpus still decodes to the same.
    pub const ALL: [i32; 24] = [
        EINTR, EAGAIN, EINVAL, ENOSYS, EPERM, EXDEV, EOPNOTSUPP, EIO, EBADF, EPIPE, ECONNRESET,
        ENOSPC, EDQUOT, EFBIG, ETIMEDOUT, ENOMEM, EMFILE, ENFILE, EOVERFLOW, EACCES, ESPIPE,
        EISDIR, ETXTBSY, EFAULT,
    ];

    /// Errnos by which a zero-copy call refuses: the copy goes on without that call.
    pub(crate) const REFUSALS: [i32; 13] = [
        EINVAL, ENOSYS, EPERM, EACCES, EXDEV, EOPNOTSUPP, EIO, EBADF, ESPIPE, EISDIR, EOVERFLOW,
        ETXTBSY, ENOMEM,
    ];

    /// Errnos by which it refuses at a socket. Any other one may be an error of the socket's own, which the socket
    /// tells of once.
    pub(crate) const REFUSALS_AT_SOCKETS: [i32; 5] = [EINVAL, ENOSYS, EPERM, ESPIPE, EOVERFLOW];

    /// One for each way in which the engine takes an errno: it waits, goes on by another mechanism, or gives up.
    /// (EINTR, the fourth, never leaves the table of calls.)
    pub const CLASSES: [i32; 3] = [EAGAIN, EINVAL, ENOSPC];

    /// The name, or the number where it has none here.
    pub(crate) fn name(errno: i32) -> String {
        macro_rules! name {
            ($($name:ident)*) => {
                match errno {
                    $($name => stringify!($name).to_owned(),)*
                    other => other.to_string(),
                }
            };
        }
        name!(EACCES EAGAIN EBADF ECONNRESET EDQUOT EFAULT EFBIG EINTR EINVAL EIO EISDIR EMFILE
              ENFILE ENOMEM ENOSPC ENOSYS EOPNOTSUPP EOVERFLOW EPERM EPIPE ESPIPE ETIMEDOUT ETXTBSY
              EXDEV)
    }
}

/// Page size, for the short counts around it.
const PAGE: usize = 4096;

/// One way for one system call to misbehave.
///
/// Only what a kernel may do. A call that fails has moved nothing, so every errno is possible for every call. A count
/// may be short at any length of at least one byte. What 0 means depends on the call:
///
/// - from splice, sendfile and copy_file_range it proves nothing (procfs), and the copy has to survive it;
/// - from write it is the `WriteZero` error;
/// - from a read of the *source* it is, by definition, the end of the input. The copy returns `Ok` with what it has,
///   loses nothing by it, and the next copy goes on. Where it would be false (a chain of sources goes on to the next
///   link for good), the subject forbids it with [`Faults::forbid`](super::Faults::forbid);
/// - from a read of the engine's own pipe it is impossible, and is an error without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misbehaviour {
    /// The call is not made, and fails with this errno.
    Fail(i32),
    /// The call is made, but moves at most this many bytes.
    Short(usize),
    /// The call is not made, and returns 0.
    Zero,
    /// A call that moves no bytes is not made, and gives this answer: a pipe of one page, or a sink that is not ready
    /// after all.
    Answer(usize),
    /// Another user of the same open files acts just before the call, which is made as it is. Only in a shared
    /// scenario.
    Meanwhile(Act),
}

/// What another user of the copy's ends does, through duplicates of their descriptors, or a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Writes to the sink.
    Write,
    /// Copies into the sink, on another thread.
    CopyIn,
    /// Reads from the source.
    Read,
    /// Copies out of the source, on another thread.
    CopyOut,
    /// Moves the offset of the source's file.
    Skip,
    /// Forks: the child makes a copy of its own, and exits.
    Fork,
}

use Misbehaviour::{Answer, Fail, Meanwhile, Short, Zero};

impl Misbehaviour {
    /// What the hook does to `call`; `None` where the call cannot misbehave like this.
    pub(crate) fn action(self, call: &Call) -> Option<Action> {
        match self {
            Fail(errno) => Some(Action::Fail(errno)),
            Short(n) if moves_bytes(call) && n < call.len => Some(Action::Limit(n)),
            Zero if moves_bytes(call) => Some(Action::Return(0)),
            Answer(n) if answers(call) => Some(Action::Return(n)),
            Short(_) | Zero | Answer(_) | Meanwhile(_) => None,
        }
    }
}

fn moves_bytes(call: &Call) -> bool {
    call.len > 0
}

fn answers(call: &Call) -> bool {
    matches!(call.syscall, Syscall::GetPipeSize | Syscall::SetPipeSize | Syscall::Poll)
}

impl fmt::Display for Misbehaviour {
    /// As Rust source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail(errno) => write!(f, "Fail({})", errno::name(*errno)),
            Short(n) => write!(f, "Short({n})"),
            Zero => f.write_str("Zero"),
            Answer(n) => write!(f, "Answer({n})"),
            Meanwhile(act) => write!(f, "Meanwhile(Act::{act:?})"),
        }
    }
}

/// How many of the ways to misbehave are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    /// Every errno, every interesting short count.
    Full,
    /// One of each class, for products of several calls.
    Brief,
}

impl Menu {
    /// The ways in which a call can misbehave that went as `seen` says without a fault.
    pub fn of(self, seen: &Record) -> Vec<Misbehaviour> {
        let mut menu: Vec<_> = match self {
            Menu::Full => errno::ALL.into_iter().map(Fail).collect(),
            Menu::Brief if seen.call.syscall == Syscall::Seek => vec![Fail(errno::ESPIPE)],
            Menu::Brief if seen.call.syscall == Syscall::Kcmp => vec![Fail(errno::EAGAIN)],
            Menu::Brief if !moves_bytes(&seen.call) => vec![Fail(errno::EMFILE)],
            Menu::Brief => errno::CLASSES.into_iter().map(Fail).collect(),
        };
        if moves_bytes(&seen.call) {
            menu.push(Zero);
        }
        match seen.call.syscall {
            Syscall::GetPipeSize | Syscall::SetPipeSize => menu.push(Answer(PAGE)),
            Syscall::Poll => menu.extend([Answer(0), Answer(1)]),
            _ => {}
        }
        let moved = seen.moved();
        let mut shorts = match self {
            Menu::Full => {
                vec![1, PAGE - 1, PAGE, PAGE + 1, 4 * PAGE, moved / 2, moved.saturating_sub(1)]
            }
            Menu::Brief => vec![1, moved.saturating_sub(1)],
        };
        shorts.retain(|&n| 0 < n && n < moved);
        shorts.sort_unstable();
        shorts.dedup();
        menu.extend(shorts.into_iter().map(Short));
        menu
    }
}

/// Any misbehaviour, from a source of numbers. It may not fit the call that it meets.
pub(crate) fn any(mut number: impl FnMut(usize) -> usize) -> Misbehaviour {
    const SHORTS: [usize; 8] = [1, 2, 511, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 4 * PAGE];
    match number(8) {
        0..=2 => Fail(errno::ALL[number(errno::ALL.len())]),
        3 => Fail(errno::CLASSES[number(errno::CLASSES.len())]),
        4 => Zero,
        5 => Short(SHORTS[number(SHORTS.len())]),
        6 => Short(1 + number(3 * PAGE)),
        _ => Answer([0, 1, PAGE][number(3)]),
    }
}
