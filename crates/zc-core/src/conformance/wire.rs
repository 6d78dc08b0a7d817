//! The socket pair, its far end, and the known bytes.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::script::{Mode, Script};

use crate::driver::retry;

/// How many bytes the kit feeds into a source, or writes into a sink. (Into a sink also a MiB, in a few schedules whose
/// writes are larger than its stream has room for.)
///
/// Twice the default capacity of std's `BufReader` and `BufWriter`, and more.
pub const LEN: usize = 20_000;

/// How many bytes it writes into a sink in large pieces.
pub(super) const LARGE_LEN: usize = 1024 * 1024;

/// The first `len` of the known bytes. Any few of them in a row are found in one place only, so that a byte too many or
/// too few shows.
pub(super) fn data(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Some line ends, for types that look for them.
        if state >> 58 == 0 { b'\n' } else { (state >> 40) as u8 }
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A pair, the near end for the type under test, in the mode of `script`.
pub(super) fn pair(mode: Mode) -> io::Result<(UnixStream, UnixStream)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(mode == Mode::Scarce)?;
    far.set_nonblocking(true)?;
    Ok((near, far))
}

/// The far end of a source: feeds it.
#[derive(Debug)]
pub(super) struct Feed {
    far: UnixStream,
    /// The near end once more, to see what is left in it.
    probe: UnixStream,
    data: Vec<u8>,
    fed: usize,
    ended: bool,
}

impl Feed {
    pub(super) fn new(near: &UnixStream, far: UnixStream) -> io::Result<Self> {
        Ok(Feed { far, probe: near.try_clone()?, data: data(LEN), fed: 0, ended: false })
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether all bytes, and their end, are there to be read.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Feeds as much as there is room for.
    pub(super) fn feed_all(&mut self) -> io::Result<()> {
        self.feed(LEN)
    }

    /// Feeds a piece that does not cross byte `stop`. There has to be a moment when the type has had
    /// all it wants, and there is no more.
    pub(super) fn feed_piece(&mut self, script: &mut Script, stop: usize) -> io::Result<()> {
        let piece = script.piece();
        self.feed(if self.fed < stop { piece.min(stop - self.fed) } else { piece })
    }

    fn feed(&mut self, max: usize) -> io::Result<()> {
        let to = LEN.min(self.fed + max);
        while self.fed < to {
            match self.far.write(&self.data[self.fed..to]) {
                Ok(n) => self.fed += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.fed == LEN && !self.ended {
            self.far.shutdown(Shutdown::Write)?;
            self.ended = true;
        }
        Ok(())
    }

    /// How many of the bytes have not been taken from the stream. Takes them.
    pub(super) fn left(&mut self) -> io::Result<usize> {
        self.probe.set_nonblocking(true)?;
        let mut rest = Vec::new();
        drain(&self.probe, &mut rest)?;
        Ok(rest.len() + LEN - self.fed)
    }
}

/// Reads all that is there.
pub(super) fn drain(mut stream: &UnixStream, into: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_to_end(into) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        other => other.map(drop),
    }
}

/// Reads from a borrowed descriptor, at most `len` bytes.
pub(super) fn read(fd: BorrowedFd<'_>, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let n = retry(|| (&file(fd)?).read(&mut bytes))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Writes to a borrowed descriptor.
pub(super) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    retry(|| (&file(fd)?).write(bytes))
}

/// std has no read or write for a borrowed descriptor: a duplicate of it serves.
fn file(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.as_fd().try_clone_to_owned()?))
}
