use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use rustix::event::PollFlags;
use zc_std::Side;
use zc_std::hook::{self, Action, Syscall};
use zc_std::{Copier, Fd, Mechanism, PageSharing};
use zc_testkit::apart::apart;
use zc_testkit::data::{self, assert_same};
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::streams::{Plain, Stream, nonblocking};
use zc_testkit::wait::{is_ready, wait_for};
use zc_testkit::{fds, files};

const LEN: usize = 10 << 20;

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Stream(Stream),
    File,
    Null,
}

const SINKS: [To; 6] = [
    To::Stream(Stream::Tcp),
    To::Stream(Stream::Unix),
    To::Stream(Stream::Pipe),
    To::Stream(Stream::Fifo),
    To::File,
    To::Null,
];

impl To {
    /// The end to write to, and the other one if it has to be read.
    fn open(self) -> (OwnedFd, Option<OwnedFd>) {
        match self {
            To::Stream(stream) => {
                let (to, from) = stream.open();
                (to, Some(from))
            }
            To::File => (files::on_disk(b"").into(), None),
            To::Null => (File::options().write(true).open("/dev/null").unwrap().into(), None),
        }
    }
}

/// How many bytes moved, and how many of them were spliced or discarded.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    spliced: u64,
    moved: u64,
}

impl Sum {
    fn add(&mut self, copier: &Copier) {
        let report = copier.report();
        // Bytes from TCP to the null device are discarded.
        self.spliced += report.moved_by(Mechanism::Splice) + report.moved_by(Mechanism::Discard);
        self.moved += report.moved();
    }
}

/// Copies all of `source` and reads what comes out, both in one event loop. The sink is full again and again, and
/// then empty again.
fn in_fits_and_starts(
    copier: &mut Copier,
    source: &mut Fd<OwnedFd>,
    sink: Fd<OwnedFd>,
    reader: Option<OwnedFd>,
    mut write: impl FnMut() -> bool,
) -> (Sum, Vec<u8>) {
    let (mut sum, mut got, mut sink) = (Sum::default(), Vec::new(), Some(sink));
    let mut reader = reader.map(|reader| Plain(nonblocking(reader)));
    while let Some(to) = &mut sink {
        let outcome = copier.copy(source, to);
        sum.add(copier);
        let waits_for = match outcome {
            Ok(_) => None,
            Err(error) => Some(error.waits_for().unwrap_or_else(|| panic!("{error}"))),
        };
        if waits_for == Some(Side::Source) && !is_ready(source.get_ref(), PollFlags::IN) && write()
        {
            wait_for(source.get_ref(), PollFlags::IN);
        }
        if waits_for.is_none() {
            sink = None;
        }
        if let Some(reader) = &mut reader {
            let _ = reader.read_to_end(&mut got);
        }
    }
    if let Some(reader) = &mut reader {
        nonblocking_off(&reader.0);
        reader.read_to_end(&mut got).unwrap();
    }
    (sum, got)
}

fn nonblocking_off(fd: &OwnedFd) {
    rustix::io::ioctl_fionbio(fd, false).unwrap();
}

/// Bytes may go another way only at the beginning, before a copy knows its ends, and past a moment without bytes.
#[track_caller]
fn assert_spliced(sum: Sum) {
    assert!(sum.spliced >= sum.moved / 10 * 9, "only {} of {} spliced", sum.spliced, sum.moved);
}

/// A source that is idle again and again, and a sink that is full again and again.
#[test]
fn an_idle_source_or_a_full_sink_is_still_spliced() {
    apart(|| {
        let data = data::bytes(1, LEN);
        each(pairs(&Stream::ALL, &SINKS), |&(stream, to)| {
            let _leaks = fds::no_leaks();
            let ((writer, from), (sink, reader)) = (stream.open(), to.open());
            let mut writer = Some(nonblocking(writer));
            let mut source = Fd::new(nonblocking(from)).unwrap();
            let sink = Fd::new(if reader.is_some() { nonblocking(sink) } else { sink }).unwrap();
            let mut copier = Copier::new().adaptive(false);
            let (mut at, data) = (0, &data);
            let write = || {
                let Some(to) = &writer else { return true };
                at += rustix::io::write(to, &data[at..data.len().min(at + 60_000)]).unwrap();
                if at == data.len() {
                    writer = None;
                }
                true
            };
            let read_back = reader.is_some();
            let (sum, got) = in_fits_and_starts(&mut copier, &mut source, sink, reader, write);
            assert_eq!(sum.moved, LEN as u64);
            if read_back {
                assert_same(&got, data);
            }
            assert_spliced(sum);
        });
    });
}

