//! What a copy asks before it moves a byte: as little as possible.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use zc_std::hook::{self, Action, Record, Syscall};
use zc_std::{
    AsRawPollFd, Copier, Downstream, Fd, IsStream, Mechanism, ReadFrom, ReadSource, Report, Sink,
    Source, Upstream,
};
use zc_testkit::data::{self, assert_same};
use zc_testkit::mounts::Mount;
use zc_testkit::skip::or_skip;
use zc_testkit::{calls, fds, files, sockets};

use Syscall::{CopyFileRange, Fstat, Fstatfs, GetSockOpt, Read as R, Seek, Statx, Write as W};

/// Copies all of `from` to `to`. Returns the report and the calls.
fn copy(from: &File, to: &File, data: &[u8]) -> (Report, Vec<Record>) {
    let recorder = hook::record();
    let report = Copier::new().copy(&mut &*from, &mut &*to).unwrap();
    let calls = recorder.calls();
    drop(recorder);
    assert_eq!(report.moved(), data.len() as u64);
    assert_eq!((files::position(from), files::position(to)), (report.moved(), report.moved()));
    assert_same(&files::contents(to), data);
    (report, calls)
}

#[test]
fn a_limited_copy_asks_nothing() {
    let _leaks = fds::no_leaks();
    for len in [1, 64, 4096] {
        let data = data::bytes(1, len);
        let (mut client, mut stream) = sockets::tcp_v4();
        client.write_all(&data).unwrap();
        let (mut file, recorder) = (files::empty(), hook::record());
        let mut limited = (&mut stream).take(len as u64);
        file.read_from(&mut limited).unwrap();
        assert_eq!(calls::names(&recorder.calls()), [R, W]);
        assert_eq!(limited.limit(), 0);
        assert_same(&files::contents(&file), &data);
    }
}

/// The same without a limit, for as long as the pieces are small.
#[test]
fn a_short_message_asks_nothing() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(2, 10_000);
    for of_unknown_make in [false, true] {
        let (mut client, mut stream) = sockets::unix();
        client.write_all(&data).unwrap();
        drop(client);
        let (mut fd, file) = (Fd::new(stream.try_clone().unwrap()).unwrap(), files::empty());
        let source: &mut dyn ReadSource = if of_unknown_make { &mut fd } else { &mut stream };
        let recorder = hook::record();
        assert_eq!(zc_std::copy(source, &mut &file).unwrap(), 10_000);
        assert_eq!(calls::names(&recorder.calls()), [R, W, R]);
        assert_same(&files::contents(&file), &data);
    }
}

/// A source may put a large header in front of a socket's bytes. It tells nothing of the socket.
#[test]
fn bytes_from_elsewhere_tell_nothing_of_a_socket() {
    struct Headed<'a> {
        header: &'a [u8],
        stream: &'a UnixStream,
    }
    impl Read for Headed<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.header.is_empty() { self.stream.read(buf) } else { self.header.read(buf) }
        }
    }
    impl Source for Headed<'_> {
        fn upstream(&mut self) -> Upstream<'_> {
            if self.header.is_empty() {
                Upstream::through(&mut self.stream)
            } else {
                Upstream::opaque()
            }
        }
    }

    let _leaks = fds::no_leaks();
    let data = data::bytes(10, 110_000);
    let (header, body) = data.split_at(100_000);
    let (mut client, stream) = sockets::unix();
    client.write_all(body).unwrap();
    drop(client);
    let (file, recorder) = (files::empty(), hook::record());
    let mut source = Headed { header, stream: &stream };
    assert_eq!(zc_std::copy(&mut source, &mut &file).unwrap(), 110_000);
    assert_eq!(calls::names(&recorder.calls()), [W, R, W, R]);
    assert_same(&files::contents(&file), &data);
}

