//! A loop over `Read` and `Write` with 32 KiB, as Go's `io.Copy` where it has no fast path: the baseline of the
//! seed's table. Its buffer is made once, and costs nothing.

use std::io::{self, Read, Write};

use super::Subject;
use crate::ends::{End, with_ends};

const SIZE: usize = 32 * 1024;

pub(super) struct Generic {
    buffer: Vec<u8>,
}

impl Default for Generic {
    fn default() -> Self {
        Generic { buffer: vec![0; SIZE] }
    }
}

impl Subject for Generic {
    fn copy(&mut self, from: &mut End, to: &mut End, limit: Option<u64>) -> io::Result<u64> {
        with_ends!(from, to, |from, to| pump(from, to, limit, &mut self.buffer))
    }
}

fn pump(
    from: &mut impl Read,
    to: &mut impl Write,
    limit: Option<u64>,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let limit = limit.unwrap_or(u64::MAX);
    let mut moved = 0;
    while moved < limit {
        let want = usize::try_from(limit - moved).map_or(SIZE, |left| left.min(SIZE));
        let n = from.read(&mut buffer[..want])?;
        if n == 0 {
            break;
        }
        to.write_all(&buffer[..n])?;
        moved += n as u64;
    }
    Ok(moved)
}
