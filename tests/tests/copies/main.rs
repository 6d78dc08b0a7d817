//! What every copy promises, by each of its drivers.

/// `Copier::coalesce`: small pieces from a TCP source are moved together.
mod coalesce;
/// Drivers of a transfer: by poll(2), by epoll(7), on one thread or many.
mod drivers;
/// Copies with an announced length.
mod exact;
/// Handfuls: the engine waits for a bulk sender over TCP until enough has come.
mod handfuls;
/// The hook table: it records and replaces calls, nests, is per thread, and goes with its guard.
mod hooks;
/// A callback hears of a long copy every few MiB, however much one call could move.
mod progress;
/// Sources that are slow on purpose, and sources that are too slow.
mod rates_and_deadlines;
/// The faults that come with `hook`.
mod ready_made_faults;
/// What a copy that failed hands back: the bytes that were taken and not delivered.
mod residue;
/// A copy that has taken all that its limit allows goes on until all of it is delivered.
mod short_writes;
/// Sinks with a limit: a quota, the length of an upload.
mod sink_limits;
/// The transfer, driven by hand: it never waits, and its driver may go at any time.
mod transfer;
/// What a copy waits for: signals, ends in non-blocking mode, timeouts, limits.
mod waiting;
