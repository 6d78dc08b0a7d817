//! What a copy did.

use std::num::NonZero;

use zc_core::driver::Mechanism;

/// What a copy did: how many bytes it moved, by which mechanisms, with how many system calls.
///
/// ```
/// use std::io::{Read, Write};
/// use zc_linux::{Mechanism, Transfer, drive};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"hello")?;
///
/// let mut transfer = Transfer::default();
/// drive(&mut transfer, &mut reader.take(5), &mut std::fs::File::create("/dev/null")?)?;
/// let report = transfer.report();
/// assert_eq!((report.moved(), report.calls()), (5, 2)); // one read, one write
/// assert_eq!(report.mechanism(), Some(Mechanism::ReadWrite)); // too few bytes for more
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    calls: u64,
    by: [u64; Mechanism::ALL.len()],
    holes: u64,
    tried: [bool; Mechanism::ALL.len()],
    /// An errno has twelve bits, and every transfer has a report.
    refused: [Option<NonZero<u16>>; Mechanism::ALL.len()],
}

impl Report {
    /// Bytes delivered to the sink, those in flight from an earlier copy included.
    pub fn moved(&self) -> u64 {
        self.by.iter().sum::<u64>() + self.holes
    }

    /// System calls made by the engine, including those that asked what a descriptor is and those
    /// that failed. Not counted: the few by which the pool of pipes tells a forked child from its
    /// parent, and those of a type's own `read` and `write`. A recv or send that falls back to read
    /// or write counts once.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many of the bytes `mechanism` delivered. Bytes from buffers count as read/write.
    pub fn moved_by(&self, mechanism: Mechanism) -> u64 {
        self.by[mechanism as usize]
    }

    /// How many of the bytes moved are holes that the sink has now, too: no mechanism has moved those. 0 unless
    /// [`keep_holes`](crate::Options::keep_holes) is set.
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// The mechanism that delivered the most bytes; `None` if none delivered any.
    pub fn mechanism(&self) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .filter(|&m| self.moved_by(m) > 0)
            .max_by_key(|&m| self.moved_by(m))
    }

    /// Whether a call of `mechanism` was made at all.
    pub fn tried(&self, mechanism: Mechanism) -> bool {
        self.tried[mechanism as usize]
    }

    /// The errno by which `mechanism` refused (`EXDEV`, `EINVAL`, `ENOSYS`, …), so that the next
    /// one took over. `None` if it was not tried or did not refuse.
    pub fn refused(&self, mechanism: Mechanism) -> Option<i32> {
        self.refused[mechanism as usize].map(|errno| errno.get().into())
    }

    pub(crate) fn deliver(&mut self, mechanism: Mechanism, bytes: u64) {
        self.by[mechanism as usize] += bytes;
    }

    pub(crate) fn pass_over(&mut self, hole: u64) {
        self.holes += hole;
    }

    pub(crate) fn try_with(&mut self, mechanism: Mechanism) {
        self.tried[mechanism as usize] = true;
    }

    pub(crate) fn refuse(&mut self, mechanism: Mechanism, errno: rustix::io::Errno) {
        self.refused[mechanism as usize] =
            u16::try_from(errno.raw_os_error()).ok().and_then(NonZero::new);
    }

    pub(crate) fn count_calls(&mut self, calls: u64) {
        self.calls += calls;
    }
}
