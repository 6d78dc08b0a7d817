//! Which calls move which bytes, and what is asked before.

/// How much a call is asked to move at the most, where that has been promised.
mod asked_of_a_call;
/// What a copy asks before it moves a byte: as little as will do.
mod calls_that_ask;
/// Every cell of the chain table: what comes out, what is left, and which calls did it.
mod chain_table;
/// Files that are not what they seem: procfs, sysfs, devices.
mod devices;
/// Copies of which nothing is kept: into the null device and into `std::io::sink()`.
mod discard;
/// `CopyError::syscall` is the call that was made last, whatever mechanism it belongs to.
mod error_names_the_call;
/// Which way a copy goes by what is known of its two ends, and by the size of the pieces that come.
mod first_choices;
/// Go's own cases for a TCP or Unix socket into a file.
mod go_cases;
/// Sockets that keep message boundaries: never spliced, one read and one write for each message.
mod messages;
/// Options at the ends of their ranges.
mod option_extremes;
/// TCP urgent data: a byte that is not part of the stream, and keeps nobody from what comes after it.
mod urgent_data;
