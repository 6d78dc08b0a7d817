//! Sets cells up, has subjects do them once, and takes the time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, Mode};

use crate::alloc::{self, Allocated};
use crate::cells::{Cell, Place};
use crate::clock::{self, Took};
use crate::ends::End;
use crate::peer::{self, Peer};
use crate::subjects::Subject;
use crate::subjects::go::{Go, GoPath};

/// The result of one round of one subject.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The time.
    pub took: Took,
    /// The memory, for subjects in this process.
    pub allocated: Allocated,
    /// The CPU time of sender and drain. Over loopback, the end that acknowledges also does the sending that this
    /// allows. So what one end saves may be work that moved to the other.
    pub peers: Duration,
}

/// Files, FIFOs, listeners and peers: all that a cell may need.
#[derive(Debug)]
pub struct Arena {
    /// On the disk, for files.
    ext4: tempfile::TempDir,
    /// In memory, for files.
    tmpfs: tempfile::TempDir,
    /// File systems in loop devices, made when they are first needed.
    mounts: BTreeMap<&'static str, Result<Mount, String>>,
    tcp: TcpListener,
    unix: UnixListener,
    unix_path: PathBuf,
    fifo_from: PathBuf,
    fifo_to: PathBuf,
    sender: Peer,
    drain: Peer,
    go: Option<Go>,
    /// The length, so far, of each file to copy to.
    room: BTreeMap<PathBuf, u64>,
}

