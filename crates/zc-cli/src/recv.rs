//! `zc recv`: a connection into a file.

use std::path::Path;
use std::time::Duration;

use crate::args::Recv;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::endpoint::Listener;
use crate::error::Failure;
use crate::output::say;
use crate::sink::Sink;
use crate::target::DEFAULT_MODE;
use crate::transfer;

pub(crate) fn run(args: &Recv) -> Result<Done, Failure> {
    let manner = args.writing.manner(DEFAULT_MODE);
    // The file first: a client should not get to send what cannot be kept.
    let mut sink = Sink::open(&args.file, Path::new(&args.file), manner)?;
    let listen = |error| Failure::io(format!("cannot listen on {}", args.listen), &error);
    let listener = args.listen.listen().map_err(listen)?;
    say(format_args!("zc recv: listening on {}", listener.address().map_err(listen)?));
    let mut source = accept(listener)
        .map_err(|error| Failure::io(format!("cannot accept on {}", args.listen), &error))?;
    let mut copier = copier();
    if args.coalesce > 0 {
        copier = copier.coalesce(Duration::from_millis(args.coalesce));
    }
    sink.begin()?;
    let done = transfer::run(&mut copier, &mut source, &mut sink.end, &args.bounds)?;
    sink.commit(done)
}

/// Takes one connection; a Unix socket's path is gone once it is made.
fn accept(listener: Listener) -> std::io::Result<End> {
    let (stream, peer) = listener.accept()?;
    End::new(stream, peer)
}
