use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Barrier;
use std::thread::{self, Scope};
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size_force;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, Progress, ReadFrom};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::feeder::Feeder;
use zc_testkit::streams::{Plain, Stream, nonblocking};
use zc_testkit::wait::{this_thread, until_it_sleeps};
use zc_testkit::woven::{assert_woven, thread_of};
use zc_testkit::{cli, fds, files, tool};

/// How many bytes each writer writes: several pipes' full, and not a whole number of pages.
const LEN: usize = 500_001;

/// The writer that uses write(2), in pieces of this many bytes.
const PLAIN: u8 = 4;
const PIECE: usize = 1000;

/// Where an upload comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Stream(Stream),
    File,
}

const ALL: [From; 5] = [
    From::Stream(Stream::Tcp),
    From::Stream(Stream::Unix),
    From::Stream(Stream::Pipe),
    From::Stream(Stream::Fifo),
    From::File,
];

impl From {
    /// The end to copy from, and the thread that writes to the other end.
    fn open(self, data: Vec<u8>) -> (OwnedFd, Option<Feeder>) {
        match self {
            From::File => (files::on_disk(&data).into(), None),
            From::Stream(stream) => {
                let (to, from) = stream.open();
                (from, Some(Feeder::pieces(Plain(to), data, 40_000)))
            }
        }
    }
}

/// Writes as shells and loggers do, piece by piece.
fn write_by_hand<'s>(scope: &'s Scope<'s, '_>, file: &'s File, writer: u8) {
    let all = thread_of(writer, LEN);
    scope.spawn(move || {
        let mut file = file;
        for piece in all.chunks(PIECE) {
            file.write_all(piece).unwrap();
        }
    });
}

/// The file holds what all the writers wrote, and stands at its end.
#[track_caller]
fn check(file: &File, writers: &[u8]) {
    let all = files::contents(file);
    assert_woven(&all, &writers.iter().map(|&writer| (writer, LEN)).collect::<Vec<_>>());
    assert_eq!(files::position(file), all.len() as u64, "the offset at the end");
}

/// Three threads copy into one `&File` with a `Copier`, while a fourth writes to it.
fn by_threads(file: &File, from: From, nonblock: bool, adaptive: bool) {
    let _leaks = fds::no_leaks();
    // A small pipe makes for many calls.
    let uploads = [(1, 1 << 20), (2, 64 << 10), (3, 8 << 10)]
        .map(|(writer, pipe)| (from.open(thread_of(writer, LEN)), pipe));
    thread::scope(|scope| {
        write_by_hand(scope, file, PLAIN);
        let copies = uploads.map(|((source, _feeder), pipe)| {
            scope.spawn(move || {
                let source = if nonblock { nonblocking(source) } else { source };
                let mut source = Fd::new(source).unwrap();
                let mut copier = Copier::new().adaptive(adaptive).pipe_size(pipe);
                let how = (Told::ByLevel, Threads::One);
                assert_eq!(
                    copy_all(how, &mut copier, &mut source, &mut &*file).unwrap(),
                    LEN as u64
                );
            })
        });
        let [(), (), ()] = copies.map(joined);
    });
    check(file, &[1, 2, 3, PLAIN]);
}

/// Uploads into one file, to which others append meanwhile.
#[test]
fn threads_with_one_file_lose_nothing() {
    apart(|| {
        let modes = pairs(&[false, true], &[false, true]);
        each(pairs(&ALL, &modes), |&(from, (nonblock, adaptive))| {
            by_threads(&files::on_disk(b""), from, nonblock, adaptive);
        });
    });
}

