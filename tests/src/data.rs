//! Known bytes.
//!
//! Every byte depends on its position, so that bytes lost, doubled or swapped show as a difference even where the
//! count is right.

/// `len` pseudo-random bytes, the same ones for the same `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (word, out) in (0u64..).zip(bytes.chunks_mut(8)) {
        let random = mix(seed.rotate_left(32) ^ word).to_le_bytes();
        out.copy_from_slice(&random[..out.len()]);
    }
    bytes
}

/// splitmix64's finaliser.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Compares, and names the first difference instead of printing megabytes.
#[track_caller]
pub fn assert_same(got: &[u8], want: &[u8]) {
    if got != want {
        let same = got.iter().zip(want).take_while(|(got, want)| got == want).count();
        let (got, want) = (got.len(), want.len());
        panic!("got {got} bytes, wanted {want}; the first {same} are right");
    }
}

/// Asserts that `parts`, joined, are exactly `whole`. Each part has a name, for the message.
///
/// # Panics
///
/// If they are not, with where they begin to differ.
#[track_caller]
pub fn assert_joined(whole: &[u8], parts: &[(&str, &[u8])]) {
    let mut at = 0;
    for (name, part) in parts {
        if whole.get(at..at + part.len()) != Some(*part) {
            let differs = |i: &usize| whole.get(at + i) != part.get(*i);
            let i = (0..part.len()).find(differs).expect("it differs somewhere");
            let (n, of) = (at + i, whole.len());
            panic!("{name} is wrong from its byte {i} on, which is byte {n} of {of}");
        }
        at += part.len();
    }
    let lens: Vec<_> = parts.iter().map(|(name, part)| (*name, part.len())).collect();
    assert_eq!(at, whole.len(), "{lens:?} do not add up");
}

/// A long stream in chunks, cheap enough for gigabytes in a debug build: one random chunk, of which each page is
/// stamped with its place in the stream.
#[derive(Clone, Debug)]
pub struct Bulk {
    chunk: Vec<u8>,
}

impl Bulk {
    /// A stream of chunks of `len` bytes.
    pub fn new(seed: u64, len: usize) -> Self {
        Bulk { chunk: bytes(seed, len) }
    }

    /// Chunk `number` of the stream.
    pub fn chunk(&mut self, number: u64) -> &[u8] {
        const PAGE: usize = 4096;
        for (page, bytes) in (0u64..).zip(self.chunk.chunks_exact_mut(PAGE)) {
            bytes[..16]
                .copy_from_slice(&(u128::from(number) << 64 | u128::from(page)).to_le_bytes());
        }
        &self.chunk
    }
}
