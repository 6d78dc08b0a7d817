//! Going on where an earlier copy stopped.
//!
//! Over a connection the receiver begins: it says how many bytes it has, as a decimal number and a newline.
//! The sender says the same, and then the bytes from there on. A sender without this option says something
//! else, and no byte of it gets into the file.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;
use zc_linux::fd::wait_readable;

use crate::end::End;
use crate::error::Failure;

/// As long as a line with a number can be.
const LINE: usize = 21;

/// Passes over the first `offset` bytes of what `source` has to offer.
///
/// Other processes may read through the same open file: its position is not touched without need, and never set back.
pub(crate) fn skip(source: &mut End, offset: u64) -> Result<(), Failure> {
    if offset == 0 {
        return Ok(());
    }
    let what = format!("cannot resume after {offset} bytes");
    let too_short =
        |name: &str| Failure::new(&what, format!("{name} is shorter than what is there already"));
    match seek(&source.fd, SeekFrom::Current(0)) {
        Ok(start) if source.identity.is_some() => {
            let at = start.checked_add(offset);
            let len = len(&source.fd).map_err(|error| Failure::io(&what, &error))?;
            if at.is_none_or(|at| at > len) {
                return Err(too_short(&source.about.name));
            }
            // It is no more than the file's length.
            match seek(&source.fd, SeekFrom::Current(offset.cast_signed())) {
                Ok(_) => Ok(()),
                Err(errno) => Err(Failure::io(&what, &errno.into())),
            }
        }
        _ => {
            let mut left = offset;
            let mut scrap = vec![0; 128 * 1024];
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(scrap.len());
                match read(source, &mut scrap[..most], None) {
                    Ok(0) => return Err(too_short(&source.about.name)),
                    Ok(n) => left -= n as u64,
                    Err(error) => return Err(Failure::io(&what, &error)),
                }
            }
            Ok(())
        }
    }
}

fn len(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0))
}

/// The receiver's part: says what it has, and hears whether the sender goes on from there.
pub(crate) fn ask(sender: &mut End, offset: u64) -> Result<(), Failure> {
    let what = || format!("cannot resume after {offset} bytes");
    let mut agree = || -> io::Result<bool> {
        sender.fd.write_all(format!("{offset}\n").as_bytes())?;
        let timeout = sender.timeout;
        Ok(hear(sender, timeout)? == Some(offset))
    };
    match agree() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(what(), "the sender does not do so (zc send --resume does)")),
        Err(error) => Err(Failure::io(what(), &error)),
    }
}

/// The sender's part: hears where to go on, goes there, and says that it does.
pub(crate) fn answer(
    receiver: &mut End,
    source: &mut End,
    timeout: Option<Duration>,
) -> Result<u64, Failure> {
    let failed = format!("cannot resume to {}", receiver.about.name);
    let offset = match hear(receiver, timeout) {
        Ok(Some(offset)) => offset,
        Ok(None) => {
            let why = "it does not say how much it has (zc recv --resume does)";
            return Err(Failure::new(failed, why));
        }
        Err(error) => return Err(Failure::io(failed, &error)),
    };
    // A receiver that is told to go on takes the end of the connection for the end of the file.
    skip(source, offset)?;
    let said = receiver.fd.write_all(format!("{offset}\n").as_bytes());
    said.map_err(|error| Failure::io(failed, &error))?;
    Ok(offset)
}

/// Reads a line with a number, and not a byte more.
fn hear(peer: &mut End, timeout: Option<Duration>) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    while line.len() < LINE {
        let mut byte = [0];
        match read(peer, &mut byte, timeout)? {
            0 if line.is_empty() => {
                let why = "the connection ended before that was agreed on";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
            }
            0 => return Ok(None),
            _ if byte == *b"\n" => break,
            _ => line.extend(byte),
        }
    }
    let digits = line.iter().all(u8::is_ascii_digit);
    Ok(String::from_utf8(line).ok().filter(|_| digits).and_then(|line| line.parse().ok()))
}

fn read(end: &mut End, buffer: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
    loop {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if !wait_readable(end.fd.as_fd(), deadline)? {
            return Err(Errno::TIMEDOUT.into());
        }
        match end.fd.read(buffer) {
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            outcome => return outcome,
        }
    }
}
