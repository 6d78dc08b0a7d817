//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::bar::Visible;
use crate::endpoint::Endpoint;
use crate::seconds;
use crate::size;
use crate::target::{Disposition, Manner, Sync};

macro_rules! after {
    ($($more:literal)*) => {
        concat!("\
Addresses:
  HOST:PORT   TCP; [::1]:PORT for IPv6, or with a zone [fe80::1%eth0]:PORT;
              port 0 to listen on any that is free
  :PORT, PORT TCP; listens on all addresses, connects to localhost
  unix:PATH   a Unix stream socket

Sizes:
  bytes, or with a suffix: 64k = 64K = 64KiB = 65536, 64kB = 64000; likewise
  M, G, T; 1.5M = 1572864

Exit status:
  0  all bytes were copied
  1  an end could not be opened, the copy failed, the file could not be put in
     place, or the peer did not take everything
  2  the command line is wrong
  3  fewer bytes came than --expect asked for" $(, $more)*)
    };
}

/// What `-h` says after the options.
const AFTER: &str = after!();

/// What `--help` says after the options. Scripts depend on it.
const AFTER_LONG: &str = after!(
    "

Files:
  A file is written under no name or a temporary one, in its directory, and
  gets its name when it is complete: whatever fails, what was there before is
  still there. Before a file takes the place of another it is on the disk, so
  that after a power cut one of the two is there; --sync extends this to files
  that replace none, and to names, and --no-sync spares it. The new file has
  the permissions, the access control list, the extended attributes and, as
  far as permitted, the owner and group of the one it replaces; where that is
  not permitted it is open to fewer users, never to more. Its other names
  (hard links) keep the old content, unless you say --in-place.

  Where no new file can take the old one's place (something is mounted on it;
  the directory is sticky, append-only or not yours to write; the file system
  cannot rename; /proc and /sys), the old one is written, as cp does. If that
  cannot be known before, and cannot be done either, a complete file keeps its
  temporary name, the message says which, and the exit status is 1.

  Devices and FIFOs are written directly. So are descriptors: -, /dev/stdin,
  /dev/stdout, /dev/stderr, /dev/fd/N, /proc/self/fd/N and links to them mean
  what zc was started with, and not the file behind it. One that was closed is
  an error.

  To recv, the upload of a client that is killed looks complete: give --expect
  N if N is known.

JSON:
  With --json, recv, send and cp print one object, on success and on failure
  alike, always with these keys (null where there is nothing to say):
    ok          whether it succeeded
    exit        the exit status
    command     recv, send or cp
    from, to    the two ends: addresses, paths, or -
    moved       bytes delivered, holes included
    holes       those of them that are holes in both files (cp)
    resumed     bytes that were there already (--resume)
    residue     bytes taken from the source and not delivered
    seconds     how long the copy took, without waiting for a connection
    calls       system calls the copy made
    mechanism   what moved most bytes: copy_file_range, sendfile, discard,
                splice or read/write
    mechanisms  for each of the five: name, tried, moved, and the errno,
                errno_name and errno_text with which it gave way to the next
    replied     bytes that the peer sent back (send)
    unacknowledged
                bytes of which the peer has not said that it has them (send)
    kept        the file with the bytes that could not be put in place
    error       the message
    syscall     the call that failed
    errno       its error number
    errno_name  the same as a name, such as ECONNRESET
  It goes to standard output; to standard error if standard output carries the
  data, or is closed."
);

const DEMO: &str = "\
Nothing leaves the machine. The uploads take turns; each is compared, byte for
byte, with what was sent. CPU time is that of the receiving thread (Go: the
process); the sender is another process.

JSON:
  ok, exit, command, error as for the other commands, and on success
    size, rounds, file_system, verified
    results  one object for each transport (tcp, unix) and method (std, loop,
             go, zc): transport, method, seconds, bytes_per_second,
             cpu_seconds, calls (null for go); medians of the rounds";

