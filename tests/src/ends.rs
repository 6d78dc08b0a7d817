//! One end of a copy for every kind of source and sink, with a thread at its other end.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

use zc_std::{Opaque, ReadSource, Source, WriteSink};

use crate::collector::Collector;
use crate::feeder::Feeder;
use crate::{files, pipes, sockets};

/// What a copy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A regular file.
    File,
    /// A TCP connection over IPv4.
    Tcp4,
    /// A TCP connection over IPv6.
    Tcp6,
    /// A Unix stream connection.
    Unix,
    /// A pipe.
    Pipe,
    /// A pipe with a name.
    Fifo,
    /// A terminal, on which lines are typed and then ^D.
    Tty,
    /// A `Read` and nothing more.
    Plain,
}

/// What a copy goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A regular file.
    File,
    /// A TCP connection over IPv4.
    Tcp4,
    /// A TCP connection over IPv6.
    Tcp6,
    /// A Unix stream connection.
    Unix,
    /// A pipe.
    Pipe,
    /// A pipe with a name.
    Fifo,
    /// /dev/null, whose bytes cannot be checked.
    Null,
    /// `std::io::sink()`, the same without a descriptor.
    Sink,
    /// A terminal in raw mode.
    Tty,
    /// A `Write` and nothing more.
    Plain,
}

/// A [`From`], opened.
pub struct Giver {
    /// The end to copy from.
    pub source: Box<dyn ReadSource>,
    /// Its descriptor, if it has one.
    pub fd: Option<RawFd>,
    /// All that it will yield.
    pub data: Vec<u8>,
    /// The thread that writes it.
    pub feeder: Option<Feeder>,
}

/// A [`To`], opened.
pub struct Taker {
    /// The end to copy into.
    pub sink: Box<dyn WriteSink>,
    /// Its descriptor, if it has one.
    pub fd: Option<RawFd>,
    got: Got,
}

/// Where the bytes that were taken can be seen.
enum Got {
    File(File),
    Thread(Collector),
    Memory(Memory),
    Nothing,
}

impl From {
    /// An end that yields `data`. A terminal yields letters made of it.
    pub fn open(self, data: Vec<u8>) -> Giver {
        match self {
            From::File => {
                let file = files::holding(&data);
                Giver { fd: Some(file.as_raw_fd()), source: Box::new(file), data, feeder: None }
            }
            From::Plain => {
                let source = Box::new(Opaque(Cursor::new(data.clone())));
                Giver { source, fd: None, data, feeder: None }
            }
            From::Tcp4 => fed(sockets::tcp_v4(), data),
            From::Tcp6 => fed(sockets::tcp_v6(), data),
            From::Unix => fed(sockets::unix(), data),
            From::Pipe => fed(swap(pipes::pipe()), data),
            From::Fifo => fed(swap(pipes::fifo()), data),
            From::Tty => typed(data),
        }
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

fn fed<W, R>((to, from): (W, R), data: Vec<u8>) -> Giver
where
    W: Write + Send + 'static,
    R: ReadSource + AsRawFd + 'static,
{
    let feeder = Some(Feeder::pieces(to, data.clone(), 10_000));
    Giver { fd: Some(from.as_raw_fd()), source: Box::new(from), data, feeder }
}

/// Lines of letters made of `data`, and the end.
fn typed(mut data: Vec<u8>) -> Giver {
    for line in data.chunks_mut(1000) {
        line.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        *line.last_mut().expect("a chunk is not empty") = b'\n';
    }
    let (master, slave) = pipes::terminal();
    let (mut typist, keys) = (master.try_clone().expect("a descriptor"), data.clone());
    let feeder = Feeder::run(move || {
        typist.write_all(&keys)?;
        // A terminal tells its end once: so one for the copy, and one for the look at what is left.
        typist.write_all(b"\x04\x04")
    });
    let fd = Some(slave.as_raw_fd());
    Giver { source: Box::new(Terminal { slave, _master: master }), fd, data, feeder: Some(feeder) }
}

/// Keeps the master open: without it what was typed could not be read any more.
struct Terminal {
    slave: File,
    _master: File,
}

impl Read for Terminal {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.slave.read(buf)
    }
}

impl Source for Terminal {
    fn upstream(&mut self) -> zc_std::Upstream<'_> {
        zc_std::Upstream::through(&mut self.slave)
    }
}

impl Giver {
    /// All that is left to read after the copy.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.source.read_to_end(&mut rest).expect("a readable end");
        rest
    }
}

impl To {
    /// An end to write to.
    pub fn open(self) -> Taker {
        match self {
            To::File => {
                let file = files::empty();
                let got = Got::File(file.try_clone().expect("a descriptor"));
                Taker { fd: Some(file.as_raw_fd()), sink: Box::new(file), got }
            }
            To::Null => {
                let file = File::options().write(true).open("/dev/null").expect("/dev is mounted");
                Taker { fd: Some(file.as_raw_fd()), sink: Box::new(file), got: Got::Nothing }
            }
            To::Sink => Taker { fd: None, sink: Box::new(io::sink()), got: Got::Nothing },
            To::Plain => {
                let memory = Memory::default();
                let got = Got::Memory(memory.clone());
                Taker { sink: Box::new(Opaque(memory)), fd: None, got }
            }
            To::Tcp4 => heard(sockets::tcp_v4()),
            To::Tcp6 => heard(sockets::tcp_v6()),
            To::Unix => heard(sockets::unix()),
            To::Pipe => heard(pipes::pipe()),
            To::Fifo => heard(pipes::fifo()),
            To::Tty => heard(pipes::terminal()),
        }
    }
}

fn heard<R, W>((from, to): (R, W)) -> Taker
where
    R: Read + Send + 'static,
    W: WriteSink + AsRawFd + 'static,
{
    let got = Got::Thread(Collector::start(from));
    Taker { fd: Some(to.as_raw_fd()), sink: Box::new(to), got }
}

impl Taker {
    /// Closes the end, and returns all that it was given; `None` if that cannot be known.
    pub fn finish(self) -> Option<Vec<u8>> {
        drop(self.sink);
        match self.got {
            Got::File(file) => {
                let all = files::contents(&file);
                assert_eq!(files::position(&file), all.len() as u64, "offset of the file");
                Some(all)
            }
            Got::Thread(collector) => Some(collector.finish()),
            Got::Memory(memory) => Some(std::mem::take(&mut memory.0.lock().expect("no panic"))),
            Got::Nothing => None,
        }
    }
}

/// A `Write` whose bytes can be seen during the copy.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
