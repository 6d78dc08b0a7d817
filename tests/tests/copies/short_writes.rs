//! A copy that has taken all that its limit allows goes on until all of it is delivered.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;

use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, CopyError, ReadFrom};
use zc_testkit::fds;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

fn content(file: &mut File) -> Vec<u8> {
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    all
}

/// Makes each delivery a short one, by `write` or by the splice into `to`.
fn short_deliveries(to: i32) -> hook::Guard {
    hook::replace(move |call| match call.syscall {
        Syscall::Write => Action::Limit(30),
        Syscall::Splice if call.to == Some(to) => Action::Limit(30),
        _ => Action::Proceed,
    })
}

#[test]
fn the_rest_is_delivered() {
    let _leaks = fds::no_leaks();
    use std::os::fd::AsRawFd;
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&pattern(150)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut limited = (&stream).take(100);

        let guard = short_deliveries(file.as_raw_fd());
        let mut copier = Copier::new().adaptive(adaptive);
        let report = copier.copy(&mut limited, &mut file).unwrap();
        drop(guard);

        assert_eq!((report.moved(), limited.limit(), copier.in_flight()), (100, 0, 0));
        assert_eq!(content(&mut file), pattern(100));
    }
}

#[test]
fn a_full_disk_is_reported() {
    let _leaks = fds::no_leaks();
    use std::os::fd::AsRawFd;
    for adaptive in [true, false] {
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&pattern(100)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut limited = (&stream).take(100);

        let to = file.as_raw_fd();
        let mut room = 40;
        let guard = hook::replace(move |call| {
            if call.to != Some(to) || call.len == 0 {
                return Action::Proceed;
            }
            let n = call.len.min(std::mem::take(&mut room));
            if n == 0 { Action::Fail(libc::ENOSPC) } else { Action::Limit(n) }
        });
        let mut copier = Copier::new().adaptive(adaptive);
        let error = copier.copy(&mut limited, &mut file).unwrap_err();
        drop(guard);

        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!((error.moved(), limited.limit(), copier.in_flight()), (40, 0, 60));
        assert_eq!(copier.take_residue(), &pattern(100)[40..]);
        assert_eq!(content(&mut file), &pattern(100)[..40]);
    }
}

#[test]
fn the_next_link_of_a_chain_comes_after_it() {
    let _leaks = fds::no_leaks();
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&pattern(100)).unwrap();
    let mut file = tempfile::tempfile().unwrap();

    let guard = short_deliveries(-1);
    let moved = file.read_from((&stream).take(100).chain(&b"tail"[..]));
    drop(guard);

    assert_eq!(moved.unwrap(), 104);
    assert_eq!(content(&mut file), [&pattern(100), &b"tail"[..]].concat());
}

/// Without a `Copier` a copy this small takes the fast path.
#[test]
fn the_fast_path_loses_nothing_either() {
    let _leaks = fds::no_leaks();
    use std::os::fd::AsRawFd;
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(&pattern(400)).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let to = file.as_raw_fd();

    // Short writes.
    let mut limited = (&stream).take(100);
    let guard = short_deliveries(to);
    assert_eq!(file.read_from(&mut limited).unwrap(), 100);
    drop(guard);
    assert_eq!(limited.limit(), 0);

    // A short read: the limit is not used up, and more comes.
    let mut limited = (&stream).take(100);
    let guard = hook::replace(|call| match call.syscall {
        Syscall::Read => Action::Limit(30),
        _ => Action::Proceed,
    });
    assert_eq!(file.read_from(&mut limited).unwrap(), 100);
    drop(guard);
    assert_eq!(limited.limit(), 0);

    // A write that fails at once, and one that fails after a short one.
    for room in [0, 40] {
        let mut limited = (&stream).take(100);
        let mut left = room;
        let guard = hook::replace(move |call| match call.syscall {
            Syscall::Write if left > 0 => Action::Limit(std::mem::take(&mut left)),
            Syscall::Write => Action::Fail(libc::ENOSPC),
            _ => Action::Proceed,
        });
        let error = file.read_from(&mut limited).unwrap_err();
        drop(guard);
        let copy = CopyError::from_io(&error).unwrap();
        assert_eq!((copy.raw_os_error(), copy.syscall()), (Some(libc::ENOSPC), Some("write")));
        assert_eq!((copy.moved(), limited.limit()), (room as u64, 0));
        file.write_all(copy.residue()).unwrap();
    }

    // The end of input before the limit, and a source that fails.
    drop(client);
    let mut limited = (&stream).take(100);
    assert_eq!(file.read_from(&mut limited).unwrap(), 0);
    let guard = hook::replace(|_| Action::Fail(libc::ECONNRESET));
    let error = file.read_from(&mut limited).unwrap_err();
    drop(guard);
    let copy = CopyError::from_io(&error).unwrap();
    assert_eq!((copy.raw_os_error(), copy.syscall()), (Some(libc::ECONNRESET), Some("read")));
    assert_eq!((copy.moved(), copy.residue().len(), limited.limit()), (0, 0, 100));
    assert_eq!(content(&mut file), pattern(400));
}

/// The fast path tells the layers of the bytes in the usual order, and tells all of them, also if one panics.
#[test]
fn the_fast_path_tells_every_layer() {
    let _leaks = fds::no_leaks();
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use zc_std::{Downstream, Sink, Source, Upstream};

    struct Leaf<'a, T>(T, &'a RefCell<Vec<(&'static str, u64)>>);
    struct Layer<'a, T>(Leaf<'a, T>, bool);
    impl Read for Leaf<'_, &UnixStream> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Source for Leaf<'_, &UnixStream> {
        fn upstream(&mut self) -> Upstream<'_> {
            self.0.upstream()
        }
        fn taken(&mut self, n: u64) {
            self.1.borrow_mut().push(("leaf", n));
        }
    }
    impl Read for Layer<'_, &UnixStream> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Source for Layer<'_, &UnixStream> {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::through(&mut self.0).limit(50)
        }
        fn taken(&mut self, n: u64) {
            self.0.1.borrow_mut().push(("layer", n));
            assert!(!self.1, "it was to panic");
        }
    }
    impl Write for Leaf<'_, &File> {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.write(buf)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Leaf<'_, &File> {
        fn downstream(&mut self) -> Downstream<'_> {
            self.0.downstream()
        }
        fn delivered(&mut self, n: u64) {
            self.1.borrow_mut().push(("sink", n));
        }
    }

    for panics in [false, true] {
        let told = RefCell::default();
        let (mut client, stream) = UnixStream::pair().unwrap();
        client.write_all(&pattern(20)).unwrap();
        drop(client);
        let mut file = tempfile::tempfile().unwrap();
        let mut source = Layer(Leaf(&stream, &told), panics);
        let mut sink = Leaf(&file, &told);
        let copy = AssertUnwindSafe(|| zc_std::copy(&mut source, &mut sink));
        let outcome = catch_unwind(copy);
        assert_eq!(outcome.is_err(), panics);
        assert!(outcome.is_err() || outcome.unwrap().unwrap() == 20);
        assert_eq!(told.take(), [("leaf", 20), ("layer", 20), ("sink", 20)]);
        assert_eq!(content(&mut file), pattern(20));
    }
}
