//! A range of a file, and how far it is done.

use std::io::{self, ErrorKind};
use std::ops::{Bound, RangeBounds};

/// A range of a file, and the offset in it at which the next byte lies: what a layer with an offset of its own
/// keeps, whatever its driver.
#[derive(Clone, Copy, Debug)]
pub struct FileRange {
    offset: u64,
    /// `u64::MAX`: it goes on for as long as the file, or the disk.
    end: u64,
}

impl FileRange {
    /// All from `offset` on.
    pub fn from(offset: u64) -> Self {
        FileRange { offset, end: u64::MAX }
    }

    /// The bytes `range`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a range that ends before it begins.
    pub fn new(range: impl RangeBounds<u64>) -> io::Result<Self> {
        let offset = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        if end < offset {
            let what = format!("a range that begins at {offset} cannot end at {end}");
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        Ok(FileRange { offset, end })
    }

    /// Where its next byte lies, in bytes from the file's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it ends; `None` if it does not.
    pub fn end(&self) -> Option<u64> {
        (self.end < u64::MAX).then_some(self.end)
    }

    /// Goes on from another offset. It still ends where it did.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// How many bytes are left; `u64::MAX` for no limit.
    pub fn left(&self) -> u64 {
        if self.end == u64::MAX { u64::MAX } else { self.end.saturating_sub(self.offset) }
    }

    /// As many of `len` bytes as are left.
    pub fn within(&self, len: usize) -> usize {
        usize::try_from(self.left()).map_or(len, |left| left.min(len))
    }

    /// The next `n` bytes are done.
    pub fn moved(&mut self, n: u64) {
        self.offset = self.offset.saturating_add(n);
    }
}

/// The error of a write at an offset of one's own into a file in append mode. Linux would write at its end, and not there
/// (pwrite(2), Bugs).
pub fn append_mode() -> io::Error {
    let what = "the file is in append mode, and would be written at its end";
    io::Error::new(ErrorKind::InvalidInput, what)
}
