//! A file is not appended to itself by one open file, whose offset each append leaves at the end.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};

use zc_std::{Copier, CopyError};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};

/// The first read would be the last, and the copy cut short without an error.
#[test]
fn an_append_by_one_open_file_is_refused() {
    for len in [100_000, 300_000, 1 << 20] {
        for start in [0, 7] {
            for adaptive in [true, false] {
                let _leaks = fds::no_leaks();
                let data = data::bytes(1, len);
                let name = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(name.path(), &data).unwrap();
                let open = File::options().read(true).append(true).open(name.path());
                let (mut from, mut to) = (open.as_ref().unwrap(), open.as_ref().unwrap());
                from.seek(SeekFrom::Start(start)).unwrap();

                let mut copier = Copier::new().adaptive(adaptive);
                let error = copier.copy(&mut from, &mut to).unwrap_err();
                assert_eq!((error.kind(), error.moved()), (ErrorKind::InvalidInput, 0), "{error}");
                assert!(error.to_string().contains("same file"), "{error}");
                let error = zc_std::copy(&mut from, &mut to).unwrap_err();
                assert_eq!(CopyError::from_io(&error).unwrap().residue(), b"");

                assert_eq!((copier.in_flight(), files::position(from)), (0, start));
                assert_same(&std::fs::read(name.path()).unwrap(), &data);
            }
        }
    }
}

/// Two open files that merely have the same offset are no such case.
#[test]
fn two_open_files_are_not_taken_for_one() {
    for adaptive in [true, false] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(2, 300_000);
        let name = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(name.path(), &data).unwrap();
        let mut from = File::open(name.path()).unwrap();
        let mut to = File::options().append(true).open(name.path()).unwrap();
        assert_eq!(files::position(&from), files::position(&to));

        let report = Copier::new().adaptive(adaptive).copy(&mut from, &mut to).unwrap();
        assert_eq!((report.moved(), files::position(&from)), (300_000, 300_000));
        assert_same(&std::fs::read(name.path()).unwrap(), &[&data[..], &data].concat());
    }
}
