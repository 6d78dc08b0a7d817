//! `zc send`: a file into a connection.

use std::io::{self, IsTerminal};
use std::path::Path;

use rustix::net::sockopt::Timeout;

use crate::args::Send;
use crate::copier::copier;
use crate::done::Done;
use crate::end::End;
use crate::error::{Failure, one_line};
use crate::peer::Farewell;
use crate::reply::Reply;
use crate::sink::Sink;
use crate::target::{DEFAULT_MODE, Manner};
use crate::transfer::{self, Plan};
use crate::{cp, peer, resume};

pub(crate) fn run(args: &Send) -> Result<Done, Failure> {
    let mut source = cp::source(&args.file)?;
    let reply_to = match &args.reply {
        Some(name) => Some(Sink::open(name, Path::new(name), Manner::ordinary(DEFAULT_MODE))?),
        None => None,
    };
    if let Some(sink) = &reply_to
        && sink.identity.is_some()
        && sink.identity == source.identity
    {
        let what = format!("cannot write the answer to {}", sink.end.about.name);
        return Err(Failure::new(what, "it is the file to send"));
    }
    let connect = |error: io::Error| cannot_connect(args, &error);
    let stream = args.addr.connect(args.timeout).map_err(connect)?;
    let mut socket = End::new(stream, args.addr.to_string()).map_err(connect)?;
    peer::keep_alive(&socket.fd);
    peer::limit_waits(&mut socket, args.timeout, Timeout::Send).map_err(connect)?;
    let (mut done, reply) = deliver(args, &mut source, &mut socket, reply_to)
        // Half of it is not to look complete.
        .inspect_err(|_| peer::break_off(&socket))?;
    let hint = format!(
        "zc send: all is sent; waiting for {} to take it and to end the connection (--linger bounds the wait)",
        one_line(&args.addr.to_string()),
    );
    let hint = Some(hint.as_str()).filter(|_| !args.output.quiet && io::stderr().is_terminal());
    let farewell = peer::take_leave(&socket, &reply, args.linger, args.timeout, hint);
    done.replied = Some(reply.bytes());
    match conclude(args, &source, farewell) {
        Ok(()) => Ok(done),
        Err(failure) => {
            reply.abandon(&socket.fd);
            Err(failure.with(done))
        }
    }
}

/// Sends all there is to send, and reads meanwhile what comes back.
fn deliver(
    args: &Send,
    source: &mut End,
    socket: &mut End,
    mut reply_to: Option<Sink>,
) -> Result<(Done, Reply), Failure> {
    let resumed = if args.resume { resume::answer(socket, source, args.timeout)? } else { 0 };
    if let Some(sink) = &mut reply_to {
        sink.begin()?;
    }
    let ours = socket.fd.get_ref().try_clone();
    let reply = ours.and_then(|ours| Reply::listen(ours, reply_to));
    let reply = reply.map_err(|error| cannot_connect(args, &error))?;

    let plan = Plan { bounds: args.bounds, resumed, visible: args.output.visible() };
    let sent = transfer::run(&mut copier(), source, socket, &plan);
    let done = sent.inspect_err(|_| reply.abandon(&socket.fd))?;
    Ok((done, reply))
}

fn cannot_connect(args: &Send, error: &io::Error) -> Failure {
    Failure::io(format!("cannot connect to {}", args.addr), error)
}

/// What the command comes to once all is sent.
fn conclude(args: &Send, source: &End, farewell: Farewell) -> Result<(), Failure> {
    let what = || format!("{} did not take all of {}", args.addr, source.about.name);
    match farewell {
        Farewell::InOrder(ended) => match ended.sink? {
            Some(sink) => sink.commit(),
            None => Ok(()),
        },
        Farewell::Failed(error) => Err(Failure::io(what(), &error)),
        Farewell::Late { unacknowledged, idle } => {
            let (option, time) =
                if idle { ("--timeout", args.timeout) } else { ("--linger", args.linger) };
            let seconds = time.unwrap_or_default().as_secs_f64();
            let failure = match unacknowledged {
                0 => Failure::new(
                    format!("{} did not end the connection", args.addr),
                    format!(
                        "it acknowledged every byte, and then nothing within {option} {seconds}"
                    ),
                ),
                n => {
                    let s = if n == 1 { " is" } else { "s are" };
                    Failure::new(
                        what(),
                        format!("{n} byte{s} unacknowledged after {option} {seconds}"),
                    )
                }
            };
            Err(failure.unacknowledged(unacknowledged))
        }
    }
}
