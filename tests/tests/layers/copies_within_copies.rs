//! A callback of one copy makes another.

use std::io::{Read, Write};

use zc_std::{Copier, Progress};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files, sockets};

/// The calls of the inner copy are in its own report.
#[test]
fn each_copy_counts_its_own_calls() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 1 << 20);
    let calls = |nested: bool| {
        let (mut client, server) = sockets::unix();
        client.write_all(b"hello").unwrap();
        drop(client);
        let (file, mut inner) = (files::empty(), 0);
        let mut source = Progress::new(&server, |_| {
            if nested {
                let (mut from, mut to) = (files::holding(&data), files::empty());
                let report = Copier::new().copy(&mut from, &mut to).unwrap();
                assert_same(&files::contents(&to), &data);
                inner += report.calls();
            }
        })
        .take(100);
        let outer = Copier::new().copy(&mut source, &mut &file).unwrap();
        assert_eq!((outer.moved(), source.limit()), (5, 95));
        assert_eq!(files::contents(&file), b"hello");
        (outer.calls(), inner)
    };
    let (alone, _) = calls(false);
    let (outer, inner) = calls(true);
    assert_eq!(outer, alone);
    assert!(inner > 3, "{inner}");
}
