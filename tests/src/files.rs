//! Regular files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// An empty file without a name, in memory if the system has a place for that.
pub fn empty() -> File {
    tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).expect("a temporary file")
}

/// A file of `data` in memory, if the system has a place for that. Its offset is 0.
pub fn holding(data: &[u8]) -> File {
    filled(empty(), data)
}

/// A file of `data` where temporary files go, which is mostly a disk. Its offset is 0.
pub fn on_disk(data: &[u8]) -> File {
    filled(tempfile::tempfile().expect("a temporary file"), data)
}

fn filled(file: File, data: &[u8]) -> File {
    std::io::Write::write_all(&mut &file, data).expect("room for it");
    (&file).rewind().expect("a file");
    file
}

/// The content of `file`, whose offset stays.
pub fn contents(file: &File) -> Vec<u8> {
    let mut file = file;
    let at = position(file);
    let mut all = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut all).expect("a readable file");
    file.seek(SeekFrom::Start(at)).expect("a file");
    all
}

/// The offset of `file`.
pub fn position(mut file: &File) -> u64 {
    file.stream_position().expect("a file")
}
