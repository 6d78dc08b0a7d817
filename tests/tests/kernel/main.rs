//! A kernel that refuses: odd ends, peers that go, full disks, signals, sandboxes.

/// Ends that cannot do what is asked: opened the wrong way round, in append mode, without splice.
mod ends;
/// Peers that misbehave: they reset, end one direction, stop reading, or keep silent.
mod peers;
/// Sandboxes that deny the zero-copy calls, one at a time and all together.
mod seccomp;
/// Copies under a storm of signals whose handler does not restart calls.
mod signals;
/// Sinks that run out of room: full disks, quotas, RLIMIT_FSIZE, /dev/full.
mod space;
