use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::thread;

use zc_std::hook::{self, Action};
use zc_std::{Copier, Fd, PageSharing};
use zc_testkit::apart::{apart, apart_with_the_tool};
use zc_testkit::collector::Collector;
use zc_testkit::each_cell::{each, joined, pairs};
use zc_testkit::event_loop::{Threads, Told, copy_all};
use zc_testkit::numbered_words::{self, assert_shared, words};
use zc_testkit::streams::{Plain, Stream, narrow, nonblocking};
use zc_testkit::{fds, files, tool};

/// The file's words: 1 MiB and a bit.
const COUNT: u32 = (1 << 17) + 77;
const LEN: u64 = COUNT as u64 * numbered_words::LEN as u64;

/// Where the copies go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Stream(Stream),
    File,
}

const ALL: [To; 5] = [
    To::Stream(Stream::Tcp),
    To::Stream(Stream::Unix),
    To::Stream(Stream::Pipe),
    To::Stream(Stream::Fifo),
    To::File,
];

/// What came out at the other end.
enum Got {
    File(File),
    Thread(Collector),
}

impl To {
    fn open(self) -> (OwnedFd, Got) {
        match self {
            To::File => {
                let file = files::on_disk(b"");
                (file.try_clone().unwrap().into(), Got::File(file))
            }
            To::Stream(stream) => {
                let (to, from) = stream.open();
                narrow(&to);
                (to, Got::Thread(Collector::start(Plain(from))))
            }
        }
    }
}

impl Got {
    fn bytes(self) -> Vec<u8> {
        match self {
            Got::File(file) => files::contents(&file),
            Got::Thread(collector) => collector.finish(),
        }
    }
}

/// A read(2) loop.
fn read_by_hand(mut file: &File) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), [0; 3000]);
    loop {
        match file.read(&mut buf).unwrap() {
            0 => return all,
            n => all.extend(&buf[..n]),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    to: To,
    nonblock: bool,
    adaptive: bool,
    sharing: PageSharing,
}

fn cells() -> Vec<Cell> {
    let modes = pairs(&[false, true], &[false, true]);
    let mut cells: Vec<Cell> = pairs(&ALL, &modes)
        .into_iter()
        .map(|(to, (nonblock, adaptive))| Cell {
            to,
            nonblock,
            adaptive,
            sharing: PageSharing::Sockets,
        })
        .collect();
    for (stream, nonblock) in pairs(&Stream::PIPES, &[false, true]) {
        let (to, sharing) = (To::Stream(stream), PageSharing::Always);
        cells.push(Cell { to, nonblock, adaptive: false, sharing });
    }
    for stream in Stream::SOCKETS {
        let (to, sharing) = (To::Stream(stream), PageSharing::Never);
        cells.push(Cell { to, nonblock: false, adaptive: true, sharing });
    }
    cells
}

/// Three copies and one read(2) loop share a file.
#[test]
fn threads_with_one_file_read_each_byte_once() {
    apart(|| {
        let data = words(COUNT);
        each(cells(), |&Cell { to, nonblock, adaptive, sharing }| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(&data);
            // All begin at once: the file is a short one.
            let start = Barrier::new(4);
            let streams = thread::scope(|scope| {
                let (file, start) = (&file, &start);
                let reader = scope.spawn(move || {
                    start.wait();
                    read_by_hand(file)
                });
                let copies = [(); 3].map(|()| {
                    scope.spawn(move || {
                        let (sink, got) = to.open();
                        start.wait();
                        let mut sink =
                            Fd::new(if nonblock { nonblocking(sink) } else { sink }).unwrap();
                        let mut copier = Copier::new().adaptive(adaptive).page_sharing(sharing);
                        let how = (Told::ByLevel, Threads::One);
                        let moved = copy_all(how, &mut copier, &mut &*file, &mut sink).unwrap();
                        drop(sink);
                        let got = got.bytes();
                        assert_eq!(moved, got.len() as u64, "delivered, as reported");
                        got
                    })
                });
                let mut streams = vec![joined(reader)];
                streams.extend(copies.map(joined));
                streams
            });
            assert_shared(COUNT, &streams);
            assert_eq!(files::position(&file), LEN, "the offset at the end");
        });
    });
}

/// Three `zc cp - -` that have inherited one open file, and a read(2) loop.
#[test]
fn processes_that_inherit_one_file_read_each_byte_once() {
    apart_with_the_tool(|| {
        let data = words(COUNT);
        each(ALL, |&to| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(&data);
            let sinks = [(); 3].map(|()| to.open());
            let copies =
                sinks.map(|(sink, got)| (tool::copies(file.try_clone().unwrap(), sink), got));
            let mut streams = vec![read_by_hand(&file)];
            for (copy, got) in copies {
                copy.finish();
                streams.push(got.bytes());
            }
            assert_shared(COUNT, &streams);
            assert_eq!(files::position(&file), LEN, "the offset at the end");
        });
    });
}

/// Another user reads between any two calls of a copy.
#[test]
fn a_read_before_every_call_gets_its_bytes() {
    apart(|| {
        let data = words(COUNT);
        each(cells(), |&Cell { to, nonblock, adaptive, sharing }| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(&data);
            let (sink, got) = to.open();
            let read = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            let (same, theirs) = (file.try_clone().unwrap(), read.clone());
            let guard = hook::replace(move |_| {
                let mut buf = [0; 24];
                let n = (&same).read(&mut buf).unwrap();
                theirs.borrow_mut().extend(&buf[..n]);
                Action::Proceed
            });
            let mut sink = Fd::new(if nonblock { nonblocking(sink) } else { sink }).unwrap();
            let mut copier = Copier::new().adaptive(adaptive).page_sharing(sharing);
            let how = (Told::ByLevel, Threads::One);
            let moved = copy_all(how, &mut copier, &mut &file, &mut sink).unwrap();
            drop((guard, sink));
            let got = got.bytes();
            assert_eq!(moved, got.len() as u64, "delivered, as reported");
            assert_shared(COUNT, &[got, read.take()]);
            assert_eq!(files::position(&file), LEN, "the offset at the end");
        });
    });
}

/// A reader skips on while the copy waits for its sink. The copy goes on behind what was skipped, not where it was.
#[test]
fn a_seek_while_the_sink_stalls_is_kept_to() {
    apart(|| {
        let data = words(COUNT);
        each(pairs(&Stream::ALL, &[true, false]), |&(stream, adaptive)| {
            let _leaks = fds::no_leaks();
            let file = files::on_disk(&data);
            let (to, from) = stream.open();
            narrow(&to);
            let mut sink = Fd::new(nonblocking(to)).unwrap();
            let mut copier = Copier::new().adaptive(adaptive);
            let error = copier.copy(&mut &file, &mut sink).unwrap_err();
            let (moved, in_flight) = (error.moved(), copier.in_flight() as u64);
            assert_eq!(files::position(&file), moved + in_flight, "delivered and in flight");
            let skipped = LEN - 100_000;
            (&file).seek(SeekFrom::Start(skipped)).unwrap();

            let collector = Collector::start(Plain(from));
            let how = (Told::ByLevel, Threads::One);
            let rest = copy_all(how, &mut copier, &mut &file, &mut sink).unwrap();
            drop(sink);
            assert_eq!(rest, in_flight + 100_000);
            let want = [&data[..(moved + in_flight) as usize], &data[skipped as usize..]].concat();
            zc_testkit::data::assert_same(&collector.finish(), &want);
            assert_eq!(files::position(&file), LEN);
        });
    });
}
