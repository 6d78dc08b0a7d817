//! Files: all that `open` gives, from a regular file to a tty.

use std::fs::File;
use std::sync::Arc;

use super::{fd_sink, fd_source};
use crate::IsStream;

impl IsStream for File {}
impl IsStream for Arc<File> {}

fd_source! {
    File;
    &File;
    Arc<File>;
}

fd_sink! {
    File;
    &File;
    Arc<File>;
}
