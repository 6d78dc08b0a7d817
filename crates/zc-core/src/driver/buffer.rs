//! Bytes read and not yet written.

// `inline(always)` here: the processor mispredicts a return from a function that made a system call, at
// 20 to 40 ns each, which small copies notice.

use std::cell::Cell;
use std::fmt;
use std::io;

/// How much one read asks for, in bytes.
///
/// Large enough for any UDP datagram and a good share of a socket's queue, small enough that the
/// bytes are still in the processor's second-level cache when they are written. (Socket to ext4: 64
/// KiB costs up to a half more, 8 KiB three times as much; docs/performance.md.)
const CAPACITY: usize = 256 * 1024;

/// The alignment of the read buffer, in bytes: files opened with `O_DIRECT` are read into and written from
/// aligned memory only (open(2)). No disk has larger blocks than a page.
const ALIGNMENT: usize = 4096;

/// How large a buffer is that has room for one read, wherever in memory it lies.
const SIZE: usize = CAPACITY + ALIGNMENT;

/// How often in a row a foreign `read` or `write` may answer `Interrupted` before a copy gives up
/// on it. System calls are retried without end; each of their EINTRs is a real signal.
const MAX_INTERRUPTS: u32 = 1 << 16;

thread_local! {
    /// One buffer per thread, kept from copy to copy: a framed copy of 64 bytes must not pay for
    /// allocating and clearing 256 KiB.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Bytes read and not yet written, in order: where a read/write copy keeps its bytes in flight.
///
/// Empty, it holds no memory of its own: it borrows a per-thread spare for as long as there are bytes in
/// it. It may go to another thread at any time.
///
/// ```
/// use std::io::{Read, Write};
/// use zc_core::driver::Buffer;
///
/// let mut buffer = Buffer::default();
/// buffer.fill(4, |room| (&b"abcdef"[..]).read(room))?;
///
/// let mut sink = [0; 3];
/// buffer.drain(|bytes| (&mut sink[..]).write(bytes))?;
/// assert_eq!((&sink, buffer.bytes()), (b"abc", &b"d"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes in it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// How many bytes are in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes of memory it holds.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Reads once, at most `limit` bytes, and returns how many came, and whether there was room for more;
    /// 0 is the end of input or a `limit` of 0. The bytes are appended to those already there. Blocks as
    /// `read` does.
    ///
    /// # Errors
    ///
    /// Those of `read`, except `Interrupted`, which is retried; `InvalidData` if `read` claims more bytes
    /// than it was given room for.
    #[inline(always)]
    pub fn fill(
        &mut self,
        limit: u64,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<(usize, bool)> {
        self.make_room();
        let room = &mut self.memory[self.end..];
        let most = room.len().min(CAPACITY);
        let want = usize::try_from(limit).map_or(most, |limit| limit.min(most));
        let room = &mut room[..want];
        if room.is_empty() {
            return Ok((0, false));
        }
        let n = retry(|| read(room))?;
        if n > want {
            return Err(overclaimed("read", n, want));
        }
        self.end += n;
        Ok((n, n < want))
    }

    /// Writes once, and returns how many bytes went; 0 only if there are none. Blocks as `write` does.
    ///
    /// # Errors
    ///
    /// Those of `write`, except `Interrupted`, which is retried; `WriteZero` if `write` takes nothing,
    /// `InvalidData` if it claims to have taken more than it was given.
    #[inline(always)]
    pub fn drain(&mut self, write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let n = write_once(self.bytes(), write)?;
        self.start += n;
        Ok(n)
    }

    /// Reads once, as [`fill`](Buffer::fill) does, and drops what came.
    ///
    /// # Errors
    ///
    /// As for [`fill`](Buffer::fill).
    #[inline(always)]
    pub fn drop_some(
        &mut self,
        limit: u64,
        read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<(usize, bool)> {
        let (n, drained) = self.fill(limit, read)?;
        self.end -= n;
        Ok((n, drained))
    }

    /// Takes all bytes out.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.start = self.end;
        bytes
    }

    /// Gives its memory back, if it is empty.
    #[inline]
    pub fn release(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            (self.start, self.end) = (0, 0);
            let memory = std::mem::take(&mut self.memory);
            if memory.len() == SIZE {
                // No spare can be kept while the thread is being torn down.
                let _ = SPARE.try_with(|spare| spare.set(Some(memory)));
            }
        }
    }

    /// Gives back the memory that it does not need for its bytes: before a wait, which may be long.
    pub fn shrink(&mut self) {
        if self.len() < self.memory.len() / 2 {
            let bytes = self.take();
            self.release();
            *self = Buffer::from(bytes);
        }
    }

    /// Makes room after the bytes, by growing if there is none.
    #[inline]
    fn make_room(&mut self) {
        if self.is_empty() {
            // There is none yet, or one that is no larger than the residue it came with.
            if self.memory.len() < CAPACITY {
                let spare = SPARE.try_with(Cell::take).ok().flatten();
                self.memory = spare.unwrap_or_else(new_buffer);
            }
            self.start = self.memory.as_ptr().align_offset(ALIGNMENT);
            self.end = self.start;
        } else if self.end == self.memory.len() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.len();
        let mut grown = vec![0; 2 * len.max(CAPACITY)];
        grown[..len].copy_from_slice(self.bytes());
        self.memory = grown.into();
        (self.start, self.end) = (0, len);
    }
}

/// Bytes that another copy could not deliver.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Buffer { memory: bytes.into(), start: 0, end }
    }
}

/// By its length: the buffer may hold other copies' bytes besides.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
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

/// Writes some of `bytes`, which are not empty. Blocks as `write` does.
///
/// # Errors
///
/// As for [`Buffer::drain`].
#[inline(always)]
pub fn write_once(
    bytes: &[u8],
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    match retry(|| write(bytes))? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n if n > bytes.len() => Err(overclaimed("write", n, bytes.len())),
        n => Ok(n),
    }
}

/// Calls until the answer is not `Interrupted`, within reason: a type that never says anything else must
/// not hang a copy.
///
/// # Errors
///
/// Those of `call`.
#[inline(always)]
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
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
