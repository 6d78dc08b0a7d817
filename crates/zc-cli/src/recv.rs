//! `zc recv`: a connection into a file.

use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::Timeout;

use crate::args::Recv;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::endpoint::Listener;
use crate::error::Failure;
use crate::output::say;
use crate::sink::Sink;
use crate::target::DEFAULT_MODE;
use crate::transfer::{self, Plan};
use crate::{peer, resume};

pub(crate) fn run(args: &Recv) -> Result<Done, Failure> {
    let manner = args.writing.manner(DEFAULT_MODE);
    // The file first: a client should not get to send what cannot be kept.
    let sink = Sink::open(&args.file, Path::new(&args.file), manner)?;
    let listen = |error| Failure::io(format!("cannot listen on {}", args.listen), &error);
    let listener = args.listen.listen().map_err(listen)?;
    say(format_args!("zc recv: listening on {}", listener.address().map_err(listen)?));
    let mut source = accept(listener)
        .map_err(|error| Failure::io(format!("cannot accept on {}", args.listen), &error))?;
    peer::keep_alive(&source.fd);
    peer::limit_waits(&mut source, args.timeout, Timeout::Recv).map_err(listen)?;
    receive(args, &mut source, sink).inspect_err(|_| peer::break_off(&source))
}

/// Writes down what a connection brings. It is open until the file is in place.
fn receive(args: &Recv, source: &mut End, mut sink: Sink) -> Result<Done, Failure> {
    let mut copier = copier();
    if args.coalesce > 0 {
        copier = copier.coalesce(Duration::from_millis(args.coalesce));
    }
    if args.writing.resume {
        resume::ask(source, sink.offset)?;
    }
    sink.begin()?;
    let plan = Plan { bounds: args.bounds, resumed: sink.offset, keep_holes: false };
    let done = transfer::run(&mut copier, source, &mut sink.end, &plan)?;
    match sink.commit() {
        Ok(()) => Ok(done),
        Err(failure) => Err(failure.with(done)),
    }
}

/// Takes one connection; a Unix socket's path is gone once it is made.
fn accept(listener: Listener) -> std::io::Result<End> {
    let (stream, peer) = listener.accept()?;
    End::new(stream, peer)
}
