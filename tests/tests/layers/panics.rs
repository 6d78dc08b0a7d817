//! A layer that panics when it hears of bytes keeps no other layer from hearing of them.

use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zc_std::{Copier, Mechanism, Progress, ReadSource, pool};
use zc_testkit::data::assert_same;
use zc_testkit::{fds, files};

/// Copies from `source` under a limit of four bytes, with a callback around it that panics.
fn four_of_six(source: impl ReadSource) {
    let mut copier = Copier::new();
    let mut file = tempfile::tempfile().unwrap();
    let mut source = Progress::new(source, |_| panic!("on purpose")).take(4);
    let outcome = catch_unwind(AssertUnwindSafe(|| copier.copy(&mut source, &mut file)));
    assert!(outcome.is_err(), "nothing panicked");

    assert_eq!(source.limit(), 0);
    assert_eq!(copier.in_flight(), 0);
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"four");
}

#[test]
fn a_panic_at_buffered_bytes_lowers_the_limit() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    let mut reader = BufReader::new(&stream);
    std::io::BufRead::fill_buf(&mut reader).unwrap();
    four_of_six(&mut reader);
    assert_eq!(reader.buffer(), b"six");
}

#[test]
fn a_panic_at_bytes_of_a_descriptor_lowers_the_limit() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    four_of_six(&stream);
}

#[test]
fn a_panic_on_one_side_leaves_the_other_told() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(b"foursix").unwrap();
    let file = tempfile::tempfile().unwrap();
    let mut given = 0;
    let mut source = Progress::new(&stream, |_| panic!("on purpose")).take(4);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        zc_std::copy(&mut source, &mut Progress::new(&file, |n| given += n))
    }));
    assert!(outcome.is_err(), "nothing panicked");
    assert_eq!((source.limit(), given), (0, 4));
}

/// The copier outlives the panic. With nothing in flight it holds neither a pipe nor memory, or a few such copiers
/// would use up all pipes.
#[test]
fn a_panic_leaves_no_pipe_with_an_idle_copier() {
    let _leaks = fds::no_leaks();
    let data = vec![7; 100_000];
    let mut copiers = Vec::new();
    for _ in 0..pool::MAX_IN_USE + 2 {
        let (mut client, stream) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut copier = Copier::new().adaptive(false);
        client.write_all(&data).unwrap();
        drop(client);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            copier.copy(&mut Progress::new(&stream, |_| panic!("on purpose")), &mut &file)
        }));
        assert!(outcome.is_err(), "nothing panicked");

        assert_eq!(copier.in_flight(), 0);
        let report = copier.report();
        assert_eq!(report.moved(), file.metadata().unwrap().len());
        assert!(report.moved() > 0 && report.calls() > 0, "{report:?}");
        let moved = usize::try_from(report.moved()).unwrap();

        // The same copier goes on.
        let report = copier.copy(&mut &stream, &mut &file).unwrap();
        assert_eq!(report.refused(Mechanism::Splice), None, "{report:?}");
        assert_eq!(moved + usize::try_from(report.moved()).unwrap(), data.len());
        assert_same(&files::contents(&file), &data);
        copiers.push(copier);
    }
}
