//! zc-tokio, on real sockets: a module a behaviour.

mod as_tokio;
mod coalescing;
mod drops;
mod edges;
mod fast;
mod faults;
mod files;
mod holding;
mod kit;
mod layers;
mod matrix;
mod nowhere;
mod pipes;
mod relays;
mod resets;
mod sink_limits;
mod timeouts;
