//! The range of a file that one step moves.
//!
//! read(2), write(2) and lseek(2) take the lock of an open file's offset. splice, sendfile and
//! copy_file_range without an offset of their own take and set it without that lock (still so in Linux
//! 6.18). Bytes that others move through the same open file at that moment are lost or doubled.
//!
//! So a step first claims its range, by an lseek past it, and then moves with an explicit offset. It moves all
//! that it claims, by pread and pwrite if need be. It gives a rest back only after an error, or at the end of a
//! file that has become shorter. Even then the offset must still be at the range's end. (docs/design.md says
//! why.) A copy that has its descriptors to itself leaves their offsets after its last byte.

use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zc_core::driver::StepError;
use zc_core::{End, PollFd, Side};

use crate::flight::Flight;
use crate::outcome::Outcome;
use crate::sys;

/// How far a source is known to go. What is not known to be there is not claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownEnd {
    /// The length of the file.
    pub(crate) at: u64,
    /// The most bytes there are until then. From the first claim on the number is exact, unless another reader
    /// shares the offset. At 0 a read finds the end without a wasted call.
    pub(crate) left: u64,
}

impl KnownEnd {
    /// For a descriptor that is no file, or whose length says nothing.
    pub(crate) const NONE: KnownEnd = KnownEnd { at: u64::MAX, left: u64::MAX };

    /// For a file of `len` bytes. The first claim finds out its offset.
    pub(crate) fn of(len: u64) -> Self {
        KnownEnd { at: len, left: len }
    }

    /// Whether the file is known to end at its offset.
    pub(crate) fn is_at_end(&self) -> bool {
        self.left == 0
    }
}

/// The range of a file that one step moves.
#[derive(Debug)]
pub(crate) struct Claim<'fd> {
    fd: PollFd<'fd>,
    start: u64,
    len: u64,
    /// The offset is the open file's own, and at the range's end unless others have moved it.
    is_shared: bool,
}

impl<'fd> Claim<'fd> {
    /// The next `len` bytes of a file. `Err`: its offset cannot be moved that far.
    pub(crate) fn make(end: End<'fd>, len: u64) -> Result<Self, Errno> {
        let (start, is_shared) = match end.offset {
            Some(start) => {
                // What lseek says of the file's own offset. A hole is passed over without a call that would say so.
                let stands = start.checked_add(len).ok_or(Errno::OVERFLOW)?;
                i64::try_from(stands).map_err(|_| Errno::OVERFLOW)?;
                (start, false)
            }
            None => {
                let by = i64::try_from(len).map_err(|_| Errno::OVERFLOW)?;
                let stands = sys::advance(end.fd.fd(), by)?;
                (stands.checked_sub(len).ok_or(Errno::OVERFLOW)?, true)
            }
        };
        Ok(Claim { fd: end.fd, start, len, is_shared })
    }

    /// The next `len` bytes of a source, as far as it is known to go. `Err` is the mechanism's answer: a refusal,
    /// or that there is nothing there.
    pub(crate) fn of_source(
        end: End<'fd>,
        len: u64,
        known_end: &mut KnownEnd,
    ) -> Result<Self, Outcome> {
        let mut claim = Claim::make(end, len.min(known_end.left)).map_err(Outcome::Refused)?;
        claim.clip(known_end.at);
        known_end.left = known_end.at.saturating_sub(claim.start);
        if claim.len == 0 { Err(Outcome::Nothing) } else { Ok(claim) }
    }

    /// The descriptor, and the offset of the next byte.
    pub(crate) fn at(&self) -> (BorrowedFd<'fd>, u64) {
        (self.fd.fd(), self.start)
    }

    /// How many bytes it still has.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The first `n` bytes were moved.
    pub(crate) fn moved(&mut self, n: u64) {
        self.start += n;
        self.len -= n;
    }

    /// The last `n` bytes that were said to have been moved were not.
    pub(crate) fn back(&mut self, n: u64) {
        self.start -= n;
        self.len += n;
    }

    /// A claim of the first `n` bytes alone. The whole gives back what it leaves.
    fn part(&self, n: u64) -> Self {
        Claim { fd: self.fd, start: self.start, len: n.min(self.len), is_shared: false }
    }

    /// Whether the offset is a layer's own: then no other process continues from the range's end, and an
    /// unmoved rest is no gap.
    pub(crate) fn is_private(&self) -> bool {
        !self.is_shared
    }

