//! Ends that cannot do what is asked: opened the wrong way round, in append mode, without splice, or no stream of
//! bytes at all.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;

use zc_std::hook::{self, Syscall};
use zc_std::{Copier, CopyError, Fd, Mechanism};
use zc_testkit::data::{assert_joined, bytes};
use zc_testkit::fds;
use zc_testkit::feeder::Feeder;
use zc_testkit::files::{self, contents, position};
use zc_testkit::skip::skip;
use zc_testkit::sockets::Socket;
use zc_testkit::streams::Stream;

const EBADF: i32 = 9;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
const FAR: u64 = 1 << 40;

/// The same file, opened once more with `options`.
fn reopened(file: &File, options: &OpenOptions) -> File {
    use std::os::fd::AsRawFd;
    options.open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

#[test]
fn a_sink_opened_read_only_fails_with_its_error() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 300_000);
    for adaptive in [true, false] {
        for kind in Stream::SOCKETS {
            let (ours, theirs) = kind.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let kept = files::on_disk(b"as it was");
            let mut file = reopened(&kept, OpenOptions::new().read(true));
            let mut source = ours.take(FAR);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut source, &mut file).unwrap_err();
            assert_eq!((error.raw_os_error(), error.syscall()), (Some(EBADF), Some("write")));
            assert_eq!((error.moved(), position(&file)), (0, 0));
            let residue = copier.take_residue();
            assert_eq!(residue.len() as u64, FAR - source.limit());
            let mut rest = Vec::new();
            source.read_to_end(&mut rest).unwrap();
            assert_joined(&sent, &[("the residue", &residue), ("the rest", &rest)]);
            assert_eq!(contents(&kept), b"as it was");
            feeder.finish().unwrap();
        }
    }
    // From a file. `copy` hands the residue over.
    let source = files::on_disk(&sent);
    let kept = files::on_disk(b"as it was");
    let mut file = reopened(&kept, OpenOptions::new().read(true));
    let mut limited = (&source).take(FAR);
    let error = zc_std::copy(&mut limited, &mut file).unwrap_err();
    let error = CopyError::from_io(&error).unwrap();
    assert_eq!((error.raw_os_error(), error.syscall()), (Some(EBADF), Some("write")));
    assert_eq!((error.moved(), FAR - limited.limit()), (0, error.residue().len() as u64));
    assert_eq!(position(&source), error.residue().len() as u64);
    assert_joined(&sent[..error.residue().len()], &[("the residue", error.residue())]);
    assert_eq!(contents(&kept), b"as it was");
}

#[test]
fn a_source_opened_write_only_fails_with_its_error() {
    let _leaks = fds::no_leaks();
    let kept = files::on_disk(&bytes(0, 100_000));
    let wrong = reopened(&kept, OpenOptions::new().write(true));
    let mut to = files::on_disk(b"");
    let (mut socket, peer) = Stream::Unix.sockets();
    for limit in [FAR, 100] {
        let mut limited = (&wrong).take(limit);
        let sinks: [&mut dyn zc_std::WriteSink; 2] = [&mut to, &mut socket];
        for sink in sinks {
            let mut copier = Copier::new();
            let error = copier.copy(&mut limited, sink).unwrap_err();
            assert_eq!((error.raw_os_error(), error.syscall()), (Some(EBADF), Some("read")));
            assert_eq!((error.moved(), copier.in_flight(), limited.limit()), (0, 0, limit));
        }
    }
    assert_eq!((position(&wrong), to.metadata().unwrap().len()), (0, 0));
    drop(socket);
    let mut arrived = Vec::new();
    let mut peer = peer;
    assert_eq!(peer.read_to_end(&mut arrived).unwrap(), 0);
}

