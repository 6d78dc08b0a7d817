//! Whoever else is there: other users of the same open file, forked children, peers that stall, and
//! kernels that give odd answers. A module a behaviour; each test runs in a process of its own, which is
//! killed if it hangs.

/// Writers of one open file lose nothing, and a copy nothing by them.
mod shared_destination;

/// Of one open file every byte is read once, whoever reads.
mod shared_source;

/// Holes are looked up and made in company, too.
mod shared_holes;

/// With a file to itself, a copy leaves its offset where the bytes end.
mod offsets_alone;

/// A copy that waits keeps nobody else waiting.
mod waiting_while_holding;

/// Where a copy would block, the side to wait for is the one that is not ready.
mod wrong_side;

/// A moment without bytes, or without room, changes nothing about how they are moved.
mod not_now_is_not_never;

/// A forked child copies as its parent does, and leaves it its own.
mod fork;

/// Which errnos are refusals, and which are errors that come only once.
mod errnos;

/// Copies that wait hold little, and are in nobody's way.
mod stalls;

/// What `PageSharing::Never` has delivered never changes.
mod page_sharing;

/// Messages stay whole, whatever type their socket is made into.
mod messages;

/// A file appended to itself ends.
mod own_tail;

/// Event loops of every kind, on one thread and on many.
mod event_loops;

/// No call for nothing, and none without end.
mod smaller;

#[global_allocator]
static ALLOCATOR: zc_testkit::heap::Counted = zc_testkit::heap::Counted;
