//! One end of a transfer.

use crate::PollFd;

/// The descriptor below all layers of a source or sink, and where in the file its next byte lies.
#[derive(Clone, Copy, Debug)]
pub struct End<'fd> {
    /// The descriptor.
    pub fd: PollFd<'fd>,
    /// The offset of the next byte, in bytes, for a layer that keeps its own. `None`: the open file's own,
    /// which all that share it move.
    pub offset: Option<u64>,
}

impl<'fd> From<PollFd<'fd>> for End<'fd> {
    #[inline]
    fn from(fd: PollFd<'fd>) -> Self {
        End { fd, offset: None }
    }
}
