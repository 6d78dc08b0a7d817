//! Bytes read and not yet written.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};

/// How much one read asks for, in bytes.
///
/// Large enough for any UDP datagram and a good share of a socket's queue, small enough that the
/// bytes are still in the processor's second-level cache when they are written. (Socket to ext4: 64
/// KiB costs up to a half more, 8 KiB three times as much; docs/performance.md.)
const CAPACITY: usize = 256 * 1024;

/// What a read's place in memory is a multiple of, in bytes: files opened with `O_DIRECT` are read
/// into and written from aligned memory only (open(2)). No disk has larger blocks than a page.
const ALIGNMENT: usize = 4096;

/// How large a buffer is that has room for one read, wherever in memory it lies.
const SIZE: usize = CAPACITY + ALIGNMENT;

/// How often in a row a foreign `read` or `write` may answer `Interrupted` before a copy gives up
/// on it. System calls are retried without end; each of their EINTRs is a real signal.
const MAX_INTERRUPTS: u32 = 1 << 16;

thread_local! {
    /// One buffer per thread, kept from copy to copy: a framed copy of 64 bytes must not pay for
    /// allocating and clearing so much.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Bytes read and not yet written, in order: where a read/write copy keeps its bytes in flight.
///
/// Empty, it holds no memory of its own: its buffer is borrowed from a per-thread spare for as long
/// as there are bytes in it.
///
/// ```
/// use zc_core::Held;
///
/// let mut held = Held::default();
/// held.fill(&mut &b"abcdef"[..], 4)?;
///
/// let mut sink = [0; 3];
/// held.drain(&mut &mut sink[..])?;
/// assert_eq!((&sink, held.bytes()), (b"abc", &b"d"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Held {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Held {
    /// The bytes held.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// How many bytes are held.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once, at most `limit` bytes, and returns how many came; 0 is the end of `source` or a
    /// `limit` of 0. The bytes are appended to those already held. Blocks as `source` does.
    ///
    /// # Errors
    ///
    /// Those of `source`, except `Interrupted`, which is retried; `InvalidData` if `source` claims
    /// to have read more than it was given room for.
    #[inline(always)]
    pub fn fill<R: Read + ?Sized>(&mut self, source: &mut R, limit: u64) -> io::Result<usize> {
        self.make_room();
        let room = &mut self.buffer[self.end..];
        let most = room.len().min(CAPACITY);
        let want = usize::try_from(limit).map_or(most, |limit| limit.min(most));
        let room = &mut room[..want];
        if room.is_empty() {
            return Ok(0);
        }
        let n = retry(|| source.read(room))?;
        if n > want {
            return Err(overclaimed("read", n, want));
        }
        self.end += n;
        Ok(n)
    }

    /// Writes once, and returns how many bytes went; 0 only if nothing is held. Blocks as `sink` does.
    ///
    /// # Errors
    ///
    /// Those of `sink`, except `Interrupted`, which is retried; `WriteZero` if `sink` takes nothing,
    /// `InvalidData` if it claims to have taken more than it was given.
    #[inline(always)]
    pub fn drain<W: Write + ?Sized>(&mut self, sink: &mut W) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let n = write_some(sink, self.bytes())?;
        self.start += n;
        Ok(n)
    }

    /// Takes all bytes out.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.start = self.end;
        bytes
    }

    /// Gives the buffer back, if it is empty.
    #[inline]
    pub fn release(&mut self) {
        if self.is_empty() && !self.buffer.is_empty() {
            (self.start, self.end) = (0, 0);
            let buffer = std::mem::take(&mut self.buffer);
            if buffer.len() == SIZE {
                // No spare can be kept while the thread is being torn down.
                let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
            }
        }
    }

    /// Makes room after the bytes held, by growing if there is none.
    #[inline]
    fn make_room(&mut self) {
        if self.is_empty() {
            // There is none yet, or one that is no larger than the residue it came with.
            if self.buffer.len() < CAPACITY {
                let spare = SPARE.try_with(Cell::take).ok().flatten();
                self.buffer = spare.unwrap_or_else(new_buffer);
            }
            self.start = self.buffer.as_ptr().align_offset(ALIGNMENT);
            self.end = self.start;
        } else if self.end == self.buffer.len() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.len();
        let mut grown = vec![0; 2 * len.max(CAPACITY)];
        grown[..len].copy_from_slice(self.bytes());
        self.buffer = grown.into();
        (self.start, self.end) = (0, len);
    }
}

/// Bytes that another copy could not deliver.
impl From<Vec<u8>> for Held {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Held { buffer: bytes.into(), start: 0, end }
    }
}

/// By its length: the buffer may hold other copies' bytes besides.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cold]
fn new_buffer() -> Box<[u8]> {
    vec![0; SIZE].into()
}

#[cold]
fn overclaimed(call: &str, n: usize, most: usize) -> io::Error {
    let what = format!("{call} claims {n} bytes where there can have been {most}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Writes some of `bytes`, which are not empty.
#[inline(always)]
pub(crate) fn write_some<W: Write + ?Sized>(sink: &mut W, bytes: &[u8]) -> io::Result<usize> {
    match retry(|| sink.write(bytes))? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n if n > bytes.len() => Err(overclaimed("write", n, bytes.len())),
        n => Ok(n),
    }
}

/// Calls until the answer is not `Interrupted`, within reason.
#[inline(always)]
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut interrupts = 0;
    loop {
        match call() {
            Err(error) => give_up(error, &mut interrupts)?,
            answer => return answer,
        }
    }
}

#[cold]
fn give_up(error: io::Error, interrupts: &mut u32) -> io::Result<()> {
    if error.kind() != io::ErrorKind::Interrupted {
        return Err(error);
    }
    *interrupts += 1;
    if *interrupts < MAX_INTERRUPTS {
        return Ok(());
    }
    let what = format!("interrupted {MAX_INTERRUPTS} times in a row");
    Err(io::Error::new(io::ErrorKind::Interrupted, what))
}