/// splice to a file in append mode answers EINVAL once the socket has been drained into the pipe. The copier asks
/// once.
#[test]
fn a_sink_in_append_mode_is_written_at_its_end() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 3 << 20);
    for kind in Stream::SOCKETS {
        for adaptive in [true, false] {
            let (ours, theirs) = kind.sockets();
            let feeder = Feeder::until_refused(theirs, sent.clone());
            let kept = files::on_disk(b"before ");
            let mut file = reopened(&kept, OpenOptions::new().append(true));
            let mut source = ours.take(2 << 20);
            let record = hook::record();
            let mut copier = Copier::new().adaptive(adaptive);
            let report = copier.copy(&mut source, &mut file).unwrap();
            assert_eq!((report.moved(), source.limit()), (2 << 20, 0));
            assert_eq!(report.moved_by(Mechanism::ReadWrite), 2 << 20);
            let to = Some(std::os::fd::AsRawFd::as_raw_fd(&file));
            let splices = record.calls_to(Syscall::Splice);
            let into: Vec<_> = splices.iter().filter(|splice| splice.call.to == to).collect();
            assert!(
                into.len() <= 1 && into.iter().all(|splice| splice.result == Err(libc::EINVAL))
            );
            assert_joined(
                &contents(&kept),
                &[("what was there", b"before "), ("what was sent", &sent[..2 << 20])],
            );
            let mut rest = Vec::new();
            source.into_inner().read_to_end(&mut rest).unwrap();
            assert_joined(&sent[2 << 20..], &[("the rest", &rest)]);
            feeder.finish().unwrap();
        }
    }
    let source = files::on_disk(&sent);
    let kept = files::on_disk(b"before ");
    let mut file = reopened(&kept, OpenOptions::new().append(true));
    let mut limited = (&source).take(2 << 20);
    let report = Copier::new().adaptive(false).copy(&mut limited, &mut file).unwrap();
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 2 << 20);
    assert_eq!((report.moved(), limited.limit(), position(&source)), (2 << 20, 0, 2 << 20));
    let whole = contents(&kept);
    assert_joined(&whole, &[("what was there", b"before "), ("a file", &sent[..2 << 20])]);
}

#[test]
fn a_sink_turned_to_append_mode_is_written_at_its_end() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for kind in Stream::SOCKETS {
        let (ours, theirs) = kind.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let kept = files::on_disk(b"before ");
        let mut file = reopened(&kept, OpenOptions::new().append(true));
        rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::empty()).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        let (record, turned) = (hook::record(), file.try_clone().unwrap());
        let turns = hook::replace(move |call| {
            if call.syscall == Syscall::Splice {
                rustix::fs::fcntl_setfl(&turned, rustix::fs::OFlags::APPEND).unwrap();
            }
            hook::Action::Proceed
        });
        let mut source = ours.take(FAR);
        let report = Copier::new().adaptive(false).copy(&mut source, &mut file).unwrap();
        drop(turns);
        assert_eq!((report.moved(), FAR - source.limit()), (1 << 20, 1 << 20));
        assert_eq!(report.moved_by(Mechanism::ReadWrite), 1 << 20);
        assert_eq!(report.refused(Mechanism::Splice), Some(EINVAL));
        let splices = record.calls_to(Syscall::Splice);
        let [took, refused @ ..] = &splices[..] else { panic!("no splice at all") };
        assert!(took.moved() > 0, "the socket is drained before anybody knows");
        assert!(!refused.is_empty());
        assert!(refused.iter().all(|call| call.result == Err(EINVAL)), "{refused:?}");
        let parts: [(&str, &[u8]); 2] = [("what was there", b"before "), ("what was sent", &sent)];
        assert_joined(&contents(&kept), &parts);
        feeder.finish().unwrap();
    }
}

/// Devices go to read/write at once. A file of procfs looks regular, and refuses once the socket has been drained.
#[test]
fn a_sink_without_splice_is_written() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 1 << 20);
    for path in ["/dev/zero", "/dev/full", "/dev/random"] {
        let (ours, theirs) = Stream::Tcp.sockets();
        let feeder = Feeder::until_refused(theirs, sent.clone());
        let mut device = OpenOptions::new().write(true).open(path).unwrap();
        let mut source = ours.take(FAR);
        let mut copier = Copier::new().adaptive(false);
        let outcome = copier.copy(&mut source, &mut device);
        assert_eq!(path == "/dev/full", outcome.is_err(), "{path}: {outcome:?}");
        let moved = copier.report().moved();
        assert_eq!(moved + copier.in_flight() as u64, FAR - source.limit(), "{path}");
        assert!(!copier.report().tried(Mechanism::Splice), "{path}");
        drop(source);
        feeder.finish().unwrap();
    }
    let path = "/proc/self/comm";
    let (mut client, stream) = std::os::unix::net::UnixStream::pair().unwrap();
    client.write_all(b"zc-renamed").unwrap();
    drop(client);
    let before = std::fs::read(path).unwrap();
    let mut comm = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let report = Copier::new().adaptive(false).copy(&mut &stream, &mut comm).unwrap();
    assert_eq!((report.moved(), report.refused(Mechanism::Splice)), (10, Some(EINVAL)));
    assert_eq!(report.moved_by(Mechanism::ReadWrite), 10);
    let after = std::fs::read(path).unwrap();
    std::fs::write(path, before.trim_ascii_end()).unwrap();
    assert_eq!(after, b"zc-renamed\n");
}