/// A server stores two uploads at a time in one file. They have arrived before it begins and the pipes are small, so
/// that both processors make many calls and wait for nothing.
#[test]
fn uploads_that_have_arrived_lose_nothing() {
    apart(|| {
        const MOST: usize = 1 << 20;
        each(pairs(&Stream::SOCKETS, &[1, 2, 3, 4, 5, 6]), |&(stream, _round)| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let uploads = [1, 2].map(|writer| {
                let (to, from) = stream.open();
                set_socket_send_buffer_size_force(&to, 4 * MOST).unwrap();
                let data = thread_of(writer, MOST);
                let sent = rustix::io::write(nonblocking(to), &data).unwrap();
                (writer, from, sent)
            });
            let start = Barrier::new(2);
            let sent = uploads.each_ref().map(|&(writer, _, sent)| (writer, sent));
            thread::scope(|scope| {
                let (file, start) = (&file, &start);
                let copies = uploads.map(|(_, from, sent)| {
                    scope.spawn(move || {
                        let mut source = Fd::new(from).unwrap();
                        let mut copier = Copier::new().adaptive(false).pipe_size(4 << 10);
                        start.wait();
                        let report = copier.copy(&mut source, &mut &*file).unwrap();
                        assert_eq!(report.moved(), sent as u64);
                    })
                });
                let [(), ()] = copies.map(joined);
            });
            let all = files::contents(&file);
            assert_woven(&all, &sent);
            assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
        });
    });
}

/// The same into a file in append mode, where the kernel finds the place of each write.
#[test]
fn threads_that_append_lose_nothing() {
    apart(|| {
        each(pairs(&ALL, &[false, true]), |&(from, adaptive)| {
            let name = tempfile::NamedTempFile::new().unwrap();
            let mut options = File::options();
            let file = options.read(true).append(true).open(name.path()).unwrap();
            by_threads(&file, from, false, adaptive);
        });
    });
}

/// Each way to copy: `copy`, `read_from`, through wrappers, and with a limit.
#[test]
fn threads_lose_nothing_by_any_way_to_copy() {
    apart(|| {
        each(ALL, |&from| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            thread::scope(|scope| {
                write_by_hand(scope, &file, PLAIN);
                let file = &file;
                let copies = [1, 2, 3].map(|writer| {
                    scope.spawn(move || {
                        let (source, _feeder) = from.open(thread_of(writer, LEN));
                        let mut source = Fd::new(source).unwrap();
                        let moved = match writer {
                            1 => {
                                zc_std::copy(&mut source, &mut Progress::new(file, |_| {})).unwrap()
                            }
                            2 => {
                                let mut file = file;
                                file.read_from(std::io::Read::take(source, LEN as u64)).unwrap()
                            }
                            _ => {
                                let mut pieces = 0;
                                while pieces < LEN as u64 {
                                    let limit = 50_000;
                                    let mut piece = std::io::Read::take(&mut source, limit);
                                    let n = zc_std::copy(&mut piece, &mut &*file).unwrap();
                                    pieces += n;
                                    assert!(n > 0, "an end after {pieces} bytes");
                                }
                                pieces
                            }
                        };
                        assert_eq!(moved, LEN as u64);
                    })
                });
                let [(), (), ()] = copies.map(joined);
            });
            check(&file, &[1, 2, 3, PLAIN]);
        });
    });
}

/// Several `zc cp - -` and a thread that writes share one open file that they inherited. All begin at once; with
/// streams each tool then waits for its first byte.
#[test]
fn processes_that_inherit_one_file_lose_nothing() {
    apart_with_the_tool(|| {
        each(ALL, |&from| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let start = |source: OwnedFd| tool::copies(source, file.try_clone().unwrap());
            thread::scope(|scope| {
                let copies = match from {
                    From::File => {
                        [1, 2, 3].map(|writer| (start(from.open(thread_of(writer, LEN)).0), None))
                    }
                    From::Stream(stream) => {
                        let waiting = [1, 2, 3].map(|writer| {
                            let (to, source) = stream.open();
                            let copy = start(source);
                            until_it_sleeps(&copy.task());
                            (copy, to, thread_of(writer, LEN))
                        });
                        waiting.map(|(copy, to, data)| {
                            (copy, Some(Feeder::pieces(Plain(to), data, 40_000)))
                        })
                    }
                };
                write_by_hand(scope, &file, PLAIN);
                for (copy, _feeder) in copies {
                    copy.finish();
                }
            });
            check(&file, &[1, 2, 3, PLAIN]);
        });
    });
}

