//! A copy among others: other users of the same open file, forked children, peers that stall, and kernels that give
//! odd answers. A module a behaviour; each test runs in a process of its own, which is killed if it hangs.

/// Writers of one open file lose no byte, and neither do copies into it.
mod shared_destination;

/// Every byte of one open file is read once, by one of its readers.
mod shared_source;

/// Holes are looked up and made while others use the same file.
mod shared_holes;

/// A copy that has a file to itself leaves its offset where the bytes end.
mod offsets_alone;

/// A copy that waits keeps no other user waiting.
mod waiting_while_holding;

/// Where a copy would block, the side to wait for is the one that is not ready.
mod wrong_side;

/// A moment without bytes, or without room, changes nothing about how they are moved.
mod not_now_is_not_never;

/// A forked child copies as its parent does, and leaves the parent's bytes alone.
mod fork;

/// Which errnos are refusals, and which are errors that come only once.
mod errnos;

/// Copies that wait hold little, and leave pipes to others.
mod stalls;

/// What `PageSharing::Never` has delivered never changes.
mod page_sharing;

/// Messages stay whole, whichever type wraps their socket.
mod messages;

/// A copy of a file to its own end comes to an end.
mod own_tail;

/// Event loops of every kind, on one thread and on many.
mod event_loops;

/// A copy makes no call in vain, and none without end.
mod smaller;

#[global_allocator]
static ALLOCATOR: zc_testkit::heap::Counted = zc_testkit::heap::Counted;
