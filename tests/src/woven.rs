//! Many writers, one file: bytes that tell which writer wrote them, even between those of others.
//!
//! Three bits of each byte name the writer, and five are pseudo-random by its place in that writer's stream. Bytes
//! that were not written are 0, which is no writer.

use crate::data;

/// The most writers that can be told apart. They count from 1.
pub const WRITERS: u8 = 7;

/// The first `len` bytes of what `writer` writes.
pub fn thread_of(writer: u8, len: usize) -> Vec<u8> {
    assert!((1..=WRITERS).contains(&writer), "no such writer");
    let mut bytes = data::bytes(u64::from(writer), len);
    bytes.iter_mut().for_each(|byte| *byte = writer << 5 | *byte & 31);
    bytes
}

/// The bytes of each writer in `all`, in order; place 0 has those that were not written.
pub fn unwoven(all: &[u8]) -> [Vec<u8>; 1 + WRITERS as usize] {
    let mut threads = [const { Vec::new() }; 1 + WRITERS as usize];
    all.iter().for_each(|&byte| threads[usize::from(byte >> 5)].push(byte));
    threads
}

/// Asserts that `all` has what each writer wrote, `(writer, len)`: every byte once, and each writer's in order.
///
/// # Panics
///
/// If it does not, with how much of each writer's is there.
#[track_caller]
pub fn assert_woven(all: &[u8], writers: &[(u8, usize)]) {
    let mut threads = unwoven(all);
    let mut wrong = Vec::new();
    for &(writer, len) in writers {
        let got = std::mem::take(&mut threads[usize::from(writer)]);
        let want = thread_of(writer, len);
        if got != want {
            let same = got.iter().zip(&want).take_while(|(got, want)| got == want).count();
            wrong.push(format!("{} of {len} of writer {writer}'s, {same} right", got.len()));
        }
    }
    let strangers: usize = threads.iter().map(Vec::len).sum();
    let whole: usize = writers.iter().map(|(_, len)| len).sum();
    let right = wrong.is_empty() && strangers == 0 && all.len() == whole;
    assert!(right, "{} of {whole} bytes: {wrong:?}, {strangers} nobody's", all.len());
}
