//! Pipes, and the pipes to a child process.
//!
//! None of them ends for good: a `PipeReader` can be made from any descriptor, a FIFO's among them,
//! and a FIFO comes back to life with its next writer.

use std::io::{PipeReader, PipeWriter};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use super::{fd_sink, fd_source};
use crate::IsStream;

impl IsStream for PipeReader {}
impl IsStream for PipeWriter {}
impl IsStream for ChildStdin {}
impl IsStream for ChildStdout {}
impl IsStream for ChildStderr {}

fd_source! {
    PipeReader;
    &PipeReader;
    ChildStdout;
    ChildStderr;
}

fd_sink! {
    PipeWriter;
    &PipeWriter;
    ChildStdin;
    &ChildStdin;
}
