use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{SendFlags, send};
use zc_std::Side;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, Mechanism};
use zc_testkit::apart::apart;
use zc_testkit::collector::Collector;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::feeder::Feeder;
use zc_testkit::skip::skip;
use zc_testkit::streams::{Plain, Stream};
use zc_testkit::wait::is_ready;
use zc_testkit::{fds, files, raw, sockets};

/// Why no pipe can be had.
#[derive(Clone, Copy, Debug)]
enum Scarce {
    /// A new pipe past the user's budget has one page.
    Small,
    /// No descriptor.
    None,
}

/// Where no pipe can be had a copy reads. It does not ask again for each piece.
#[test]
fn pipes_that_are_refused_are_not_asked_for_again_and_again() {
    apart(|| {
        let sinks = [Stream::Tcp, Stream::Unix, Stream::Pipe];
        let cells = pairs(
            &pairs(&Stream::SOCKETS, &sinks),
            &pairs(&[Scarce::Small, Scarce::None], &[true, false]),
        );
        each(cells, |&((source, sink), (scarce, adaptive))| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(1, 8 << 20);
            let ((to, from), (out, into)) = (source.open(), sink.open());
            let fd = from.as_raw_fd();
            let feeder = Feeder::pieces(Plain(to), data.clone(), 64 << 10);
            let collector = Collector::start(Plain(into));
            let recorder = hook::record();
            let guard = hook::replace(move |call| match (call.syscall, scarce) {
                (Syscall::Pipe, Scarce::None) => Action::Fail(libc::EMFILE),
                (Syscall::SetPipeSize, _) => Action::Fail(libc::EPERM),
                (Syscall::GetPipeSize, _) => Action::Return(4096),
                // At least this many pieces.
                (Syscall::Read, _) if call.from == Some(fd) => Action::Limit(64 << 10),
                _ => Action::Proceed,
            });
            let mut copier = Copier::new().adaptive(adaptive);
            let (mut source, mut sink) = (Fd::new(from).unwrap(), Fd::new(out).unwrap());
            let report = copier.copy(&mut source, &mut sink).unwrap();
            drop((guard, sink));
            assert_eq!(report.moved_by(Mechanism::ReadWrite), data.len() as u64);
            assert_same(&collector.finish(), &data);
            feeder.finish().unwrap();
            let pipes = recorder.calls_to(Syscall::Pipe).len();
            let reads = recorder.calls_to(Syscall::Read).len();
            assert!(
                reads >= 128 && pipes <= reads / 10,
                "{pipes} pipes asked for in {reads} reads"
            );
        });
    });
}

/// MPTCP copies every byte into a pipe. To drop the bytes there costs more than to read them.
#[test]
fn mptcp_into_the_null_device_is_read() {
    apart(|| {
        let _leaks = fds::no_leaks();
        let Some((to, from)) = sockets::mptcp() else { return skip("no MPTCP in this kernel") };
        const LEN: usize = 16 << 20;
        let feeder = Feeder::pieces(Plain(to), vec![1; LEN], 256 << 10);
        let mut null = File::options().write(true).open("/dev/null").unwrap();
        let report = Copier::new().copy(&mut Fd::new(from).unwrap(), &mut null).unwrap();
        feeder.finish().unwrap();
        assert_eq!(report.moved(), LEN as u64);
        assert_eq!(report.moved_by(Mechanism::ReadWrite), LEN as u64, "{report:?}");
    });
}

