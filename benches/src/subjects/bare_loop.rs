//! An event loop of bare calls: the least that a driver costs that polls, beside one that blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::Subject;
use crate::cells::Cell;
use crate::ends::End;

/// How many bytes it moves at a time.
const PIECE: usize = 256 << 10;

/// sendfile(2) from a file, and else two splice(2) calls; poll(2) whenever one of these would block.
pub(super) struct BareLoop {
    pipe: Option<(OwnedFd, OwnedFd)>,
}

impl BareLoop {
    pub(super) fn new(cell: &Cell) -> Self {
        let pipe = || {
            let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            rustix::pipe::fcntl_setpipe_size(&pipe.1, PIECE)?;
            Ok::<_, Errno>(pipe)
        };
        BareLoop { pipe: (!cell.from.is_file()).then(|| pipe().expect("a pipe of 256 KiB")) }
    }
}

impl Subject for BareLoop {
    fn prepare(&mut self, from: &End, to: &End) -> io::Result<()> {
        from.set_nonblocking()?;
        to.set_nonblocking()
    }

    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        let (from, to) = (from.as_fd(), to.as_fd());
        let (limit, mut moved) = (limit.unwrap_or(u64::MAX), 0);
        while moved < limit {
            let want = usize::try_from(limit - moved).map_or(PIECE, |left| left.min(PIECE));
            let n = match &self.pipe {
                None => ready(to, PollFlags::OUT, || rustix::fs::sendfile(to, from, None, want))?,
                Some((read_end, write_end)) => {
                    let n = ready(from, PollFlags::IN, || splice(from, write_end.as_fd(), want))?;
                    let mut out = 0;
                    while out < n {
                        let left = n - out;
                        out += ready(to, PollFlags::OUT, || splice(read_end.as_fd(), to, left))?;
                    }
                    n
                }
            };
            if n == 0 {
                break;
            }
            moved += n as u64;
        }
        Ok(moved)
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
    rustix::pipe::splice(from, None, to, None, len, SpliceFlags::empty())
}

/// Makes the call, and waits for `fd` whenever the call would block.
fn ready(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::AGAIN) => poll(&mut [PollFd::new(&fd, flags)], None)?,
            outcome => return Ok(outcome?),
        };
    }
}
