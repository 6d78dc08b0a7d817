//! `zc relay`.

/// Programs of others through `zc relay`: what they measure and complain of, they do of it.
mod programs;
/// What `zc relay` does with its connections.
mod tool;
