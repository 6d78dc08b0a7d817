//! A unit test of your own code against what a kernel rarely does: a disk fills up in the middle, a
//! splice moves less than it was asked to.
//!
//! `cargo run -p zc-std --features hook --example inject_faults`, and as tests:
//! `cargo test -p zc-std --features hook --example inject_faults`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, CopyError, ReadSource};

/// The code under test: stores a message, or nothing of it.
fn store(source: &mut dyn ReadSource, file: &mut File) -> Result<u64, CopyError> {
    let start = file.stream_position().map_err(CopyError::new)?;
    // Spliced from the first byte on, as a long message is.
    let mut copier = Copier::new().adaptive(false);
    match copier.copy(source, file) {
        Ok(report) => Ok(report.moved()),
        Err(error) => {
            let undone = file.set_len(start).and_then(|()| file.seek(io::SeekFrom::Start(start)));
            undone.map_err(CopyError::new)?;
            Err(error.with_residue(copier.take_residue()))
        }
    }
}

/// A stream with a message in it.
fn message(bytes: &[u8]) -> io::Result<UnixStream> {
    let (mut far, near) = UnixStream::pair()?;
    far.write_all(bytes)?;
    Ok(near)
}

fn short_splices_lose_nothing() -> io::Result<()> {
    let (mut file, mut stream) = (tempfile::tempfile()?, message(b"a message of some length")?);

    let recorder = hook::record();
    let _short = hook::short(5).install();
    assert_eq!(store(&mut stream, &mut file).map_err(io::Error::from)?, 24);

    assert!(recorder.calls_to(Syscall::Splice).len() >= 10, "five bytes in, five bytes out, …");
    let mut stored = String::new();
    file.rewind()?;
    file.read_to_string(&mut stored)?;
    assert_eq!(stored, "a message of some length");
    Ok(())
}

fn a_full_disk_leaves_no_half_message() -> io::Result<()> {
    let (mut file, mut stream) = (tempfile::tempfile()?, message(b"a message of some length")?);

    // Room for ten bytes, and then no more, by any call.
    let _full_disk = hook::full_disk(&file, 10).install();
    let error = store(&mut stream, &mut file).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(error.moved(), 10);
    assert_eq!(error.residue(), b"of some length");
    assert_eq!(file.metadata()?.len(), 0);
    println!("as it should: {error}");
    Ok(())
}

fn main() -> io::Result<()> {
    short_splices_lose_nothing()?;
    a_full_disk_leaves_no_half_message()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices_may_be_short() -> io::Result<()> {
        short_splices_lose_nothing()
    }

    #[test]
    fn the_disk_may_be_full() -> io::Result<()> {
        a_full_disk_leaves_no_half_message()
    }
}