/// Receives, sends and copies bytes, with the kernel doing the moving.
#[derive(Debug, Parser)]
#[command(name = "zc", version, after_help = AFTER, after_long_help = AFTER_LONG)]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accepts one connection and writes what it sends to a file
    ///
    /// Once it listens it says so on standard error, with the port that the kernel chose if it was
    /// given port 0. The copy ends when the client ends its side of the connection, or at --limit.
    ///
    /// A client that is killed ends its connection just as one that has finished, and half a file then
    /// takes the old one's place. With --expect N, fewer than N bytes are an error, and the old file
    /// stays.
    ///
    /// The path of a Unix socket is removed when the connection is made. One that a killed zc left
    /// behind is taken over.
    #[command(after_help = AFTER, after_long_help = AFTER_LONG)]
    Recv(Recv),
    /// Connects and sends a file
    ///
    /// After the last byte it ends its side of the connection. It succeeds once the peer has acknowledged
    /// every byte and ended its own side. What the peer sends meanwhile is read, so that one that answers
    /// (an echo server, HTTP) is not held up.
    #[command(after_help = AFTER, after_long_help = AFTER_LONG)]
    Send(Send),
    /// Copies a single file (for trees: cp -a)
    ///
    /// A new file gets the permissions of the one it is a copy of, less the umask. Holes stay holes.
    #[command(after_help = AFTER, after_long_help = AFTER_LONG)]
    Cp(Cp),
    /// Relays every connection to one address on to another
    ///
    /// An end of input is passed on, and the other direction goes on until it ends too.
    #[command(after_help = crate::relay::args::AFTER, after_long_help = crate::relay::args::AFTER)]
    Relay(crate::relay::args::Relay),
    /// Compares zc with std::io::copy: uploads over TCP and a Unix socket into a file
    #[command(after_help = DEMO, after_long_help = DEMO)]
    Demo(Demo),
    /// Prints the completions of a shell
    ///
    /// For instance: zc completions bash >/usr/share/bash-completion/completions/zc
    Completions(Completions),
    /// Writes the manual pages, for those who package zc
    #[command(hide = true)]
    ManPages(ManPages),
    #[command(hide = true)]
    DemoSender(DemoSender),
    #[command(hide = true)]
    Janitor(Janitor),
}

#[derive(Debug, Args)]
pub(crate) struct Recv {
    /// Address to listen on: HOST:PORT, PORT or unix:PATH
    pub(crate) listen: Endpoint,
    /// File to write, or - for standard output; with --keep-open, the directory of the files
    pub(crate) file: OsString,
    /// Take connection after connection, until killed, and write what each brings to a file of its own
    ///
    /// The files are called 000001, 000002 and so on, after those that are there; none is ever replaced. Up
    /// to 64 connections are served at a time. What fails is said, and the others go on. With --json, one
    /// line for each.
    #[arg(short, long, conflicts_with_all = ["resume", "in_place", "progress"])]
    pub(crate) keep_open: bool,
    /// Let small pieces that come by TCP wait up to MS milliseconds for more, to be written together;
    /// 0 to write each as it comes
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=1000))]
    pub(crate) coalesce: u64,
    /// Fail if not a byte comes for SECONDS, once there is a connection
    #[arg(long, value_name = "SECONDS", value_parser = seconds::parse_nonzero)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    #[command(flatten)]
    pub(crate) writing: Writing,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// File to send, or - for standard input
    pub(crate) file: OsString,
    /// Address to connect to: HOST:PORT, PORT or unix:PATH
    pub(crate) addr: Endpoint,
    /// Begin after the bytes that the receiver has already (it needs the option, too: zc recv --help)
    #[arg(long)]
    pub(crate) resume: bool,
    /// Write what the peer sends back to FILE, or to standard output if it is - [default: drop it]
    #[arg(long, value_name = "FILE")]
    pub(crate) reply: Option<OsString>,
    /// After the last byte, wait at most SECONDS until the peer has acknowledged every byte and ended the
    /// connection [default: as long as it takes]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::parse)]
    pub(crate) linger: Option<Duration>,
    /// Fail if the connection is not made, or not a byte moves, for SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = seconds::parse_nonzero)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// File to copy, or - for standard input
    pub(crate) from: OsString,
    /// File or directory to copy it to, or - for standard output
    pub(crate) to: OsString,
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    #[command(flatten)]
    pub(crate) writing: Writing,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How many bytes to copy.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Bounds {
    /// Stop after N bytes
    #[arg(long, value_name = "N", value_parser = size::parse)]
    pub(crate) limit: Option<u64>,
    /// Fail if fewer than N bytes come
    #[arg(long, value_name = "N", value_parser = size::parse)]
    pub(crate) expect: Option<u64>,
}

