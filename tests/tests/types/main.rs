//! The types of sources and sinks.

/// Standard streams and the pipes to child processes, with real children.
mod children;
/// What `{:?}` prints of copiers and errors is short, and shows none of the data.
mod debug_output;
/// Sources and sinks in memory.
mod in_memory;
/// std's types and wrappers as sources and sinks, owned, borrowed and boxed, and still offloaded.
mod of_std;
/// What the types promise, checked at compile time.
mod promises;
/// Rare sinks: behind `dyn`, of a fixed size, nowhere at all.
mod rare_sinks;
/// Types that have opted in or not, as seen by `copy!`, and by a library that says `R: Read`.
mod unnamed;
