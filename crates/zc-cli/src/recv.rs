//! `zc recv`: a connection into a file.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::Timeout;

use crate::args::Recv;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::endpoint::Listener;
use crate::error::{Failure, one_line};
use crate::say::say;
use crate::sink::Sink;
use crate::target::DEFAULT_MODE;
use crate::transfer::{self, Plan};
use crate::{peer, resume};

pub(crate) fn run(args: &Recv) -> Result<Done, Failure> {
    let manner = args.writing.manner(DEFAULT_MODE);
    // The file first: no client should send what cannot be kept.
    let sink = Sink::open(&args.file, Path::new(&args.file), manner)?;
    let listener = listen(args)?;
    let mut source = accept(&listener, args)?;
    // The path of a Unix socket goes with it.
    drop(listener);
    receive(args, &mut source, sink)
}

/// Listens, and says where.
pub(crate) fn listen(args: &Recv) -> Result<Listener, Failure> {
    let cannot = |error| Failure::io(format!("cannot listen on {}", args.listen), &error);
    let listener = args.listen.listen().map_err(cannot)?;
    let address = listener.address().map_err(cannot)?;
    if !args.output.quiet {
        say(format_args!("zc recv: listening on {}", one_line(&address)));
    }
    Ok(listener)
}

/// Takes one connection.
pub(crate) fn accept(listener: &Listener, args: &Recv) -> Result<End, Failure> {
    let accept = || {
        let (stream, peer) = listener.accept()?;
        let mut source = End::new(stream, peer)?;
        // Until its file is in place.
        peer::break_off(&source);
        peer::keep_alive(&source.fd);
        peer::limit_waits(&mut source, args.timeout, Timeout::Recv)?;
        Ok(source)
    };
    accept().map_err(|error: io::Error| {
        Failure::io(format!("cannot accept on {}", args.listen), &error)
    })
}

/// Writes down what a connection brings.
///
/// The connection is still open when the file is in place, so that the sender can be told if it is not.
pub(crate) fn receive(args: &Recv, source: &mut End, mut sink: Sink) -> Result<Done, Failure> {
    let mut copier = copier();
    if args.coalesce > 0 {
        copier = copier.coalesce(Duration::from_millis(args.coalesce));
    }
    if args.writing.resume {
        // Others may have written to it while there was no connection.
        sink.go_to_end()?;
        let offset = sink.offset;
        resume::ask(source, offset)?;
        // Or while the sender passed over so much.
        sink.go_to_end()?;
        if sink.offset != offset {
            let (name, now) = (&sink.end.about.name, sink.offset);
            let why = format!("{name} has {now} bytes by now");
            return Err(Failure::new(format!("cannot resume after {offset} bytes"), why));
        }
    }
    sink.begin()?;
    let plan = Plan { bounds: args.bounds, resumed: sink.offset, visible: args.output.visible() };
    let done = transfer::run(&mut copier, source, &mut sink.end, &plan)?;
    match sink.commit() {
        Ok(()) => {
            peer::end_in_order(source);
            Ok(done)
        }
        Err(failure) => Err(failure.with(done)),
    }
}