#[test]
fn a_directory_as_a_source_fails() {
    let _leaks = fds::no_leaks();
    let dir = tempfile::tempdir().unwrap();
    let directory = File::open(dir.path()).unwrap();
    let mut to = files::on_disk(b"");
    for limit in [FAR, 100] {
        for adaptive in [true, false] {
            let mut limited = (&directory).take(limit);
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut limited, &mut to).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IsADirectory);
            assert_eq!((error.raw_os_error(), error.syscall()), (Some(EISDIR), Some("read")));
            assert_eq!((error.moved(), copier.in_flight(), limited.limit()), (0, 0, limit));
        }
    }
    assert_eq!(to.metadata().unwrap().len(), 0);
}

/// A descriptor opened with O_PATH can move nothing, and the error says so.
#[test]
fn a_descriptor_of_a_path_fails_as_source_and_sink() {
    let _leaks = fds::no_leaks();
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("file");
    std::fs::write(&name, b"as it was").unwrap();
    let flags = rustix::fs::OFlags::PATH;
    let place = || rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
    let mut source = Fd::new(place()).unwrap();
    let error = Copier::new().copy(&mut source, &mut files::on_disk(b"")).unwrap_err();
    assert_eq!((error.raw_os_error(), error.syscall()), (Some(EBADF), Some("read")));

    let mut sink = Fd::new(place()).unwrap();
    let (ours, mut theirs) = Stream::Tcp.sockets();
    theirs.write_all(b"hello").unwrap();
    let mut source = ours.take(FAR);
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut sink).unwrap_err();
    assert_eq!((error.raw_os_error(), error.moved()), (Some(EBADF), 0));
    assert_eq!(copier.take_residue(), b"hello");
    assert_eq!(source.limit(), FAR - 5);
    assert_eq!(std::fs::read(&name).unwrap(), b"as it was");
}

/// A memory file sealed against growing refuses in mid-copy with EPERM. Elsewhere that means "not this call", so
/// read/write decides.
#[test]
fn a_sealed_memory_file_loses_nothing() {
    let _leaks = fds::no_leaks();
    let Ok(memory) = rustix::fs::memfd_create("zc", rustix::fs::MemfdFlags::ALLOW_SEALING) else {
        return skip("no memfd_create");
    };
    let mut file = File::from(memory);
    file.set_len(1 << 20).unwrap();
    rustix::fs::fcntl_add_seals(file.as_fd(), rustix::fs::SealFlags::GROW).unwrap();

    let sent = bytes(0, 3 << 20);
    let (ours, theirs) = Stream::Tcp.sockets();
    let feeder = Feeder::until_refused(theirs, sent.clone());
    let mut source = ours.take(FAR);
    let mut copier = Copier::new();
    let error = copier.copy(&mut source, &mut file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(error.moved() + copier.in_flight() as u64, FAR - source.limit());
    assert_eq!(position(&file), error.moved());
    let written = usize::try_from(error.moved()).unwrap();
    let residue = copier.take_residue();
    let mut rest = Vec::new();
    source.read_to_end(&mut rest).unwrap();
    let whole = contents(&file);
    assert_eq!(whole.len(), 1 << 20);
    assert_joined(
        &sent,
        &[("the file", &whole[..written]), ("the residue", &residue), ("the rest", &rest)],
    );
    feeder.finish().unwrap();
}

/// Both ends of the copy are one end of one connection: what comes in goes back out.
#[test]
fn a_socket_into_itself_is_an_echo() {
    let _leaks = fds::no_leaks();
    let sent = bytes(0, 100_000);
    let (ours, mut theirs) = Stream::Tcp.sockets();
    let Socket::Tcp(stream) = ours else { unreachable!() };
    theirs.write_all(&sent).unwrap();
    let mut limited = (&stream).take(sent.len() as u64);
    let report = Copier::new().copy(&mut limited, &mut &stream).unwrap();
    assert_eq!((report.moved(), limited.limit()), (sent.len() as u64, 0));
    let mut back = vec![0; sent.len()];
    theirs.read_exact(&mut back).unwrap();
    assert_joined(&sent, &[("the echo", &back)]);
}