/// How to write a file.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Writing {
    /// End only when the file and its name are on the disk, new ones too
    #[arg(long, conflicts_with = "no_sync")]
    pub(crate) sync: bool,
    /// Do not wait for the disk before a file takes the place of another
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Write the file that is there, as cp does, and do not put a new one in its place
    ///
    /// All its names (hard links) then show the new content, and half of it if the copy fails.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) in_place: bool,
    /// Go on after what the file holds already, and leave it as far as it got if the copy fails
    ///
    /// What it holds is not compared with what was to come. --expect counts all of the file, and --limit
    /// only what is added to it. For recv and send, give it at both ends. The receiver sends the number
    /// of bytes that it has, in decimal, and a newline. The sender repeats that line and sends what
    /// follows. Into a descriptor (- or /dev/fd/N) nothing can be resumed.
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Say which mechanism moved the bytes, which were tried, and why they gave way
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print one JSON object about the copy (its keys: zc --help)
    #[arg(long)]
    pub(crate) json: bool,
    /// Say how far the copy is even where standard error is not a terminal: a line a second
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) progress: bool,
    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManPages {
    /// Directory to write them to
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Bytes in each upload, such as 64MiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::parse_nonzero)]
    pub(crate) size: u64,
    /// Where to put the file that is uploaded into [default: $TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The Go toolchain, to compare with Go's io.Copy, too
    #[arg(long, value_name = "PATH")]
    pub(crate) go: Option<PathBuf>,
    /// Print the figures as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The other end of a demo upload: writes the stream of `seed` to standard output.
#[derive(Debug, Args)]
pub(crate) struct DemoSender {
    pub(crate) size: u64,
    pub(crate) seed: u64,
}

/// Removes a temporary file if the process that writes it is killed.
#[derive(Debug, Args)]
pub(crate) struct Janitor {
    pub(crate) path: PathBuf,
}

impl Command {
    /// Finds what is wrong with the options taken together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let bounds = match self {
            // The bytes expected may be there already, all but a few.
            Command::Recv(Recv { writing: Writing { resume: true, .. }, .. })
            | Command::Send(Send { resume: true, .. })
            | Command::Cp(Cp { writing: Writing { resume: true, .. }, .. }) => return Ok(()),
            Command::Recv(Recv { bounds, .. })
            | Command::Send(Send { bounds, .. })
            | Command::Cp(Cp { bounds, .. }) => bounds,
            _ => return Ok(()),
        };
        match (bounds.limit, bounds.expect) {
            (Some(limit), Some(expect)) if limit < expect => Err(Cli::command().error(
                ErrorKind::ArgumentConflict,
                format!("--limit {limit} lets no copy bring the bytes of --expect {expect}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Writing {
    /// The same for the target. See [`Manner`] for `mode`.
    pub(crate) fn manner(&self, mode: u32) -> Manner {
        let sync = match self {
            Writing { sync: true, .. } => Sync::Always,
            Writing { no_sync: true, .. } => Sync::Never,
            _ => Sync::Replacing,
        };
        let disposition = match self {
            Writing { resume: true, .. } => Disposition::Resume,
            Writing { in_place: true, .. } => Disposition::InPlace,
            _ => Disposition::Replace,
        };
        Manner { mode, sync, disposition }
    }
}

impl Output {
    /// Whether to show how far a copy is.
    pub(crate) fn visible(&self) -> Visible {
        match self {
            Output { quiet: true, .. } => Visible::Never,
            Output { progress: true, .. } => Visible::Always,
            _ => Visible::OnTerminal,
        }
    }
}

impl Bounds {
    /// How many bytes there are in the end at most, if the source holds `len` and `resumed` were there before.
    pub(crate) fn total(&self, len: Option<u64>, resumed: u64) -> Option<u64> {
        let limit = self.limit.map(|limit| limit.saturating_add(resumed));
        match (limit, len) {
            (Some(limit), Some(len)) => Some(limit.min(len)),
            (limit, len) => limit.or(len),
        }
    }
}
