//! The cells: which kinds of copies are measured.

use std::fmt;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Where a cell's bytes come from, or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP connection over loopback.
    Tcp,
    /// A Unix stream socket.
    Unix,
    /// A FIFO of the default size.
    Pipe,
    /// /dev/null.
    Null,
    /// `std::io::sink()`.
    Sink,
    /// A file on ext4, overwritten in place so that allocating pages does not drown the signal.
    Ext4,
    /// A file on ext4 that is empty at first, as that of an upload is.
    New,
    /// A file on tmpfs, overwritten in place.
    Tmpfs,
    /// A file on xfs with reflinks, in a loop device.
    Xfs,
    /// A file on btrfs, in a loop device.
    Btrfs,
}

impl Place {
    /// Its part of a cell's name.
    pub fn name(self) -> &'static str {
        match self {
            Place::Tcp => "tcp",
            Place::Unix => "unix",
            Place::Pipe => "pipe",
            Place::Null => "null",
            Place::Sink => "sink",
            Place::Ext4 => "ext4",
            Place::New => "new",
            Place::Tmpfs => "tmpfs",
            Place::Xfs => "xfs",
            Place::Btrfs => "btrfs",
        }
    }

    /// Whether it is a file with a start to go back to.
    pub fn is_file(self) -> bool {
        matches!(self, Place::Ext4 | Place::New | Place::Tmpfs | Place::Xfs | Place::Btrfs)
    }

    /// Whether another process is at its other end.
    pub fn has_peer(self) -> bool {
        matches!(self, Place::Tcp | Place::Unix | Place::Pipe)
    }
}

/// One kind of copy.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its name, which `--only` matches.
    pub name: String,
    /// The table it belongs to.
    pub group: &'static str,
    /// Where the bytes come from.
    pub from: Place,
    /// Where they go.
    pub to: Place,
    /// How many bytes the sender writes at a time.
    pub chunk: u64,
    /// The limit of each copy, on one connection; `None` copies until the end of input.
    pub frame: Option<u64>,
    /// How many copies make one round.
    pub copies: u64,
    /// How many bytes one round moves.
    pub bytes: u64,
    /// Whether `--quick` includes it.
    pub quick: bool,
}

impl Cell {
    /// Whether a copy is so short that its cost is better given per copy than per KiB.
    pub fn per_copy(&self) -> bool {
        self.bytes / self.copies <= 64 * KIB
    }
}

/// How many bytes a round of a bulk cell moves.
#[derive(Clone, Copy, Debug)]
pub struct Bulk(pub u64);

impl Bulk {
    /// For a two-minute run.
    pub const QUICK: Bulk = Bulk(32 * MIB);
    /// For figures to quote.
    pub const FULL: Bulk = Bulk(64 * MIB);

    /// Small writes cost the *sender* its time, so a round moves fewer bytes.
    fn for_chunk(self, chunk: u64) -> u64 {
        let fewer = match chunk {
            0..=512 => 32,
            513..=2048 => 8,
            2049..=8192 => 4,
            8193..=16384 => 2,
            _ => 1,
        };
        self.0 / fewer
    }
}

/// All cells, in the order of the report.
pub fn all(bulk: Bulk) -> Vec<Cell> {
    let mut cells = Vec::new();
    seed(&mut cells, bulk);
    to_file(&mut cells, bulk);
    to_new_file(&mut cells, bulk);
    relay(&mut cells, bulk);
    to_nowhere(&mut cells, bulk);
    framed(&mut cells, bulk);
    from_file(&mut cells, bulk);
    pipes(&mut cells, bulk);
    cells
}

/// The seed's table: one long copy of messages of each size into /dev/null. And the same into a file, where bytes
/// have to be moved.
fn seed(cells: &mut Vec<Cell>, bulk: Bulk) {
    for (group, prefix, to) in
        [("seed", "seed", Place::Null), ("seed into ext4", "seed-ext4", Place::Ext4)]
    {
        for from in [Place::Tcp, Place::Unix] {
            for chunk in (0..=10).map(|k| KIB << k) {
                cells.push(Cell {
                    name: format!("{prefix}-{}/{}", from.name(), Size(chunk)),
                    quick: to == Place::Null && matches!(chunk >> 10, 1 | 32 | 1024),
                    ..stream(group, from, to, chunk, bulk)
                });
            }
        }
    }
}

fn stream(group: &'static str, from: Place, to: Place, chunk: u64, bulk: Bulk) -> Cell {
    Cell {
        name: format!("{}-{}/{}", from.name(), to.name(), Size(chunk)),
        group,
        from,
        to,
        chunk,
        frame: None,
        copies: 1,
        bytes: bulk.for_chunk(chunk),
        quick: false,
    }
}

/// One long copy from a socket to a file.
fn to_file(cells: &mut Vec<Cell>, bulk: Bulk) {
    use Place::{Ext4, Null, Tcp, Tmpfs, Unix};
    for to in [Ext4, Tmpfs, Null] {
        for chunk in [256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, MIB] {
            let quick = to == Ext4 && matches!(chunk >> 10, 1 | 16 | 128 | 1024);
            cells.push(Cell { quick, ..stream("socket to file", Tcp, to, chunk, bulk) });
        }
        for chunk in [4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, MIB] {
            let quick = to == Ext4 && chunk >> 10 == 128;
            cells.push(Cell { quick, ..stream("socket to file", Unix, to, chunk, bulk) });
        }
    }
}