/// std's socket types know what they are.
#[test]
fn sockets_are_not_asked_what_they_are() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(3, 3 << 20);
    let (client, stream) = sockets::unix();
    let (sink, drain) = sockets::tcp_v4();
    let got = std::thread::scope(|scope| {
        scope.spawn(|| { client }.write_all(&data).unwrap());
        let reader = scope.spawn(|| {
            let mut got = Vec::new();
            { drain }.read_to_end(&mut got).unwrap();
            got
        });
        let recorder = hook::record();
        let moved = zc_std::copy(&mut { stream }, &mut { sink }).unwrap();
        assert_eq!(moved, data.len() as u64);
        let calls = calls::names(&recorder.calls());
        assert!(!calls.iter().any(|call| matches!(call, Statx | Fstat)), "{calls:?}");
        // After many bytes the copy asks what protocol they speak: two questions each.
        assert!(calls.iter().filter(|&&call| call == GetSockOpt).count() <= 4, "{calls:?}");
        reader.join().unwrap()
    });
    assert_same(&got, &data);
}

/// fstat would make the first write stamp the file's inode, which costs more than a small copy.
#[test]
fn files_are_not_asked_for_their_times() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(4, 5000);
    let (from, to) = (files::on_disk(&data), files::on_disk(b""));
    let (report, calls) = copy(&from, &to, &data);
    assert_eq!(calls::names(&calls), [Statx, Statx, R, W, R]);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 5000);
}

#[test]
fn where_statx_is_denied_fstat_does() {
    for errno in [Errno::NOSYS, Errno::PERM] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(5, 5000);
        let (from, to) = (files::on_disk(&data), files::on_disk(b""));
        let denied = hook::replace(move |call| match call.syscall {
            Statx => Action::Fail(errno.raw_os_error()),
            _ => Action::Proceed,
        });
        let (_, calls) = copy(&from, &to, &data);
        assert_eq!(calls::names(&calls), [Statx, Fstat, Statx, Fstat, R, W, R]);
        // The copy knows the file all the same: it is not copied into itself.
        let (mut from, mut to) = (&from, from.try_clone().unwrap());
        std::io::Seek::rewind(&mut from).unwrap();
        let error = zc_std::copy(&mut from, &mut to).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        drop(denied);
    }
}

/// A file with `data`, whose blocks are allocated, and an empty one.
fn on_the_disk(mount: &Mount, data: &[u8]) -> (File, File) {
    let create = |name: &str| {
        let mut new = File::options();
        new.read(true).write(true).create_new(true).open(mount.path(name)).unwrap()
    };
    let (mut from, to) = (create("from"), create("to"));
    from.write_all(data).unwrap();
    from.sync_all().unwrap();
    std::io::Seek::rewind(&mut from).unwrap();
    (from, to)
}

/// The call that shares blocks says whether the file system can.
#[test]
fn no_file_system_is_asked_whether_it_shares_blocks() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(6, 1 << 20);
    let mounts = [Mount::tmpfs(16 << 10), Mount::ext4(16), Mount::xfs(320), Mount::btrfs(320)];
    for mount in mounts {
        let Some(mount) = or_skip(mount) else { continue };
        let (from, to) = on_the_disk(&mount, &data);
        let (report, calls) = copy(&from, &to, &data);
        assert_eq!(report.moved_by(Mechanism::CopyFileRange), 1 << 20, "{}", mount.kind());
        // What both files are, whether the sink is in append mode, and a claim on each of them.
        let calls = calls::names(&calls);
        let asked = [Statx, Statx, Syscall::GetFlags, Seek, Seek];
        assert_eq!(calls, [&asked[..], &[CopyFileRange, R]].concat(), "{}", mount.kind());
    }
}

