//! The options of a copy.

use std::time::Duration;

/// How large a pipe is asked for, in bytes, unless a copier says otherwise.
///
/// What counts is how many slots the pipe has, since each segment takes one. From a TCP socket a pipe
/// of 1 MiB halves the receiver's CPU time against one of 256 KiB. It empties the queue in fewer calls,
/// each of which ends in window updates to the sender. It is also what an ordinary user may ask for at
/// most, by default (/proc/sys/fs/pipe-max-size).
const PIPE_SIZE: usize = 1 << 20;

/// Whether the kernel may lend page-cache pages instead of copying bytes.
///
/// Lent pages are the file's own: a write to the file after the copy changes bytes that were "copied"
/// but are not yet read at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageSharing {
    /// From a file to a socket, as Go, nginx and others do, and not to a pipe. What comes from a socket or a
    /// pipe is passed on as it came: if its sender used sendfile on this machine, these are pages of its
    /// file.
    #[default]
    Sockets,
    /// Never: no byte that was delivered changes any more. Into sockets and pipes everything goes by
    /// read/write; into files splice stays, since the file system copies.
    Never,
    /// To sockets and to pipes.
    Always,
}

/// The options of a copy. Where there is only read and write, they make no difference.
///
/// ```
/// use zc_core::driver::{Options, PageSharing};
///
/// let mut options = Options::default();
/// options.page_sharing = PageSharing::Never;
/// assert!(options.adaptive && !options.keep_holes);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How large a pipe to splice through, in bytes; 1 MiB by default. The kernel rounds it up to a
    /// power of two pages, and grants ordinary users at most /proc/sys/fs/pipe-max-size.
    pub pipe_size: usize,
    /// Whether pages may be lent.
    pub page_sharing: PageSharing,
    /// Whether a copy may choose read/write where it is known to be cheaper, by the pair of ends and the
    /// size of the source's pieces. `true` by default. With `false` it uses the route's first mechanism
    /// from the first byte on.
    pub adaptive: bool,
    /// Whether bytes for the null device, or for a sink that keeps nothing, may be dropped where they are.
    /// `true` by default. With `false` they are moved, to measure what that costs.
    pub discard: bool,
    /// Whether a hole of a file becomes a hole of the file it is copied into, where it can be found and made. No
    /// block is allocated for it, and no byte is moved. What the sink had there is gone, as if zeros had been
    /// written, and a hole counts as the bytes that a read of it would yield.
    ///
    /// Off by default. A copy whose blocks are allocated cannot run out of space later, when the holes are
    /// written to. And to find holes without moving a shared offset, the source is opened once more, by its name
    /// in /proc, for a few microseconds at a time. A watch on the file (inotify(7)) sees that.
    ///
    /// Holes are copied as zeros where the source cannot be opened so (no /proc, no permission), and where the
    /// sink is in append mode or the same file. So are those of a source that a process has record locks on,
    /// since to close it would drop this process's (fcntl(2)).
    pub keep_holes: bool,
    /// Whether a step only takes or only delivers, unless one call does both. `false` by default. For
    /// drivers that run one side of a step on another thread.
    pub half_steps: bool,
    /// Whether a step takes at most 64 KiB at a time once the sink has been full, until a few such pieces have gone
    /// through. `true` by default. For drivers whose budget for each step goes by the room that the sink has.
    pub heeds_stalls: bool,
    /// Whether a read of a stream socket also looks whether there is more behind, in the same call (recvmmsg(2)).
    /// Then [`Step::drained`](super::Step::drained) means that the socket has said so. For drivers that have to know,
    /// on descriptors in non-blocking mode. The look costs about as much as the second call that it saves, less the
    /// way there and back. Where it cannot be made, a step does not say `drained`.
    pub looks_behind: bool,
    /// Whether the blocking driver may let bytes of a TCP source wait for others, up to 0.3 ms, once it has proved to
    /// be a bulk sender. `true` by default. It does so into a regular file, the null device and a sink that keeps
    /// nothing; into others with [`coalesce`](Options::coalesce) only. A receiver that sleeps until a handful has
    /// come may take less CPU time, and the smaller the sender's pieces are, the less. Into files on ext4 it takes a
    /// quarter of the time for pieces of 1 KiB, a half for 16 KiB, and as much as without for 1 MiB.
    ///
    /// A byte may reach the file up to 0.3 ms later than without. It works by SO_RCVLOWAT, set for the length of one
    /// poll(2) and taken back; a mark that the socket's owner has set is left alone. Another thread or process that
    /// begins to read the same socket in that moment may wait for as many bytes. A source that gives nothing for a
    /// millisecond has to prove itself again. The handful is at most a quarter of the socket's receive buffer, so
    /// that the kernel need not enlarge it.
    ///
    /// It makes no difference with `adaptive` off, on sockets in non-blocking mode, and on those that the kernel
    /// speaks another protocol on (`TCP_ULP`).
    pub handfuls: bool,
    /// How long the blocking driver may let bytes of a TCP source wait for more to come; `None` (the
    /// default): not at all. A transfer by itself never waits.
    pub coalesce: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pipe_size: PIPE_SIZE,
            page_sharing: PageSharing::default(),
            adaptive: true,
            discard: true,
            keep_holes: false,
            half_steps: false,
            heeds_stalls: true,
            looks_behind: false,
            handfuls: true,
            coalesce: None,
        }
    }
}
