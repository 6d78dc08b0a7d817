//! The mechanisms: one file each.
//!
//! A mechanism moves some bytes when told to, and gives an [`Answer`]. "Not now", "not this way" and "not at
//! all" are three answers, and none stands in for another. A refusal taken for an error would fail a copy that
//! read/write can make. An error taken for a refusal would be lost: a socket reports it once.

pub(crate) mod copy_file_range;
pub(crate) mod discard;
pub(crate) mod hole;
pub(crate) mod read_write;
pub(crate) mod sendfile;
pub(crate) mod splice_direct;
pub(crate) mod splice_through;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zc_core::driver::StepError;
use zc_core::{End, Side};

use crate::claim::Claim;
use crate::flight::Flight;
pub(crate) use crate::outcome::Outcome;
use crate::sys::{self, Syscall};

/// What a mechanism did, and what it says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Bytes taken from the source. Those that were not delivered are in flight.
    pub(crate) taken: u64,
    /// Bytes delivered to the sink.
    pub(crate) delivered: u64,
    /// How many of these were written into a claim that could not be given back.
    pub(crate) written: u64,
    pub(crate) outcome: Outcome,
}

impl Answer {
    /// `n` bytes were moved from end to end.
    pub(crate) fn moved(n: u64) -> Self {
        let outcome = Outcome::Moved { drained: false, full: false };
        Answer { taken: n, delivered: n, written: 0, outcome }
    }

    /// `n` bytes were taken, and are in flight.
    #[inline(always)]
    pub(crate) fn took(n: u64, outcome: Outcome) -> Self {
        Answer { taken: n, delivered: 0, written: 0, outcome }
    }

    /// `n` bytes were delivered that were in flight.
    #[inline(always)]
    pub(crate) fn gave(n: u64, outcome: Outcome) -> Self {
        Answer { taken: 0, delivered: n, written: 0, outcome }
    }

    /// `n` bytes of a source's range were taken, of which `delivered`; what is left of it is settled.
    fn from_claim(
        (n, delivered): (u64, u64),
        outcome: Outcome,
        rest: Claim<'_>,
        flight: &mut Flight,
    ) -> Self {
        if rest.is_private() {
            // It may be short for another reason than that the sink is full; the next step finds out.
            let outcome = match outcome {
                Outcome::Moved { drained, .. } => Outcome::Moved { drained, full: false },
                outcome => outcome,
            };
            return Answer { taken: n, delivered, written: 0, outcome };
        }
        let (more, outcome) = match outcome {
            // Nothing was moved, and nothing but the claim was made.
            Outcome::Refused(_) if n == 0 => (rest.give_back_or_keep(flight), outcome),
            Outcome::Failed(_) => (rest.give_back_or_keep(flight), outcome),
            outcome => {
                let (more, error) = rest.keep(flight);
                // What was left unsent because the file had become shorter says nothing about the sink.
                let outcome = match outcome {
                    Outcome::Moved { drained, full } => {
                        Outcome::Moved { drained, full: full && more > 0 }
                    }
                    outcome => outcome,
                };
                (more, error.map_or(outcome, Outcome::failed))
            }
        };
        Answer { taken: n + more, delivered, written: 0, outcome }
    }
}

/// Nothing was moved.
impl From<Outcome> for Answer {
    #[inline(always)]
    fn from(outcome: Outcome) -> Self {
        Answer { taken: 0, delivered: 0, written: 0, outcome }
    }
}

/// Whether an errno of a call that touches no socket means "this call cannot do it": for these descriptors,
/// on this file system, in this kernel or container. Where it means something worse, read/write finds
/// out and says so.
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

/// Whether an errno of a call that touches a socket means "this call cannot do it". Every other one may be
/// the socket's pending error, which it reports once: a fallback that asked again would take it for the
/// end. (Any errno that an ICMP message brings may be pending, EACCES, EOPNOTSUPP and ENOPROTOOPT among
/// them: net/ipv4/icmp.c, net/ipv6/icmp.c.)
fn is_refusal_at_socket(errno: Errno) -> bool {
    matches!(
        errno,
        // A protocol without the call, and a file that cannot be sent from.
        Errno::INVAL | Errno::SPIPE | Errno::OVERFLOW | Errno::BADF
        // Kernels without the call; seccomp filters.
        | Errno::NOSYS | Errno::PERM
    )
}

/// Whether `to` is in blocking mode.
pub(crate) fn waits(to: End<'_>) -> bool {
    !sys::flags(to.fd.fd()).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

/// Whether `to`, which has no room, would not be waited for, so that nothing is claimed for it.
///
/// poll(2) can be believed where a sink is full to the last byte, unlike where there is little room. And
/// only a call that has met a full TCP socket makes it tell an edge-triggered waiter of room
/// (SOCK_NOSPACE).
fn is_full(to: End<'_>) -> bool {
    !waits(to) && sys::is_ready(to.fd.fd(), PollFlags::OUT) == Ok(false)
}

/// What a call that lends a file's pages to `to` means by this errno.
fn not_lent(to: End<'_>, syscall: Syscall, errno: Errno, is_refusal: fn(Errno) -> bool) -> Outcome {
    match errno {
        // No room in the file's own file system: before Linux 5.18 a hole of a tmpfs file is given pages when
        // it is lent.
        Errno::NOSPC => Outcome::Refused(errno),
        // The sink is full, unless poll knows of room: some file systems in user space answer a read so.
        Errno::AGAIN => match sys::is_ready(to.fd.fd(), PollFlags::OUT) {
            Ok(false) => Outcome::WantWrite,
            _ => Outcome::Unclear,
        },
        errno if is_refusal(errno) => Outcome::Refused(errno),
        errno => failed(None, syscall, errno),
    }
}

fn failed(side: Option<Side>, syscall: Syscall, errno: Errno) -> Outcome {
    Outcome::failed(StepError { side, syscall: syscall.name(), error: errno.into() })
}
