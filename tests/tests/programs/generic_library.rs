//! A library whose functions have a `Read` bound, in each of the ways that it may go.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Syscall};
use zc_std::{Opaque, ReadSource, probe};
use zc_testkit::data::{self, assert_same};
use zc_testkit::feeder::Feeder;
use zc_testkit::{fds, files, sockets};

/// The library.
mod archive {
    use super::*;

    /// As it was published, for any reader.
    pub(super) fn save<R: Read>(mut from: R, mut to: &File) -> io::Result<u64> {
        zc_std::copy(&mut Opaque(&mut from), &mut to)
    }

    /// Its next minor version: the kernel moves the bytes of types that a probe knows.
    pub(super) fn save_probed<R: Read + 'static>(from: &mut R, to: &mut File) -> io::Result<u64> {
        probe::copy(from, to)
    }

    /// A second function, for types that have opted in.
    pub(super) fn save_from<R: ReadSource>(mut from: R, mut to: &File) -> io::Result<u64> {
        zc_std::copy(&mut from, &mut to)
    }
}

fn spliced(save: impl FnOnce(UnixStream, &mut File) -> io::Result<u64>) -> bool {
    // More than one read brings.
    let data = data::bytes(1, 1_000_000);
    let (client, server) = sockets::unix();
    let feeder = Feeder::pieces(client, data.clone(), 100_000);
    let mut file = files::empty();
    let recorder = hook::record();
    assert_eq!(save(server, &mut file).unwrap(), data.len() as u64);
    assert_same(&files::contents(&file), &data);
    feeder.finish().unwrap();
    recorder.calls_to(Syscall::Splice).iter().any(|record| record.moved() > 0)
}

#[test]
fn the_kernel_moves_what_the_signature_lets_it() {
    let _leaks = fds::no_leaks();
    assert!(!spliced(|from, to| archive::save(from, to)));
    assert!(spliced(|mut from, to| archive::save_probed(&mut from, to)));
    assert!(spliced(|from, to| archive::save_probed(&mut BufReader::new(from.take(1 << 30)), to)));
    assert!(spliced(|from, to| archive::save_from(BufReader::new(&from), to)));
    // Other readers still work.
    assert!(!spliced(|from, to| archive::save_probed(&mut from.chain(io::empty()), to)));
    assert!(!spliced(|from, to| archive::save_from(Opaque(from), to)));
}