    /// Gives back what lies beyond the file's `end`, where there is nothing to claim. Other copies that
    /// claim there find nothing either, and give it back too. So the offset ends where the file does, in
    /// any order.
    fn clip(&mut self, end: u64) {
        let beyond = self.start.saturating_add(self.len).saturating_sub(end).min(self.len);
        if beyond > 0 {
            if self.is_shared {
                let back = -i64::try_from(beyond).expect("no longer than the claim");
                sys::insist(|| sys::advance(self.fd.fd(), back).map(drop));
            }
            self.len -= beyond;
        }
    }

    /// Gives back what was not moved. `false`: others have gone on from its end, and it stays ours.
    ///
    /// Two lseeks are not one. If others write both before the second one and before it is undone, the later
    /// of them writes over the earlier. So this is for errors, which are few.
    pub(crate) fn give_back(&self) -> bool {
        if self.len == 0 || !self.is_shared {
            return true;
        }
        let (fd, end) = (self.fd.fd(), self.start.saturating_add(self.len));
        let by = i64::try_from(self.len).expect("an lseek went as far");
        // Only a hook can make these fail, and a claim that is not given back leaves a gap.
        let stands = (0..16).find_map(|_| sys::position(fd).ok());
        if stands != Some(end) {
            return false;
        }
        match (0..16).find_map(|_| sys::advance(fd, -by).ok()) {
            Some(now) if now == self.start => true,
            // Another write came in between; it goes on where it was.
            Some(_) => {
                sys::insist(|| sys::advance(fd, by).map(drop));
                false
            }
            None => false,
        }
    }

    /// The descriptor with the offset of the next byte.
    pub(crate) fn end(&self) -> End<'fd> {
        End { fd: self.fd, offset: Some(self.start) }
    }

    /// Takes what was not moved of a source's range into memory, and gives back what the file does not have.
    /// Returns how many bytes were taken, and the error that kept others from being read for good.
    pub(crate) fn keep(mut self, flight: &mut Flight) -> (u64, Option<StepError>) {
        if self.len == 0 {
            return (0, None);
        }
        let mut taken = 0;
        // What is in a pipe already comes before it.
        let error = match flight.land() {
            Ok(()) => loop {
                match self.read(flight) {
                    Ok(0) => break None,
                    Ok(n) => taken += n,
                    Err(error) => break Some(error),
                }
            },
            Err(errno) => Some(StepError::new("read", errno)),
        };
        // What is given back is read again later, and meets the error again.
        if self.give_back() { (taken, None) } else { (taken, error) }
    }

    /// After an error: gives a source's range back as far as it was not moved. If others have gone on
    /// from its end, the rest is taken into memory. Returns how many bytes that were.
    pub(crate) fn give_back_or_keep(self, flight: &mut Flight) -> u64 {
        if self.give_back() { 0 } else { self.keep(flight).0 }
    }

    /// Reads once from the range into memory; 0 at the end of the file, and for one that cannot
    /// seek (ESPIPE): the next way of the route reads that.
    fn read(&mut self, flight: &mut Flight) -> Result<u64, StepError> {
        if self.len == 0 {
            return Ok(0);
        }
        let end = self.end();
        let read = flight.buffer.fill(self.len, |room| match sys::read_end(end, room) {
            // A file opened with O_DIRECT is read in whole blocks.
            Err(Errno::INVAL) => Ok(read_blocks(end, room)?),
            Err(Errno::SPIPE) => Ok(0),
            read => Ok(read?),
        });
        let (n, _) = read.map_err(|error| StepError::at(Side::Source, "read", error))?;
        self.moved(n as u64);
        Ok(n as u64)
    }

    /// Fills what was not moved of a sink's range with the bytes in flight, which are as many. Returns how many
    /// bytes that were, and the error that left a gap if others have gone on from the range's end.
    pub(crate) fn fill(mut self, flight: &mut Flight) -> (u64, Option<StepError>) {
        if self.appends(false) {
            // Others that have written meanwhile have put the offset where the file ends, and there it stays.
            self.give_back();
            return (0, None);
        }
        let mut delivered = 0;
        let error = match flight.land() {
            Ok(()) => loop {
                if self.len == 0 || flight.buffer.is_empty() {
                    break None;
                }
                match self.write(flight) {
                    Ok(0) => break None,
                    Ok(n) => delivered += n,
                    Err(error) => break Some(error),
                }
            },
            Err(errno) => Some(StepError::new("read", errno)),
        };
        self.give_back();
        (delivered, error)
    }

    /// After an error: gives a sink's range back as far as it was not moved. If others have gone on from its
    /// end, fills it as [`fill`](Claim::fill) does.
    pub(crate) fn give_back_or_fill(self, flight: &mut Flight) -> (u64, Option<StepError>) {
        if self.give_back() { (0, None) } else { self.fill(flight) }
    }

    /// Whether the kernel chooses the offset of each write, so that there was nothing to claim. `seems_to`: what to
    /// believe if it will not say.
    pub(crate) fn appends(&self, seems_to: bool) -> bool {
        let flags = || sys::flags(self.fd.fd());
        self.len > 0 && flags().map_or(seems_to, |flags| flags.contains(OFlags::APPEND))
    }

    /// Writes once from memory into the range; 0 if the file cannot seek (ESPIPE), so that the bytes are
    /// written without an offset.
    fn write(&mut self, flight: &mut Flight) -> Result<u64, StepError> {
        let end = self.end();
        let room = usize::try_from(self.len).unwrap_or(usize::MAX);
        let write = |bytes: &[u8]| Ok(sys::write_end(end, &bytes[..bytes.len().min(room)])?);
        let n = match flight.buffer.drain(write) {
            Ok(n) => n as u64,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SPIPE) => 0,
            Err(error) => return Err(StepError::at(Side::Sink, "write", error)),
        };
        self.moved(n);
        Ok(n)
    }
}

