//! The process at the far end of a socket or pipe: it sends what is to be copied, or drains what was.
//!
//! It is the running program itself, started again with [`FLAG`]. Every program that uses the [arena](crate::arena)
//! calls [`serve_if_asked`] first thing in `main`. A line on its standard input is an order, a line on its standard
//! output the answer.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::net::RecvFlags;
use rustix::pipe::SpliceFlags;

use crate::cells::Place;
use crate::clock;

/// The hidden first argument that makes a program a peer.
pub const FLAG: &str = "--zc-bench-peer";

/// A peer, seen from the program that started it.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    tcp: SocketAddr,
    unix: PathBuf,
}

impl Peer {
    /// Starts a peer that keeps its Unix socket at `unix`.
    ///
    /// # Errors
    ///
    /// Those of starting a process.
    pub fn start(unix: &Path, cpu: Option<usize>) -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args([FLAG.as_ref(), unix.as_os_str()])
            .args(cpu.map(|cpu| cpu.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("asked for"));
        let tcp = line(&mut answers)?.parse().map_err(io::Error::other)?;
        Ok(Peer { child, orders, answers, tcp, unix: unix.to_owned() })
    }

    /// Tells it to connect to `to` (or to open that FIFO), to write `bytes` bytes, `chunk` at a time, upon
    /// [`go`](Peer::go), and to close.
    ///
    /// # Errors
    ///
    /// Those of a pipe.
    pub fn send(&mut self, by: Place, to: &str, chunk: u64, bytes: u64) -> io::Result<()> {
        self.order(&format!("send {} {to} {chunk} {bytes}", by.name()))
    }

    /// Tells it to accept a connection at [`address`](Peer::address) (or to open that FIFO), and to
    /// read all that comes.
    ///
    /// # Errors
    ///
    /// Those of a pipe.
    pub fn drain(&mut self, by: Place, from: &str) -> io::Result<()> {
        self.order(&format!("drain {} {from}", by.name()))
    }

    /// Its address for connections.
    pub fn address(&self, by: Place) -> String {
        match by {
            Place::Tcp => self.tcp.to_string(),
            _ => self.unix.display().to_string(),
        }
    }

    /// Lets it send.
    ///
    /// # Errors
    ///
    /// Those of a pipe.
    pub fn go(&mut self) -> io::Result<()> {
        self.order("go")
    }

    /// Waits until it has sent or drained. Returns how many bytes, and its CPU time.
    ///
    /// # Errors
    ///
    /// The peer's error.
    pub fn done(&mut self) -> io::Result<(u64, Duration)> {
        let answer = line(&mut self.answers)?;
        let Some((bytes, cpu)) = answer.split_once(' ') else {
            return Err(io::Error::other(answer));
        };
        Ok((number(bytes)?, Duration::from_nanos(number(cpu)?)))
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        writeln!(self.orders.as_mut().expect("closed by drop alone"), "{order}")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input tells it to end; but it may be in the middle of a transfer, which the kill ends.
        self.orders = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one line of an answer.
pub(crate) fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// Makes this process a peer if it was started as one, and then does not return.
pub fn serve_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|arg| arg != FLAG) {
        return;
    }
    let unix = PathBuf::from(args.next().expect("the parent gives it"));
    if let Some(cpu) = args.next().and_then(|cpu| cpu.to_str()?.parse().ok()) {
        pin(cpu);
    }
    if let Err(error) = Server::new(&unix).and_then(|server| server.serve()) {
        eprintln!("peer: {error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Binds the calling thread to one processor.
pub(crate) fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        eprintln!("not pinned to processor {cpu}: {error}");
    }
}

struct Server {
    tcp: TcpListener,
    unix: UnixListener,
    buffer: Vec<u8>,
}

impl Server {
    fn new(unix: &Path) -> io::Result<Self> {
        Ok(Server {
            tcp: TcpListener::bind("127.0.0.1:0")?,
            unix: UnixListener::bind(unix)?,
            buffer: (0..1 << 20).map(|at: u32| (at % 251) as u8).collect(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        println!("{}", self.tcp.local_addr()?);
        let mut orders = io::stdin().lock();
        while let Ok(order) = line(&mut orders) {
            let words: Vec<_> = order.split(' ').collect();
            let (outcome, took) = clock::measure(|| match words[..] {
                ["send", by, to, chunk, bytes] => {
                    self.send(by, to, number(chunk)? as usize, number(bytes)?, &mut orders)
                }
                ["drain", by, from] => self.drain(by, from),
                _ => Err(io::Error::other(format!("no such order: {order}"))),
            });
            match outcome {
                Ok(bytes) => println!("{bytes} {}", took.cpu.as_nanos()),
                Err(error) => println!("{order}: {error}"),
            }
        }
        Ok(())
    }

    fn send(
        &self,
        by: &str,
        to: &str,
        chunk: usize,
        bytes: u64,
        orders: &mut impl BufRead,
    ) -> io::Result<u64> {
        let mut sink: Box<dyn Write> = match by {
            "tcp" => {
                let stream = TcpStream::connect(to)?;
                // Each write is a segment of its own: a chunk is not joined with the next one.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            "unix" => Box::new(UnixStream::connect(to)?),
            _ => Box::new(OpenOptions::new().write(true).open(to)?),
        };
        line(orders)?;
        let mut sent = 0;
        while sent < bytes {
            let n = self.buffer.len().min(chunk).min((bytes - sent) as usize);
            match sink.write_all(&self.buffer[..n]) {
                Ok(()) => sent += n as u64,
                // The copy has ended: the criterion benches do not say when.
                Err(error) if gone(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn drain(&mut self, by: &str, from: &str) -> io::Result<u64> {
        match by {
            "tcp" => {
                let stream = self.tcp.accept()?.0;
                // Drops the bytes in the kernel, so that the drain never limits the copy.
                until_end(|| {
                    let (_, n) =
                        rustix::net::recv(&stream, self.buffer.as_mut_slice(), RecvFlags::TRUNC)?;
                    Ok(n)
                })
            }
            "unix" => {
                let mut stream = self.unix.accept()?.0;
                until_end(|| stream.read(&mut self.buffer))
            }
            _ => {
                let (fifo, null) = (File::open(from)?, File::create("/dev/null")?);
                until_end(|| {
                    let flags = SpliceFlags::empty();
                    Ok(rustix::pipe::splice(&fifo, None, &null, None, 1 << 20, flags)?)
                })
            }
        }
    }
}

fn until_end(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<u64> {
    let mut total = 0;
    loop {
        match read() {
            Ok(0) => return Ok(total),
            Ok(n) => total += n as u64,
            Err(error) if gone(&error) => return Ok(total),
            Err(error) => return Err(error),
        }
    }
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}