/// One moment without bytes, over by the next call. The rest of the same copy is spliced as before.
#[test]
fn one_idle_moment_is_still_spliced() {
    apart(|| {
        let data = data::bytes(2, LEN);
        let cells = pairs(&pairs(&Stream::ALL, &SINKS), &[true, false]);
        each(cells, |&((stream, to), nonblock)| {
            let _leaks = fds::no_leaks();
            let ((writer, from), (sink, reader)) = (stream.open(), to.open());
            let fd = from.as_raw_fd();
            let (sum, got) = thread::scope(|scope| {
                let feeder = scope.spawn(|| {
                    std::io::Write::write_all(&mut Plain(writer), &data).unwrap();
                });
                let reader = reader.map(|from| {
                    scope.spawn(move || {
                        let mut got = Vec::new();
                        Plain(from).read_to_end(&mut got).unwrap();
                        got
                    })
                });
                // The third call that takes from the source: by then it is a splice or a discard.
                let mut taken = 0;
                let _idle = hook::replace(move |call| {
                    let takes = matches!(call.syscall, Syscall::Splice | Syscall::Discard)
                        && call.from == Some(fd);
                    taken += u32::from(takes);
                    if takes && taken == 3 { Action::Fail(11) } else { Action::Proceed }
                });
                let mut source = Fd::new(if nonblock { nonblocking(from) } else { from }).unwrap();
                let mut sink = Fd::new(sink).unwrap();
                let mut copier = Copier::new().adaptive(false);
                let mut sum = Sum::default();
                loop {
                    let outcome = copier.copy(&mut source, &mut sink);
                    sum.add(&copier);
                    match outcome {
                        Ok(_) => break,
                        Err(error) => {
                            // The hook's answer blames either side; this test does not care which.
                            match error.waits_for() {
                                Some(Side::Source) => wait_for(source.get_ref(), PollFlags::IN),
                                Some(Side::Sink) => wait_for(sink.get_ref(), PollFlags::OUT),
                                None => panic!("{error}"),
                            }
                        }
                    }
                }
                drop(sink);
                joined(feeder);
                (sum, reader.map(joined))
            });
            assert_eq!(sum.moved, LEN as u64);
            if let Some(got) = got {
                assert_same(&got, &data);
            }
            assert_spliced(sum);
        });
    });
}

/// A file whose pages may be shared is spliced into a pipe, however often the pipe is full.
#[test]
fn a_file_is_spliced_into_a_pipe_that_is_often_full() {
    apart(|| {
        let data = data::bytes(3, LEN);
        let cells = pairs(&pairs(&Stream::PIPES, &[false, true]), &[true, false]);
        each(cells, |&((stream, nonblock), adaptive)| {
            let _leaks = fds::no_leaks();
            let mut source = Fd::new(OwnedFd::from(files::on_disk(&data))).unwrap();
            let (to, from) = stream.open();
            let recorder = hook::record();
            let mut copier = Copier::new().adaptive(adaptive).page_sharing(PageSharing::Always);
            let (sum, got) = if nonblock {
                let sink = Fd::new(nonblocking(to)).unwrap();
                in_fits_and_starts(&mut copier, &mut source, sink, Some(from), || true)
            } else {
                thread::scope(|scope| {
                    let reader = scope.spawn(move || {
                        let mut got = Vec::new();
                        Plain(from).read_to_end(&mut got).unwrap();
                        got
                    });
                    let mut sum = Sum::default();
                    copier.copy(&mut source, &mut Fd::new(to).unwrap()).unwrap();
                    sum.add(&copier);
                    (sum, joined(reader))
                })
            };
            assert_eq!(sum.moved, LEN as u64);
            assert_same(&got, &data);
            assert_spliced(sum);
            let reads = recorder.calls_to(Syscall::Read).len();
            assert!(reads <= 2, "{reads} reads, where one is enough to see the end");
        });
    });
}