/// Reads from the beginning of a block to the end of one, and keeps what was wanted.
#[cold]
fn read_blocks(end: End<'_>, room: &mut [u8]) -> Result<usize, Errno> {
    /// No disk has larger blocks than a page.
    const BLOCK: usize = 4096;
    let offset = end.offset.expect("a claim has one");
    let skip = usize::try_from(offset % BLOCK as u64).expect("less than a block");
    let len = (skip + room.len()).next_multiple_of(BLOCK);
    // Aligned, which malloc does not ensure.
    let mut memory = vec![0; len + BLOCK];
    let start = memory.as_ptr().align_offset(BLOCK);
    let blocks = &mut memory[start..start + len];
    let from = End { fd: end.fd, offset: Some(offset - skip as u64) };
    let n = sys::read_end(from, blocks)?.saturating_sub(skip).min(room.len());
    room[..n].copy_from_slice(&blocks[skip..skip + n]);
    Ok(n)
}

/// A panic, which only a hook can bring here, leaves no gap either.
impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.give_back();
        }
    }
}

/// Moves the first `n` bytes of two ranges by pread and pwrite, as far as the source has them. Nothing is left in
/// flight: what was read and not written is still the source's range. Returns how many were moved, and the
/// error that stopped it.
pub(crate) fn carry(
    source: &mut Claim<'_>,
    sink: &mut Claim<'_>,
    n: u64,
    flight: &mut Flight,
) -> (u64, Option<StepError>) {
    let (_, moved, error) = pass(&mut source.part(n), &mut sink.part(n), flight);
    flight.buffer.take();
    source.moved(moved);
    sink.moved(moved);
    (moved, error)
}

/// Moves the rest of two ranges of the same length by pread and pwrite, as far as the source has bytes.
/// Returns how many were taken and delivered, and the error that stopped it. `refused`: by what copy_file_range
/// would not; of a file in append mode EBADF.
pub(crate) fn complete(
    mut source: Claim<'_>,
    mut sink: Claim<'_>,
    refused: Option<Errno>,
    flight: &mut Flight,
) -> (u64, u64, Option<StepError>) {
    if sink.appends(refused == Some(Errno::BADF)) {
        sink.give_back();
        let (taken, error) = source.keep(flight);
        return (taken, 0, error);
    }
    if source.is_private() && sink.is_private() {
        return (0, 0, None);
    }
    let (taken, delivered, error) = pass(&mut source, &mut sink, flight);
    sink.give_back();
    (taken + source.give_back_or_keep(flight), delivered, error)
}

/// Reads from one range and writes into the other, until one of them has ended, or the file is shorter. Returns
/// how many bytes were taken and delivered, and the error that stopped it.
fn pass(
    source: &mut Claim<'_>,
    sink: &mut Claim<'_>,
    flight: &mut Flight,
) -> (u64, u64, Option<StepError>) {
    let (mut taken, mut delivered) = (0, 0);
    let error = loop {
        if flight.buffer.is_empty() {
            match source.read(flight) {
                Ok(0) => break None,
                Ok(n) => taken += n,
                Err(error) => break Some(error),
            }
        }
        match sink.write(flight) {
            Ok(0) => break None,
            Ok(n) => delivered += n,
            Err(error) => break Some(error),
        }
    };
    (taken, delivered, error)
}
