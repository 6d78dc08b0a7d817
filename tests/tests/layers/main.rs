//! What lies between a copy and its two ends: buffers, limits, chains, and types that break their contract.

/// Bytes that layers hold: they go out first, in order, and the kernel moves the rest.
mod buffers;
/// Chains of sources: every link's bytes, in order, each link offloaded where that is safe.
mod chains;
/// A callback of one copy makes another.
mod copies_within_copies;
/// A buffering sink is flushed whenever the kernel is about to move bytes past it, and only then.
mod flushes;
/// Bytes that a layer holds, and the limits and descriptors that have nothing to do with them.
mod held;
/// Types that break their contract: a copy with one of them fails clearly, or does its job all the same.
mod hostile;
/// A layer that panics when it hears of bytes keeps no other layer from hearing of them.
mod panics;
