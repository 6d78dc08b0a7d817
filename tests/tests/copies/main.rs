//! What a copy promises, whoever drives it.

/// `Copier::coalesce`: small pieces from a TCP source are moved together.
mod coalesce;
/// Drivers of a transfer: by poll(2), by epoll(7), on one thread or many.
mod drivers;
/// Copies that know how long their source is to be.
mod exact;
/// Handfuls: a bulk sender over TCP is waited for until enough has come.
mod handfuls;
/// The hook table: recorded, replaced, nested, per thread, and gone with its guard.
mod hooks;
/// Whoever watches a file being sent hears of it every few MiB, however much one call could send.
mod progress;
/// Sources that are slow on purpose, and those that are too slow.
mod rates_and_deadlines;
/// The faults that come with `hook`.
mod ready_made_faults;
/// What a copy that failed hands back: the bytes that it took and nobody got.
mod residue;
/// A copy that has taken all that its limit allows is not over before all of it is delivered.
mod short_writes;
/// A user's sink that takes so many bytes and no more: a quota, the length of an upload.
mod sink_limits;
/// The transfer, driven by hand: it never waits, and its driver may go at any time.
mod transfer;
/// Who waits for what: signals, ends in non-blocking mode, timeouts, limits.
mod waiting;
