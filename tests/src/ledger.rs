//! Keeping account of bytes and descriptors.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::MutexGuard;

use zc_std::{Copier, pool};

pub use crate::files::{contents, position};
use crate::serial::serial;

/// `len` bytes of which no two stretches are alike, so that any that is lost, doubled or moved shows.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Asserts that `parts`, one after the other, are exactly `whole`. (Megabytes in an `assert_eq!`
/// help nobody.)
///
/// # Panics
///
/// If they are not, saying where they begin to differ.
pub fn assert_joined(whole: &[u8], parts: &[(&str, &[u8])]) {
    let mut at = 0;
    for (name, part) in parts {
        if whole.get(at..at + part.len()) != Some(*part) {
            let differs = |i: &usize| whole.get(at + i) != part.get(*i);
            let i = (0..part.len()).find(differs).expect("it differs somewhere");
            panic!(
                "{name} is wrong from its byte {i} on, which is byte {} of {}",
                at + i,
                whole.len()
            );
        }
        at += part.len();
    }
    let lens: Vec<_> = parts.iter().map(|(name, part)| (*name, part.len())).collect();
    assert_eq!(at, whole.len(), "{lens:?} do not add up");
}

/// The descriptors that the process has open: number and what is behind it.
///
/// # Panics
///
/// Without procfs.
pub fn descriptors() -> Vec<String> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("procfs") {
        let path = entry.expect("procfs").path();
        let Ok(what) = std::fs::read_link(&path) else { continue };
        let number = path.file_name().unwrap_or_default().display();
        // The listing's own.
        if !what.starts_with("/proc") {
            open.push(format!("{number}: {}", what.display()));
        }
    }
    open.sort();
    open
}

/// One test at a time in this process, so that it can count the process's descriptors and pipes.
///
/// When dropped it asserts that no descriptor is open that was not at its beginning, that no pipe is
/// on loan, and that the pool lends no pipe with bytes in it.
#[derive(Debug)]
pub struct Alone {
    descriptors: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for its turn. The first thing a test does, so that it is dropped last.
pub fn alone() -> Alone {
    let turn = serial();
    pool::clear();
    Alone { descriptors: descriptors(), _turn: turn }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_pool_is_clean();
        pool::clear();
        let mut leaked = descriptors();
        leaked.retain(|descriptor| !self.descriptors.contains(descriptor));
        assert!(leaked.is_empty(), "descriptors leaked: {leaked:?}");
    }
}

/// Asserts that no pipe is on loan, and that those in the pool are empty: the next copy, which takes
/// the pipe that was given back last, begins with its own bytes.
///
/// # Panics
///
/// If that is not so.
pub fn assert_pool_is_clean() {
    assert_eq!(pool::in_use(), 0, "pipes on loan");
    let sent = pattern(70_001);
    let (mut client, stream) = UnixStream::pair().expect("a socket pair");
    let mut file = tempfile::tempfile().expect("a file");
    client.write_all(&sent).expect("room for it in the socket");
    drop(client);
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut file);
    assert_eq!(report.expect("a clean copy").moved(), sent.len() as u64);
    assert_joined(&sent, &[("a clean copy", &contents(&file))]);
    assert_eq!(pool::in_use(), 0, "pipes on loan");
}