impl Arena {
    /// An arena with its files under `dir`.
    ///
    /// With `pin`, this thread stays on processor 1 and both peers on processor 0: steadier figures, but not those of
    /// a real program.
    ///
    /// # Errors
    ///
    /// Those of making files, sockets and processes.
    pub fn new(dir: &Path, go: Option<&Path>, pin: bool) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let ext4 = tempfile::tempdir_in(dir)?;
        let tmpfs = tempfile::tempdir_in("/dev/shm")?;
        // The path of a Unix socket has to be short, so it cannot be in every directory.
        let at = |name: &str| tmpfs.path().join(name);
        let (unix_path, fifo_from, fifo_to) = (at("unix"), at("fifo-from"), at("fifo-to"));
        for fifo in [&fifo_from, &fifo_to] {
            rustix::fs::mkfifoat(CWD, fifo, Mode::RUSR | Mode::WUSR)?;
        }
        if pin {
            peer::pin(1);
        }
        let go = go.map(|program| Go::start(program, &at("go"))).transpose()?;
        Ok(Arena {
            tcp: TcpListener::bind("127.0.0.1:0")?,
            unix: UnixListener::bind(&unix_path)?,
            sender: Peer::start(&at("sender"), pin.then_some(0))?,
            drain: Peer::start(&at("drain"), pin.then_some(0))?,
            unix_path,
            fifo_from,
            fifo_to,
            go,
            mounts: BTreeMap::new(),
            room: BTreeMap::new(),
            ext4,
            tmpfs,
        })
    }

    /// The Go toolchain's version, if there is a Go program.
    pub fn go_version(&self) -> Option<&str> {
        self.go.as_ref().map(|go| go.version.as_str())
    }

    /// Sets up what the cell needs.
    ///
    /// # Errors
    ///
    /// Why the cell cannot be had here.
    pub fn prepare(&mut self, cell: &Cell) -> Result<(), String> {
        for place in [cell.from, cell.to].into_iter().filter(|place| place.is_file()) {
            self.dir(place)?;
        }
        let whole = |error: io::Error| error.to_string();
        if cell.from.is_file() {
            self.make_room(cell.from, "from", cell.bytes / cell.copies, true).map_err(whole)?;
        }
        if cell.to.is_file() && cell.to != Place::New {
            self.make_room(cell.to, "to", cell.bytes, false).map_err(whole)?;
        }
        Ok(())
    }

    /// Makes the file to copy from a hole of `len` bytes, which takes no room.
    ///
    /// # Errors
    ///
    /// Those of making a file.
    pub fn sparse(&mut self, place: Place, len: u64) -> io::Result<()> {
        let path = PathBuf::from(self.file(place, "from", len)?);
        File::create(&path)?.set_len(len)?;
        self.room.insert(path, len);
        Ok(())
    }

    /// Has a subject of this process do the cell once.
    ///
    /// # Errors
    ///
    /// The subject's error; or that it did not move all the bytes.
    pub fn round(&mut self, cell: &Cell, subject: &mut dyn Subject) -> io::Result<Sample> {
        self.empty(cell)?;
        let (mut from, mut to) = self.connect(cell)?;
        subject.prepare(&from, &to)?;
        if cell.from.has_peer() {
            self.sender.go()?;
        }
        let ((outcome, took), allocated) = alloc::count(|| {
            clock::measure(|| -> io::Result<u64> {
                let mut moved = 0;
                for _ in 0..cell.copies {
                    if cell.from.is_file() && cell.copies > 1 {
                        from.rewind()?;
                        to.rewind()?;
                    }
                    moved += subject.copy(&mut from, &mut to, cell.frame)?;
                }
                Ok(moved)
            })
        });
        drop((from, to));
        let peers = self.settle(cell, outcome)?;
        Ok(Sample { took, allocated, peers })
    }

    /// Has Go do the cell once.
    ///
    /// # Errors
    ///
    /// As for [`round`](Arena::round).
    pub fn go_round(&mut self, cell: &Cell, path: GoPath) -> io::Result<Sample> {
        self.empty(cell)?;
        let go = self.go.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let go_unix = self.tmpfs.path().join("go");
        let (tcp, unix) = (go.tcp.clone(), go_unix.display().to_string());
        let from = self.order_sender(cell, &tcp, &unix)?;
        let to = self.order_drain(cell)?;
        let (from_kind, to_kind) = (go_kind(cell.from), go_kind(cell.to));
        let (frame, copies) = (cell.frame.unwrap_or(0), cell.copies);
        let go = self.go.as_mut().expect("seen above");
        let path = path.name();
        go.round(&format!("{from_kind} {from} {to_kind} {to} {frame} {copies} {path}"))?;
        go.ready()?;
        if cell.from.has_peer() {
            self.sender.go()?;
        }
        let outcome = go.go();
        let (took, allocated) =
            outcome.as_ref().map_or_else(|_| Default::default(), |&(_, took, all)| (took, all));
        let peers = self.settle(cell, outcome.map(|(moved, ..)| moved))?;
        Ok(Sample { took, allocated, peers })
    }

    /// Empties a destination that is not to be overwritten in place. Where blocks are shared, the next subject would
    /// pay for what the last one left there: shared blocks, or bytes written and not yet allocated.
    fn empty(&mut self, cell: &Cell) -> io::Result<()> {
        if matches!(cell.to, Place::New | Place::Xfs | Place::Btrfs) {
            let end = if cell.to == Place::New { "new" } else { "to" };
            let file = File::create(self.file(cell.to, end, 0)?)?;
            rustix::fs::syncfs(&file)?;
        }
        Ok(())
    }

    /// Opens both ends of a cell, with the sender waiting for [`Peer::go`].
    fn connect(&mut self, cell: &Cell) -> io::Result<(End, End)> {
        let tcp = self.tcp.local_addr()?.to_string();
        let unix = self.unix_path.display().to_string();
        let path = self.order_sender(cell, &tcp, &unix)?;
        let from = match cell.from {
            Place::Tcp => End::Tcp(self.tcp.accept()?.0),
            Place::Unix => End::Unix(self.unix.accept()?.0),
            _ => End::File(File::open(path)?),
        };
        let path = self.order_drain(cell)?;
        let to = match cell.to {
            Place::Tcp => {
                let stream = TcpStream::connect(&path)?;
                stream.set_nodelay(true)?;
                End::Tcp(stream)
            }
            Place::Unix => End::Unix(UnixStream::connect(&path)?),
            Place::Sink => End::Sink(io::sink()),
            _ => End::File(OpenOptions::new().write(true).open(path)?),
        };
        Ok((from, to))
    }

    /// How many bytes arrived at the drain, if there is one, and the peers' CPU time.
    fn peers_done(&mut self, cell: &Cell) -> io::Result<(Option<u64>, Duration)> {
        let sender = if cell.from.has_peer() { self.sender.done()?.1 } else { Duration::ZERO };
        if !cell.to.has_peer() {
            return Ok((None, sender));
        }
        let (drained, cpu) = self.drain.done()?;
        Ok((Some(drained), sender + cpu))
    }

    /// Has the sender connect to one of these listeners. Returns what to open if there is none.
    fn order_sender(&mut self, cell: &Cell, tcp: &str, unix: &str) -> io::Result<String> {
        let to = match cell.from {
            Place::Tcp => tcp.to_owned(),
            Place::Unix => unix.to_owned(),
            Place::Pipe => self.fifo_from.display().to_string(),
            place => return self.file(place, "from", cell.bytes / cell.copies),
        };
        self.sender.send(cell.from, &to, cell.chunk, cell.bytes)?;
        Ok(to)
    }

    /// Has the drain wait. Returns where.
    fn order_drain(&mut self, cell: &Cell) -> io::Result<String> {
        let at = match cell.to {
            Place::Tcp | Place::Unix => self.drain.address(cell.to),
            Place::Pipe => self.fifo_to.display().to_string(),
            Place::Null => return Ok("/dev/null".to_owned()),
            Place::Sink => return Ok(String::new()),
            Place::New => return self.file(Place::New, "new", 0),
            place => return self.file(place, "to", 0),
        };
        self.drain.drain(cell.to, &at)?;
        Ok(at)
    }

    /// A round that did not move all the bytes is an error. Returns the peers' CPU time.
    fn settle(&mut self, cell: &Cell, outcome: io::Result<u64>) -> io::Result<Duration> {
        let (drained, peers) = self.peers_done(cell)?;
        let moved = outcome?;
        if moved != cell.bytes || drained.is_some_and(|n| n != moved) {
            let what = format!("moved {moved} of {}, {drained:?} arrived", cell.bytes);
            return Err(io::Error::other(what));
        }
        Ok(peers)
    }

    fn dir(&mut self, place: Place) -> Result<PathBuf, String> {
        match place {
            Place::Tmpfs => Ok(self.tmpfs.path().to_owned()),
            Place::Xfs | Place::Btrfs => {
                let disk = self.ext4.path();
                let mount = self
                    .mounts
                    .entry(place.name())
                    .or_insert_with(|| Mount::new(disk, place.name()));
                mount.as_ref().map(|mount| mount.at.clone()).map_err(Clone::clone)
            }
            _ => Ok(self.ext4.path().to_owned()),
        }
    }

    /// The file to copy from, of `len` bytes, or the one to copy to.
    fn file(&mut self, place: Place, end: &str, len: u64) -> io::Result<String> {
        let dir = self.dir(place).map_err(io::Error::other)?;
        let name = if len > 0 { format!("{end}-{len}") } else { end.to_owned() };
        Ok(dir.join(name).display().to_string())
    }

    /// Writes `len` bytes into the file to copy from or to, unless they are there.
    fn make_room(&mut self, place: Place, end: &str, len: u64, exact: bool) -> io::Result<()> {
        let path = PathBuf::from(self.file(place, end, if exact { len } else { 0 })?);
        let room = self.room.entry(path.clone()).or_default();
        if *room >= len {
            return Ok(());
        }
        let mut file = File::create(&path)?;
        // The page cache keeps a file in folios of about the size in which it was written, and a folio that is
        // written in parts costs more. This size favours neither small writes nor large ones.
        let block: Vec<u8> = (0..1 << 17).map(|at: u32| (at % 251) as u8).collect();
        let mut left = len;
        while left > 0 {
            let n = left.min(block.len() as u64);
            file.write_all(&block[..n as usize])?;
            left -= n;
        }
        file.sync_all()?;
        *room = len;
        Ok(())
    }
}

/// The Go program's word for a place. A file of every kind is a file.
fn go_kind(place: Place) -> &'static str {
    match place {
        Place::Tcp | Place::Unix => place.name(),
        _ => "file",
    }
}

/// A file system in a loop device, which goes when dropped.
#[derive(Debug)]
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(disk: &Path, kind: &'static str) -> Result<Self, String> {
        let (image, at) = (disk.join(format!("{kind}.img")), disk.join(kind));
        let words = |error: io::Error| format!("{kind}: {error}");
        std::fs::create_dir_all(&at).map_err(words)?;
        File::create(&image).and_then(|file| file.set_len(1 << 30)).map_err(words)?;
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Mount { at })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|error| format!("{name}: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}
