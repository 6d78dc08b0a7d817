//! The types that bytes come from and go to.

/// Standard streams and the pipes to child processes, with real children.
mod children;
/// What `{:?}` prints of copiers and errors is short, and shows nobody's data.
mod debug_output;
/// Ends in memory.
mod in_memory;
/// std's types and wrappers as ends of a copy, however they are held, and still offloaded.
mod of_std;
/// What the types promise: checked when this file compiles.
mod promises;
/// Sinks that one meets rarely: behind `dyn`, of a fixed size, nowhere at all.
mod rare_sinks;
/// Types that have opted in or not, as `copy!` sees them, and as a library that says `R: Read`.
mod unnamed;