/// A shell script: `( … | zc cp - - & … & cat … & wait ) > out`.
#[test]
fn processes_of_a_shell_lose_nothing() {
    apart_with_the_tool(|| {
        // Long enough for all of them to be at work at once. The tools wait for their first byte by then.
        const LEN: usize = 2_000_001;
        let dir = cli::scratch();
        let inputs = [1, 2, 3].map(|writer| {
            let path = dir.path().join(writer.to_string());
            std::fs::write(&path, thread_of(writer, LEN)).unwrap();
            path.display().to_string()
        });
        // The last cat reads a pipe. From file to file cat uses copy_file_range (coreutils 9.1) or sendfile (busybox)
        // on the shared offset, and writes over what printf wrote.
        let script = "( { sleep 0.5; cat $1; } | $ZC cp - - & { sleep 0.5; cat $2; } | $ZC cp - - & \
                        cat $3 | cat & \
                        i=0; while [ $i -lt 200 ]; do printf '\\201\\202\\203'; i=$((i+1)); done & \
                        wait )";
        let file = files::on_disk(b"");
        let arguments = inputs.each_ref().map(String::as_str);
        tool::shell(script, &arguments, file.try_clone().unwrap());

        // Only what printf wrote has its top bit set.
        let all = files::contents(&file);
        assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
        let (lines, copied): (Vec<u8>, Vec<u8>) = all.iter().partition(|&&byte| byte >= 0x80);
        assert_woven(&copied, &[(1, LEN), (2, LEN), (3, LEN)]);
        assert_eq!(lines, [129, 130, 131].repeat(200), "what printf wrote");
    });
}

/// A copy whose source says nothing has not decided yet where its bytes go.
#[test]
fn what_is_written_while_a_copy_waits_stays() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let (to, from) = stream.open();
            let (tell, waits) = std::sync::mpsc::channel();
            thread::scope(|scope| {
                let copy = scope.spawn(|| {
                    tell.send(this_thread()).unwrap();
                    let mut source = Fd::new(from).unwrap();
                    Copier::new().adaptive(adaptive).copy(&mut source, &mut &file).unwrap().moved()
                });
                let task = waits.recv().unwrap();
                for (said, meanwhile, all) in [("one ", "two ", 8), ("three ", "four ", 19)] {
                    until_it_sleeps(&task);
                    (&file).write_all(meanwhile.as_bytes()).unwrap();
                    rustix::io::write(&to, said.as_bytes()).unwrap();
                    // They are not all there yet, or some are lost, which shows at the end.
                    for _ in 0..1000 {
                        if files::position(&file) < all {
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
                until_it_sleeps(&task);
                drop(to);
                assert_eq!(joined(copy), 10);
            });
            let all = String::from_utf8(files::contents(&file)).unwrap();
            assert_eq!((&*all, files::position(&file)), ("two one four three ", 19));
        });
    });
}

/// The tool, with the line of a script that once went missing every time.
#[test]
fn what_is_written_while_the_tool_waits_stays() {
    apart_with_the_tool(|| {
        each(Stream::ALL, |&stream| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let (to, from) = stream.open();
            let copy = tool::copies(from, file.try_clone().unwrap());
            until_it_sleeps(&copy.task());
            (&file).write_all(b"meanwhile\n").unwrap();
            rustix::io::write(&to, b"late\n").unwrap();
            drop(to);
            copy.finish();
            let all = String::from_utf8(files::contents(&file)).unwrap();
            assert_eq!((&*all, files::position(&file)), ("meanwhile\nlate\n", 15));
        });
    });
}

/// Another user writes between any two calls of a copy.
#[test]
fn a_write_before_every_call_stays() {
    apart(|| {
        each(pairs(&ALL, &[true, false]), |&(from, adaptive)| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let (source, feeder) = from.open(thread_of(1, LEN));
            let plain = thread_of(PLAIN, LEN);
            let (same, mut at) = (file.try_clone().unwrap(), 0);
            let written = std::rc::Rc::new(std::cell::Cell::new(0));
            let count = written.clone();
            let guard = hook::replace(move |_| {
                let piece = &plain[at..plain.len().min(at + 10)];
                (&same).write_all(piece).unwrap();
                at += piece.len();
                count.set(at);
                Action::Proceed
            });
            let mut source = Fd::new(source).unwrap();
            let report = Copier::new().adaptive(adaptive).copy(&mut source, &mut &file).unwrap();
            drop((guard, feeder));
            assert_eq!(report.moved(), LEN as u64);
            let all = files::contents(&file);
            assert_woven(&all, &[(1, LEN), (PLAIN, written.get())]);
            assert_eq!(files::position(&file), all.len() as u64, "the offset at the end");
        });
    });
}

