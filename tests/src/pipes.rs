//! Pipes, FIFOs and pseudo-terminals.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Both ends of a pipe.
pub fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().expect("a pipe")
}

/// Both ends of a FIFO, the reading one first. Its name is gone.
pub fn fifo() -> (File, File) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("fifo");
    rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a file system with FIFOs");
    // An open of one end waits for the other end, unless it is of the reading one in non-blocking mode.
    let nonblocking = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(&path, nonblocking, Mode::empty()).expect("just made");
    let writer = File::options().write(true).open(&path).expect("it has a reader");
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).expect("open");
    (reader.into(), writer)
}

/// Both ends of a pseudo-terminal, the master first. It echoes nothing and leaves output as it is. Input is by the
/// line, and ^D at the start of a line reads as the end.
pub fn terminal() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master: OwnedFd = rustix::pty::openpt(flags).expect("a pseudo-terminal");
    rustix::pty::grantpt(&master).expect("our own");
    rustix::pty::unlockpt(&master).expect("our own");
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("unlocked");
    let mut modes = tcgetattr(&slave).expect("a terminal");
    modes.make_raw();
    modes.local_modes |= LocalModes::ICANON;
    tcsetattr(&slave, OptionalActions::Now, &modes).expect("a terminal");
    (master.into(), slave.into())
}