/// Linux 4.1 to 6.4 holds back the end of what sendfile is asked for beyond the end of the file.
#[test]
fn sendfile_is_asked_for_no_more_than_there_is() {
    apart(|| {
        let starts = [0, 5, 90_000, 99_999];
        let cells =
            pairs(&pairs(&[100_000, 1_500_000], &starts), &pairs(&Stream::SOCKETS, &[true, false]));
        each(cells, |&((len, start), (stream, adaptive))| {
            for limit in [u64::MAX, 70_000] {
                let _leaks = fds::no_leaks();
                let data = data::bytes(2, len);
                let mut file = files::on_disk(&data);
                file.seek(SeekFrom::Start(start)).unwrap();
                let (to, from) = stream.open();
                let collector = Collector::start(Plain(from));
                let recorder = hook::record();
                let mut sink = Fd::new(to).unwrap();
                let mut limited = (&file).take(limit);
                let mut copier = Copier::new().adaptive(adaptive);
                let report = copier.copy(&mut limited, &mut sink).unwrap();
                drop(sink);
                let want = &data[start as usize..];
                let want = &want[..want.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
                assert_same(&collector.finish(), want);
                assert_eq!(report.moved(), want.len() as u64);
                let mut at = start;
                for call in recorder.calls_to(Syscall::Sendfile) {
                    let left = len as u64 - at;
                    assert!(
                        call.call.len as u64 <= left,
                        "{} of {left} bytes at {at}",
                        call.call.len
                    );
                    at += call.moved() as u64;
                }
            }
        });
    });
}

/// A file that is shared, or grows, or gets shorter: sendfile is asked for no more than the file holds at that time.
#[test]
fn sendfile_is_asked_for_no_more_than_there_is_by_then() {
    apart(|| {
        each(pairs(&Stream::SOCKETS, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let data = data::bytes(3, 3 << 20);
            let file = files::on_disk(&data);
            let (to, from) = stream.open();
            let collector = Collector::start(Plain(from));
            let same = file.try_clone().unwrap();
            let recorder = hook::record();
            // Another reader of the open file takes half of what is left before the second call.
            let mut sends = 0;
            let guard = hook::replace(move |call| {
                sends += u32::from(call.syscall == Syscall::Sendfile);
                if call.syscall == Syscall::Sendfile && sends == 2 {
                    (&same).seek(SeekFrom::End(-1000)).unwrap();
                }
                Action::Proceed
            });
            let mut sink = Fd::new(to).unwrap();
            Copier::new().adaptive(adaptive).copy(&mut &file, &mut sink).unwrap();
            drop((guard, sink));
            let got = collector.finish();
            let last = recorder.calls_to(Syscall::Sendfile).into_iter().skip(2);
            for call in last {
                assert!(call.call.len <= 1000, "{} of 1000 bytes", call.call.len);
            }
            assert_eq!(files::position(&file), data.len() as u64);
            assert!(got.len() < data.len());
        });
    });
}

/// recv is denied, and a copy by splice meets urgent data. The copy goes on by another call or ends. It never waits
/// for bytes that are there.
#[test]
fn denied_recv_beside_urgent_data_does_not_hang() {
    apart(|| {
        // As much as an unread connection takes on older kernels, for each side of the urgent byte.
        const SIDE: usize = 30_000;
        for (errno, adaptive) in pairs(&[libc::EPERM, libc::ENOSYS, libc::EACCES], &[true, false]) {
            for nonblock in [true, false] {
                let data = data::bytes(4, 2 * SIDE);
                let (mut client, server) = sockets::tcp_v4();
                client.write_all(&data[..SIDE]).unwrap();
                assert_eq!(send(&client, b"!", SendFlags::OOB), Ok(1));
                client.write_all(&data[SIDE..]).unwrap();
                until_waiting_beyond(&server, SIDE);
                server.set_nonblocking(nonblock).unwrap();
                let file = files::on_disk(b"");
                let ended = AtomicBool::new(false);
                let outcome = std::thread::scope(|scope| {
                    // The client leaves only then: of a stream that has ended splice says so beside urgent data, too.
                    let (all, ended, file) = (data.len() as u64, &ended, &file);
                    scope.spawn(move || {
                        while files::position(file) < all && !ended.load(Ordering::Relaxed) {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        drop(client);
                    });
                    let copy = scope.spawn(|| {
                        raw::deny(&[libc::SYS_recvfrom, libc::SYS_recvmsg], errno).unwrap();
                        let outcome = bounded_copy(&server, file, adaptive);
                        ended.store(true, Ordering::Relaxed);
                        outcome
                    });
                    joined(copy)
                });
                let got = files::contents(&file);
                let cell = format!("errno {errno}, adaptive {adaptive}, nonblocking {nonblock}");
                match outcome {
                    Ok(()) => assert_same(&got, &data),
                    // The copy may give up; what it has delivered is right.
                    Err(kind) => {
                        assert_ne!(kind, ErrorKind::WouldBlock, "{cell}: told to wait, in vain");
                        assert_same(&got, &data[..got.len()]);
                    }
                }
            }
        }
    });
}

/// Waits until `n` bytes have come, with the urgent one.
fn until_waiting_beyond(from: impl AsFd, n: usize) {
    while rustix::io::ioctl_fionread(&from).unwrap() < n as u64 {
        std::thread::yield_now();
    }
}

/// Copies in an event loop. `WouldBlock` if the copy waits for bytes that are there.
fn bounded_copy(
    server: &std::net::TcpStream,
    file: &File,
    adaptive: bool,
) -> Result<(), ErrorKind> {
    let (mut from, mut to) = (server, file);
    let mut copier = Copier::new().adaptive(adaptive);
    let mut in_vain = 0;
    loop {
        let error = match copier.copy(&mut from, &mut to) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.waits_for() != Some(Side::Source) {
            return Err(error.kind());
        }
        in_vain = if error.moved() > 0 { 0 } else { in_vain + 1 };
        if in_vain == 100 && is_ready(server, PollFlags::IN) {
            return Err(ErrorKind::WouldBlock);
        }
        zc_testkit::wait::wait_for(server, PollFlags::IN);
    }
}