/// Two copies go into one file, and one of them fails half-way. All bytes of the other are there, and all that the
/// failed one says it has delivered.
#[test]
fn a_copy_that_fails_costs_the_other_nothing() {
    apart(|| {
        each(pairs(&ALL, &[true, false]), |&(from, adaptive)| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(b"");
            let delivered = thread::scope(|scope| {
                let file = &file;
                let failing = scope.spawn(move || {
                    let (source, feeder) = from.open(thread_of(1, LEN));
                    let (fd, mut left) = (file.as_raw_fd(), 300_000);
                    let _hook = hook::replace(move |call| {
                        if call.to != Some(fd) || call.len == 0 {
                            return Action::Proceed;
                        }
                        let len = call.len.min(50_000).min(left);
                        left -= len;
                        if len == 0 { Action::Fail(28) } else { Action::Limit(len) }
                    });
                    let mut source = Fd::new(source).unwrap();
                    let mut copier = Copier::new().adaptive(adaptive);
                    let error = copier.copy(&mut source, &mut &*file).unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                    drop(source);
                    drop(feeder);
                    usize::try_from(error.moved()).unwrap()
                });
                let whole = scope.spawn(move || {
                    let (source, _feeder) = from.open(thread_of(2, LEN));
                    let mut source = Fd::new(source).unwrap();
                    let mut copier = Copier::new().adaptive(adaptive);
                    assert_eq!(copier.copy(&mut source, &mut &*file).unwrap().moved(), LEN as u64);
                });
                joined(whole);
                joined(failing)
            });
            // A range that was given up while others wrote behind it is a gap of zeros.
            let all = files::contents(&file);
            let written: Vec<u8> = all.iter().copied().filter(|&byte| byte != 0).collect();
            assert_woven(&written, &[(1, delivered), (2, LEN)]);
        });
    });
}

/// Others have written behind a range whose splice fails. The range is filled by a write, or else would be a gap in
/// front of their bytes.
#[test]
fn a_write_behind_a_range_that_cannot_be_spliced_follows_no_gap() {
    apart(|| {
        each(pairs(&Stream::ALL, &[true, false]), |&(from, adaptive)| {
            let _leaks = fds::no_leaks();
            let (data, file) = (thread_of(1, 40_000), files::on_disk(b""));
            let (to, source) = from.open();
            let feeder = Feeder::pieces(Plain(to), data.clone(), data.len());
            let (fd, mut others) = (file.as_raw_fd(), file.try_clone().unwrap());
            let (mut has_failed, mut have_written) = (false, false);
            let hook = hook::replace(move |call| match call.syscall {
                Syscall::Splice if call.to == Some(fd) && !has_failed => {
                    has_failed = true;
                    Action::Fail(28) // ENOSPC
                }
                Syscall::Seek if call.from == Some(fd) && has_failed && !have_written => {
                    have_written = true;
                    others.write_all(b"theirs").unwrap();
                    Action::Proceed
                }
                _ => Action::Proceed,
            });
            let mut source = Fd::new(source).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let outcome = copier.copy(&mut source, &mut &file);
            drop(hook);
            let moved = outcome.map_or_else(
                |error| {
                    assert_eq!(error.raw_os_error(), Some(28), "{error}");
                    error.moved()
                },
                // Bytes that are read and written meet no splice.
                |report| report.moved(),
            );
            let all = files::contents(&file);
            assert!(all.iter().all(|&byte| byte != 0), "a gap in {} bytes", all.len());
            let theirs = all.windows(6).filter(|six| six == b"theirs").count();
            assert_eq!(all.len() as u64, moved + 6 * theirs as u64);
            assert_eq!(files::position(&file), all.len() as u64);
            drop((source, feeder));
        });
    });
}
