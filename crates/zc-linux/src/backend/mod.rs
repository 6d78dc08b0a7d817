//! The mechanisms: one file each.
//!
//! A mechanism makes one [`Step`] when told to. `Err` says that it cannot do this copy, or not any
//! further: nothing is lost by it, and the next mechanism of the route continues from the same byte.
//! [`Next::Done`] from any of them but read/write only *claims* the end of
//! input; a read has to confirm it.

pub(crate) mod copy_file_range;
pub(crate) mod read_write;
pub(crate) mod sendfile;
pub(crate) mod splice;
pub(crate) mod splice_direct;

use rustix::io::Errno;
use zc_core::{Fault, Next, Step};

use crate::sys::Syscall;

/// The most that one call moves between two files, in bytes: often enough for a progress bar,
/// seldom enough to cost nothing.
const CHUNK: u64 = 64 << 20;

/// Whether an errno of a zero-copy call means "this call cannot do it": for these descriptors, on
/// this file system, in this kernel or container. Where it means something worse, read/write will
/// find out and say so.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        // No such call for this kind of descriptor, or for one in append mode; overlapping ranges.
        Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP | Errno::SPIPE | Errno::ISDIR
        // Across file systems: before Linux 5.3, and for some pairs since 5.19.
        | Errno::XDEV
        // Kernels without the call; seccomp filters, which answer any of the three
        // (rust-lang/rust#75387: copy_file_range under docker).
        | Errno::NOSYS | Errno::PERM | Errno::ACCESS
        // CIFS (golang/go#42334), and file systems with a broken copy_file_range.
        | Errno::IO
        // Offsets near the top of the range; a swap file or a running program.
        | Errno::OVERFLOW | Errno::TXTBSY
        // No memory for the call's own bookkeeping.
        | Errno::NOMEM
    )
}

/// A step that moved `n` bytes from end to end.
fn moved(n: usize) -> Step {
    Step { taken: n as u64, delivered: n as u64, next: Next::Again }
}

fn failed(syscall: Syscall, errno: Errno) -> Next {
    Next::Failed(Fault::new(syscall.name(), errno))
}
