//! The pool of pipes, and copies that get none.

/// Connections that have gone quiet do not keep the pool's pipes from those that have bytes to move.
mod for_the_busy;
/// 64 threads copying at once through the shared pool of pipes, with random faults.
mod many_threads;
/// No pipe within the user's budget, or the pool's: the copy reads and writes instead.
mod no_budget;
/// No descriptor left for a pipe: the copy reads and writes instead.
mod no_descriptors;
/// The pool's pipes are this process's own, of the sizes in use, and always counted right.
mod pool;
/// A pipe's reader is not locked out while the copy into it waits for its source.
mod readers;
