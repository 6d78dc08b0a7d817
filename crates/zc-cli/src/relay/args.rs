//! The command line of `zc relay`.

use std::time::Duration;

use clap::Args;

use crate::endpoint::Endpoint;
use crate::seconds;

/// What `zc relay --help` says after the options.
pub(crate) const AFTER: &str = "\
Addresses:
  HOST:PORT   TCP; [::1]:PORT for IPv6; port 0 to listen on any that is free
  :PORT, PORT TCP; listens on all addresses, connects to localhost
  unix:PATH   a Unix stream socket

One line for each connection that has ended, on standard output: who, bytes
from the client and to it, how long, what moved most bytes, and how it ended.
If nobody reads them, 10,000 lines wait, and further ones are left out. With
--json an object:
  peer, target   who connected, and where it was relayed to
  up, down       bytes delivered from the client, and to it
  seconds        how long it lasted
  mechanism      splice or read/write; null if nothing moved
  end            closed, reset, timeout or error; connect: the target was not
                 reached; aborted: it had not ended when the relay did
  error          the message; null if it was closed

SIGTERM and SIGINT: no further connection is accepted; those that there are
have --drain seconds to end. Then the relay waits as long as its lines are
being read, and the exit status is 0. Told once more, it does not wait.";

#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Address to listen on: HOST:PORT, PORT or unix:PATH
    pub(crate) listen: Endpoint,
    /// Address to relay every connection to
    pub(crate) target: Endpoint,
    /// End a connection that has moved no byte in either direction for SECONDS; 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds::parse)]
    pub(crate) idle_timeout: Duration,
    /// The same once one side has ended
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds::parse)]
    pub(crate) half_close_timeout: Duration,
    /// Give up on the target after SECONDS; 0 for as long as the system tries
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::parse)]
    pub(crate) connect_timeout: Duration,
    /// Accept no more than N connections at a time; others wait
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
    /// Let the bytes of a bulk sender over TCP wait up to MS milliseconds for more, for less CPU time; 0 to
    /// pass each on as it comes
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=50))]
    pub(crate) coalesce: u64,
    /// If one connection is reset, reset the other, too, once what was sent has arrived; without this it is
    /// closed, and looks complete to its peer
    #[arg(long)]
    pub(crate) pass_resets: bool,
    /// How long connections have to end when it is told to stop
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::parse)]
    pub(crate) drain: Duration,
    /// Print a JSON object for each connection
    #[arg(long)]
    pub(crate) json: bool,
}
