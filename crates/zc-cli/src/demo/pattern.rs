//! The bytes that are uploaded: made from a seed at both ends, and different at every position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How many random bytes there are before they repeat; a power of two.
const PERIOD: usize = 1 << 20;

/// At intervals of this many bytes the position is written over the random ones, so that blocks that
/// have changed places do not go unnoticed.
const BLOCK: usize = 4096;

/// A stream of bytes. Those of different seeds have nothing in common, so that bytes which an
/// upload failed to write are told from those of the upload before.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Pattern {
        // SplitMix64: every seed is a good one.
        let mut state = seed;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state.wrapping_mul(seed | 1);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        let bytes = words.take(PERIOD / 8).flat_map(u64::to_le_bytes).collect();
        Pattern { bytes }
    }

    /// At most `len` bytes from position `at`, a multiple of the block, on.
    pub(crate) fn at(&mut self, at: u64, len: u64) -> &[u8] {
        debug_assert!(at.is_multiple_of(BLOCK as u64));
        let start = (at % PERIOD as u64) as usize;
        let len = len.min((PERIOD - start) as u64) as usize;
        let bytes = &mut self.bytes[start..];
        for (i, block) in bytes[..len.next_multiple_of(BLOCK)].chunks_mut(BLOCK).enumerate() {
            block[..8].copy_from_slice(&(at + (i * BLOCK) as u64).to_le_bytes());
        }
        &bytes[..len]
    }

    /// Writes the first `size` bytes into `file`.
    pub(crate) fn fill(&mut self, file: &File, size: u64) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let bytes = self.at(at, size - at);
            file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// The position of the first chunk of `file` that is not as it should be, if there is one.
    pub(crate) fn mismatch(&mut self, file: &File, size: u64) -> io::Result<Option<u64>> {
        let mut found = vec![0; PERIOD];
        let mut at = 0;
        while at < size {
            let expected = self.at(at, size - at);
            let found = &mut found[..expected.len()];
            file.read_exact_at(found, at)?;
            if found != expected {
                return Ok(Some(at));
            }
            at += expected.len() as u64;
        }
        let len = file.metadata()?.len();
        Ok((len != size).then_some(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * PERIOD as u64 + 1000;

    #[test]
    fn finds_what_is_wrong() {
        let file = tempfile::tempfile().unwrap();
        Pattern::new(7).fill(&file, SIZE).unwrap();
        assert_eq!(Pattern::new(7).mismatch(&file, SIZE).unwrap(), None);
        assert_eq!(Pattern::new(8).mismatch(&file, SIZE).unwrap(), Some(0));

        // Two blocks that changed places, a period apart.
        let (a, b) = (BLOCK as u64, (BLOCK + PERIOD) as u64);
        let mut blocks = [[0; BLOCK]; 2];
        file.read_exact_at(&mut blocks[0], a).unwrap();
        file.read_exact_at(&mut blocks[1], b).unwrap();
        file.write_all_at(&blocks[1], a).unwrap();
        file.write_all_at(&blocks[0], b).unwrap();
        assert_eq!(Pattern::new(7).mismatch(&file, SIZE).unwrap(), Some(0));
    }

    #[test]
    fn finds_bytes_of_another_seed() {
        let file = tempfile::tempfile().unwrap();
        Pattern::new(7).fill(&file, SIZE).unwrap();
        let stale = Pattern::new(8).at(0, PERIOD as u64)[..3000].to_vec();
        file.write_all_at(&stale[2000..], 2 * PERIOD as u64 + 2000).unwrap();
        assert_eq!(Pattern::new(7).mismatch(&file, SIZE).unwrap(), Some(2 * PERIOD as u64));
    }

    #[test]
    fn finds_a_wrong_length() {
        let file = tempfile::tempfile().unwrap();
        Pattern::new(7).fill(&file, SIZE).unwrap();
        assert_eq!(Pattern::new(7).mismatch(&file, SIZE - 1).unwrap(), Some(SIZE - 1));
        assert!(Pattern::new(7).mismatch(&file, SIZE + 1).is_err());
    }
}
