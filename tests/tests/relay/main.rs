//! `zc relay`.

/// Other projects' programs through `zc relay`: what they measure, and the errors that they report.
mod programs;
/// What `zc relay` does with its connections.
mod tool;
