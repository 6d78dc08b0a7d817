//! Files with holes.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::data;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A file's length, and where it has data: offsets and lengths, in bytes.
pub type Layout = (u64, &'static [(u64, u64)]);

/// Holes at the beginning, in the middle, at the end, everywhere and nowhere.
pub const LAYOUTS: [Layout; 8] = [
    (16 * MIB, &[]),
    (16 * MIB, &[(0, 5 * KIB)]),
    (16 * MIB, &[(9 * MIB, MIB + 1)]),
    (16 * MIB, &[(16 * MIB - 1, 1)]),
    (16 * MIB + 3, &[(0, 1), (MIB, MIB), (7 * MIB + 7, 300 * KIB), (15 * MIB, MIB)]),
    (1, &[]),
    (4097, &[(4096, 1)]),
    (3 * MIB, &[(0, 3 * MIB)]),
];

/// Makes a file with this layout.
///
/// # Panics
///
/// If there is no room for it.
pub fn make(path: &Path, (len, data): Layout) {
    let file = File::create(path).expect("a place for a file");
    fill(&file, (len, data));
    file.sync_all().expect("room for it");
}

/// The same with a file that is open and empty.
///
/// # Panics
///
/// As [`make`] does.
pub fn fill(file: &File, (len, data): Layout) {
    file.set_len(len).expect("a file");
    for &(at, len) in data {
        let len = usize::try_from(len).expect("a length that fits into memory");
        file.write_all_at(&data::bytes(at + 1, len), at).expect("room for it");
    }
}

/// How many blocks of 512 bytes a file has.
///
/// # Panics
///
/// If there is no such file.
pub fn blocks(path: &Path) -> u64 {
    // On some file systems data that is not written yet has no blocks.
    File::open(path).and_then(|file| file.sync_all()).expect("a file");
    fs::metadata(path).expect("a file").blocks()
}
