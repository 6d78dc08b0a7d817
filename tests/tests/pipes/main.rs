//! The pool of pipes, and copies that get none.

/// Quiet connections leave pipes of the pool to those that have bytes to move.
mod for_the_busy;
/// 64 threads copy at once through the pool's pipes, with random faults.
mod many_threads;
/// No pipe within the user's budget, or the pool's: the copy reads and writes instead.
mod no_budget;
/// No descriptor left for a pipe: the copy reads and writes instead.
mod no_descriptors;
/// The pool's pipes are this process's own, of the sizes in use, and always counted right.
mod pool;
/// The reader of a pipe goes on while the copy into the pipe waits for its source.
mod readers;
