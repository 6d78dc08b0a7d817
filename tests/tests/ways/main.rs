//! Which calls move which bytes, and what is asked before.

/// How much one call is asked to move at most, where that is promised.
mod asked_of_a_call;
/// What a copy asks before it moves a byte: as little as possible.
mod calls_that_ask;
/// Every cell of the chain table: what comes out, what is left, and which calls did it.
mod chain_table;
/// Files that are not what they seem: procfs, sysfs, devices.
mod devices;
/// Copies into nowhere: into the null device and into `std::io::sink()`.
mod discard;
/// `CopyError::syscall` is the last call that was to move bytes, of every mechanism.
mod error_names_the_call;
/// Which mechanism a copy chooses by what is known of its two ends, and by the size of the pieces.
mod first_choices;
/// Go's own cases for a TCP or Unix socket into a file.
mod go_cases;
/// Sockets that keep message boundaries: never spliced, one read and one write for each message.
mod messages;
/// Options at the ends of their ranges do what they say.
mod option_extremes;
/// TCP urgent data: a byte that is no part of the stream, and holds back no byte behind it.
mod urgent_data;