/// One long copy from a socket to a file that is not there yet.
fn to_new_file(cells: &mut Vec<Cell>, bulk: Bulk) {
    for from in [Place::Tcp, Place::Unix] {
        for chunk in [16 * KIB, 128 * KIB, MIB] {
            cells.push(stream("socket to new file", from, Place::New, chunk, bulk));
        }
    }
}

/// One long copy from socket to socket.
fn relay(cells: &mut Vec<Cell>, bulk: Bulk) {
    use Place::{Tcp, Unix};
    for (from, to) in [(Tcp, Tcp), (Tcp, Unix), (Unix, Tcp), (Unix, Unix)] {
        for chunk in [4 * KIB, 16 * KIB, 128 * KIB] {
            let quick = from == to && chunk >> 10 == 128;
            cells.push(Cell { quick, ..stream("socket to socket", from, to, chunk, bulk) });
        }
    }
}

/// One long copy to where nothing is kept. (Into /dev/null it is among those from a socket to a file.)
fn to_nowhere(cells: &mut Vec<Cell>, bulk: Bulk) {
    for chunk in [256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, MIB] {
        cells.push(stream("to nowhere", Place::Tcp, Place::Sink, chunk, bulk));
    }
}

/// Copies of a few bytes each, one after the other on one connection whose sender is ahead.
fn framed(cells: &mut Vec<Cell>, bulk: Bulk) {
    use Place::{Ext4, Null, Sink, Tcp, Unix};
    for (from, to) in [(Tcp, Ext4), (Unix, Ext4), (Tcp, Null), (Tcp, Sink), (Tcp, Tcp)] {
        for frame in [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB] {
            let copies = (bulk.0 >> 11).min(2 * bulk.0 / frame);
            cells.push(Cell {
                name: format!("framed-{}-{}/{}", from.name(), to.name(), Size(frame)),
                group: "framed",
                from,
                to,
                chunk: 64 * KIB,
                frame: Some(frame),
                copies,
                bytes: copies * frame,
                quick: (from, to) == (Tcp, Ext4) && matches!(frame, 64 | 4096 | 65536),
            });
        }
    }
}

/// Whole files, small ones again and again, to sockets and to files.
fn from_file(cells: &mut Vec<Cell>, bulk: Bulk) {
    use Place::{Btrfs, Ext4, Tcp, Tmpfs, Unix, Xfs};
    let pairs = [(Ext4, Tcp), (Ext4, Unix), (Tmpfs, Tcp)].map(|pair| ("file to socket", pair));
    let files = [(Ext4, Ext4), (Ext4, Tmpfs), (Tmpfs, Ext4), (Tmpfs, Tmpfs), (Xfs, Xfs)];
    let files = files.into_iter().chain([(Btrfs, Btrfs)]).map(|pair| ("file to file", pair));
    for (group, (from, to)) in pairs.into_iter().chain(files) {
        for len in [4 * KIB, 64 * KIB, 32 * MIB] {
            let copies = (bulk.0 / len).clamp(1, bulk.0 >> 14);
            cells.push(Cell {
                name: format!("{}-{}/{}", from.name(), to.name(), Size(len)),
                group,
                from,
                to,
                chunk: len,
                frame: None,
                copies,
                bytes: copies * len,
                quick: from == Ext4 && matches!(to, Ext4 | Tcp) && len == 32 * MIB,
            });
        }
    }
}

/// From and to pipes.
fn pipes(cells: &mut Vec<Cell>, bulk: Bulk) {
    use Place::{Ext4, Null, Pipe, Tcp, Unix};
    let to = [Ext4, Null, Tcp, Unix, Pipe].map(|to| (Pipe, to));
    let from = [Tcp, Unix].map(|from| (from, Pipe));
    for (from, to) in to.into_iter().chain(from) {
        for chunk in [4 * KIB, 64 * KIB] {
            let quick = chunk >> 10 == 64 && matches!((from, to), (Pipe, Ext4) | (Tcp, Pipe));
            cells.push(Cell { quick, ..stream("pipes", from, to, chunk, bulk) });
        }
    }
    let len = 32 * MIB;
    let copies = (bulk.0 / len).max(1);
    cells.push(Cell { copies, bytes: copies * len, ..stream("pipes", Ext4, Pipe, len, bulk) });
}

/// A number of bytes, as cells name it.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => write!(f, "{}G", n >> 30),
            n if n >= MIB && n % MIB == 0 => write!(f, "{}M", n >> 20),
            n if n >= KIB && n % KIB == 0 => write!(f, "{}K", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

/// Whether `name` matches `glob`, in which `*` is any number of any characters.
pub fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|&at| tail.is_char_boundary(at))
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_rounds_whole() {
        for bulk in [Bulk(8 * MIB), Bulk::QUICK, Bulk::FULL] {
            let cells = all(bulk);
            for (at, cell) in cells.iter().enumerate() {
                assert!(cells[..at].iter().all(|other| other.name != cell.name), "{}", cell.name);
                assert!(cell.copies > 0 && cell.bytes.is_multiple_of(cell.copies), "{cell:?}");
                assert_eq!(cell.frame.map_or(cell.bytes, |n| n * cell.copies), cell.bytes);
            }
        }
    }

    #[test]
    fn globs_match_names() {
        assert!(matches("tcp-*/128K", "tcp-ext4/128K"));
        assert!(matches("*", "seed-tcp/1K"));
        assert!(!matches("tcp-*/1K", "seed-tcp/1K"));
        assert!(!matches("tcp-ext4/1", "tcp-ext4/16K"));
    }
}
