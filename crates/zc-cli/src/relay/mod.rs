//! `zc relay`: every connection to one address on to another.

pub(crate) mod args;
mod line;
mod printer;
mod stream;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use zc_tokio::{Options, ResetPolicy};

use crate::endpoint::Endpoint;
use crate::errno;
use crate::error::{Failure, one_line};
use crate::say::{Seldom, say};
use args::Relay;
use line::{Ended, How};
use printer::{FAREWELL, Printer};
use stream::{AGAIN, Acceptor, Stream};

pub(crate) fn run(args: &Relay) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = runtime.map_err(|error| Failure::io("cannot start", &error)).and_then(|runtime| {
        let served = runtime.block_on(serve(args));
        // A thread may be looking up a name, which can take minutes.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("zc relay: {failure}"));
            ExitCode::from(failure.exit)
        }
    }
}

async fn serve(args: &Relay) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::io(format!("cannot listen on {}", args.listen), &error);
    let listener = args.listen.listen().map_err(failed)?;
    let address = listener.address().map_err(failed)?;
    let acceptor = Acceptor::new(listener).map_err(failed)?;
    let mut stop = Stop::new().map_err(|error| Failure::io("cannot be told to stop", &error))?;
    let printer = Printer::start().map_err(|error| Failure::io("cannot start", &error))?;
    say(format_args!("zc relay: listening on {}", one_line(&address)));

    let mut relays = JoinSet::new();
    tokio::select! {
        () = stop.told() => {}
        () = accept_all(&acceptor, args, &printer, &mut relays) => {}
    }
    drop(acceptor);
    let drained = async { while relays.join_next().await.is_some() {} };
    tokio::select! {
        _ = tokio::time::timeout(args.drain, drained) => {}
        // Told once more, it does not wait any longer.
        () = stop.told() => {}
    }
    // A task ends where it next waits.
    let _ = tokio::time::timeout(FAREWELL, relays.shutdown()).await;
    tokio::select! {
        () = printer.finish() => {}
        () = stop.told() => {}
    }
    printer.say_what_is_left();
    Ok(())
}

/// Accepts until it is dropped.
async fn accept_all(
    acceptor: &Acceptor,
    args: &Relay,
    printer: &Printer,
    relays: &mut JoinSet<()>,
) {
    let most = args.max_connections.map_or(Semaphore::MAX_PERMITS, |most| most as usize);
    let permits = Arc::new(Semaphore::new(most));
    let (mut number, mut refused) = (0_u64, Seldom::default());
    let manner = Arc::new(Manner {
        target: args.target.clone(),
        connect_timeout: args.connect_timeout,
        json: args.json,
        options: options(args),
        printer: printer.clone(),
    });
    loop {
        // Clients without a permit wait in the listener's queue.
        let permit = Arc::clone(&permits).acquire_owned().await.expect("it is never closed");
        number += 1;
        match acceptor.accept(number).await {
            Ok((client, peer)) => {
                relays.spawn(relay(client, peer, Arc::clone(&manner), permit));
            }
            // Out of descriptors or memory, or the client has gone: the next may do better.
            Err(error) => {
                if !is_about_the_client(&error) {
                    if refused.is_said() {
                        let why = errno::explained(&error);
                        let line = format!("zc relay: cannot accept, and tries again: {why}");
                        // Whoever reads it may have stopped.
                        tokio::task::spawn_blocking(move || say(line));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        while relays.try_join_next().is_some() {}
    }
}

fn is_about_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn options(args: &Relay) -> Options {
    let or_never = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
    let mut options = Options::default();
    options.idle_timeout = or_never(args.idle_timeout);
    options.coalesce = or_never(Duration::from_millis(args.coalesce));
    options.half_close_timeout = or_never(args.half_close_timeout);
    if args.pass_resets {
        options.on_reset = ResetPolicy::Forward;
    }
    options
}

/// What all connections have in common.
struct Manner {
    target: Endpoint,
    connect_timeout: Duration,
    json: bool,
    options: Options,
    printer: Printer,
}

/// The task of a connection, and all that an idle one holds: so nothing is handed on to another future, which would
/// keep it twice.
async fn relay(
    mut client: Stream,
    peer: String,
    manner: Arc<Manner>,
    _permit: OwnedSemaphorePermit,
) {
    let relay = zc_tokio::Relay::with_options(manner.options);
    let mut connection =
        Connection { peer, begun: Instant::now(), relay, manner, how: How::Aborted };
    let Connection { relay, manner, how, .. } = &mut connection;
    *how = match Stream::connect(&manner.target, manner.connect_timeout).await {
        Ok(mut server) => match client.relay(&mut server, relay).await {
            Ok(_) => How::Closed,
            Err(error) => How::Stopped(error),
        },
        Err(error) => How::Unconnected(error),
    };
}

/// A connection. Dropped, with its task or at the end, it has its line.
struct Connection {
    peer: String,
    begun: Instant,
    relay: zc_tokio::Relay,
    manner: Arc<Manner>,
    how: How,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Connection { peer, begun, relay, manner, how } = self;
        let ended = Ended {
            peer: std::mem::take(peer),
            target: manner.target.to_string(),
            counts: relay.counts(),
            lasted: begun.elapsed(),
            mechanism: line::mechanism(relay),
            how: std::mem::replace(how, How::Aborted),
        };
        manner.printer.print(line::line(&ended, manner.json));
    }
}

/// SIGTERM and SIGINT.
struct Stop(Signal, Signal);

impl Stop {
    fn new() -> io::Result<Stop> {
        Ok(Stop(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}
