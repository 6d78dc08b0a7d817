//! A source that hashes what it passes on. It has to see the bytes, and says so.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};

use zc_std::conformance::{Property, SourceKit};
use zc_std::{Copier, Mechanism, Source, Upstream};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};

struct Hashed<S> {
    inner: S,
    hash: DefaultHasher,
    /// A first attempt: the kernel moves bytes past the hash.
    is_hasty: bool,
}

impl<S: Read> Hashed<S> {
    fn new(inner: S, is_hasty: bool) -> Self {
        Hashed { inner, hash: DefaultHasher::new(), is_hasty }
    }
}

impl<S: Read> Read for Hashed<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hash.write(&buf[..n]);
        Ok(n)
    }
}

impl<S: Source> Source for Hashed<S> {
    fn upstream(&mut self) -> Upstream<'_> {
        if self.is_hasty { Upstream::through(&mut self.inner) } else { Upstream::opaque() }
    }
}

#[test]
fn the_kit_finds_a_hash_that_is_skipped() {
    let _leaks = fds::no_leaks();
    let kit = |is_hasty| {
        SourceKit::new(move |stream| Hashed::new(stream, is_hasty))
            .observe(|hashed: &Hashed<_>| hashed.hash.finish())
    };
    kit(false).assert();
    let failure = kit(true).check().unwrap_err();
    assert_eq!(failure.property(), Property::State);
    assert!(failure.to_string().contains("Upstream::opaque"), "{failure}");
}

#[test]
fn the_hash_is_that_of_what_arrived() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 1_000_000);
    let (source, file) = (files::holding(&data), files::empty());
    let mut hashed = Hashed::new(&source, false).take(600_000);
    let report = Copier::new().copy(&mut hashed, &mut &file).unwrap();
    assert_eq!((report.moved(), report.mechanism()), (600_000, Some(Mechanism::ReadWrite)));
    assert_same(&files::contents(&file), &data[..600_000]);
    let mut want = DefaultHasher::new();
    want.write(&data[..600_000]);
    assert_eq!(hashed.get_ref().hash.finish(), want.finish());
}