/// Nor is one whose attributes tell it from those that are known to share none.
#[test]
fn only_what_may_share_no_blocks_is_asked() {
    const LEN: usize = (2 << 20) + 5;
    let _leaks = fds::no_leaks();
    let data = data::bytes(12, LEN);
    let mounts = [
        (Mount::tmpfs(16 << 10), true),
        (Mount::ext4(16), true),
        (Mount::xfs(320), false),
        (Mount::btrfs(320), false),
    ];
    for (mount, shares_none) in mounts {
        let Some(mount) = or_skip(mount) else { continue };
        let (from, to) = on_the_disk(&mount, &data);
        let (report, calls) = copy(&from, &to, &data);
        assert_eq!(report.moved_by(Mechanism::CopyFileRange), LEN as u64, "{}", mount.kind());
        let names = calls::names(&calls);
        let asked = names.iter().filter(|&&call| call == Fstatfs).count();
        assert_eq!(asked, usize::from(shares_none), "{}: {names:?}", mount.kind());
        let claims = calls.iter().filter(|record| record.call.syscall == CopyFileRange);
        let most = if shares_none { 1 << 20 } else { LEN };
        assert_eq!(claims.map(|claim| claim.call.len).max(), Some(most), "{}", mount.kind());
    }
}

/// A sendfile that is asked for more than there is expects another one to follow. Some kernels hold back a part of a
/// segment until then.
#[test]
fn sendfile_is_asked_for_no_more_than_there_is() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(7, 100_000);
    let from = files::on_disk(&data);
    let (mut sink, mut drain) = sockets::tcp_v4();
    let got = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut got = Vec::new();
            drain.read_to_end(&mut got).unwrap();
            got
        });
        let recorder = hook::record();
        assert_eq!(sink.read_from(&from).unwrap(), 100_000);
        let calls = recorder.calls_to(Syscall::Sendfile);
        let mut left = 100_000;
        for record in &calls {
            assert_eq!(record.call.len, left);
            left -= record.moved();
        }
        assert_eq!(left, 0);
        drop(sink);
        reader.join().unwrap()
    });
    assert_eq!(files::position(&from), 100_000);
    assert_same(&got, &data);
}

/// A file in a socket's type is a mistake of its owner, which costs no byte.
#[test]
fn a_file_that_is_said_to_be_a_socket_is_copied() {
    #[derive(Debug)]
    struct Mistaken(File);
    impl Read for Mistaken {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Write for Mistaken {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.write(buf)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl AsFd for Mistaken {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl IsStream for Mistaken {
        fn is_socket(&self) -> bool {
            true
        }
    }
    impl Source for Mistaken {
        fn upstream(&mut self) -> Upstream<'_> {
            Upstream::fd(self.as_raw_poll_fd())
        }
    }
    impl Sink for Mistaken {
        fn downstream(&mut self) -> Downstream<'_> {
            Downstream::fd(self.as_raw_poll_fd())
        }
    }
    for (len, adaptive) in [(5000, true), (5000, false), (1 << 20, true), (1 << 20, false)] {
        let _leaks = fds::no_leaks();
        let data = data::bytes(8, len);
        let (mut from, mut to) = (Mistaken(files::holding(&data)), Mistaken(files::empty()));
        let report = Copier::new().adaptive(adaptive).copy(&mut from, &mut to).unwrap();
        assert_eq!(report.moved(), len as u64);
        assert_eq!((files::position(&from.0), files::position(&to.0)), (len as u64, len as u64));
        assert_same(&files::contents(&to.0), &data);
    }
}

/// For a few pages the question is not worth its call. They are shared if that can be done.
#[test]
fn small_files_are_shared_without_asking() {
    let _leaks = fds::no_leaks();
    let data = data::bytes(11, 50_000);
    let (from, to) = (files::on_disk(&data), files::on_disk(b""));
    let (report, calls) = copy(&from, &to, &data);
    assert_eq!(calls::names(&calls), [Statx, Statx, Seek, Seek, CopyFileRange, R]);
    assert_eq!(report.moved_by(Mechanism::CopyFileRange), 50_000);

    let Some(mount) = or_skip(Mount::tmpfs(1 << 10)) else { return };
    let mut new = File::options();
    let to = new.read(true).write(true).create_new(true).open(mount.path("to")).unwrap();
    std::io::Seek::rewind(&mut &from).unwrap();
    let (report, calls) = copy(&from, &to, &data);
    assert_eq!(calls::names(&calls), [Statx, Statx, R, W, R]);
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 50_000);
}
