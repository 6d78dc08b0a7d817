//! `zc send`: a file into a connection.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::args::Send;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::error::Failure;
use crate::{cp, transfer, wait};

/// How long the receiver may take to end its side.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Send) -> Result<Done, Failure> {
    let mut source = cp::source(&args.file)?;
    let connect = |error| Failure::io(format!("cannot connect to {}", args.addr), &error);
    let stream = args.addr.connect().map_err(connect)?;
    let mut sink = End::new(stream, args.addr.to_string()).map_err(connect)?;
    let done = transfer::run(&mut copier(), &mut source, &mut sink, &args.bounds)?;
    match finish(&mut sink) {
        Ok(()) => Ok(done),
        Err(error) => {
            let what = format!("{} did not take all of {}", args.addr, source.about.name);
            Err(Failure::io(what, &error).with(done))
        }
    }
}

/// Ends our side, and reads until the receiver ends its own.
///
/// Bytes in the socket's buffer count as moved, and a receiver that gives up now would do so
/// unnoticed. And a socket closed with unread bytes in it resets the connection, which takes from
/// the receiver what it has not read yet.
fn finish(sink: &mut End) -> io::Result<()> {
    match shutdown(&sink.fd, Shutdown::Write) {
        // The receiver has reset the connection; a read says so.
        Ok(()) | Err(Errno::NOTCONN) => {}
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + PATIENCE;
    let mut scrap = [0; 4096];
    while wait::readable(&sink.fd, Some(deadline.saturating_duration_since(Instant::now())))? {
        if sink.fd.read(&mut scrap)? == 0 || Instant::now() >= deadline {
            break;
        }
    }
    Ok(())
}
