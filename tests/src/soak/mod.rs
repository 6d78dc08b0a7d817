//! Rounds in which open files are shared. Threads, forked children and programs copy into one or out of one
//! at the same time, by every mechanism, beside plain writers, plain readers and stalled copies.
//!
//! ```text
//! shared_sink, shared_source   what a round is, and how its bytes are counted
//!  └ crew                        who copies: threads, children, programs
//!     └ copying                    one copy, handed on from thread to thread
//!        └ faults                    what calls may answer beside a file that others have, too
//! stalls                       copies that wait meanwhile, and what a child has of them
//! workload                     copies with ends of their own
//! tally                        who works, and what they did
//! ```

mod account;
mod copying;
mod crew;
mod faults;
mod shared_sink;
mod shared_source;
mod stalls;
pub mod tally;
pub mod workload;

use std::time::{Duration, Instant};

use tally::{Hung, Tally, Worker, together};
use workload::{Random, copiers};

pub use crew::program;

/// Copies on `threads` threads for `time`. Half of them have ends of their own, the other half lead rounds with
/// shared ones.
///
/// # Errors
///
/// If a copy hangs.
///
/// # Panics
///
/// If a copy with ends of its own loses a byte, or if a copy fails.
pub fn run(threads: u64, time: Duration, seed: u64) -> Result<Tally, Hung> {
    let deadline = Instant::now() + time;
    let alone = threads / 2;
    let mut workers = copiers(alone, deadline, seed);
    workers.extend((alone..threads).map(|thread| -> Worker {
        Box::new(move || {
            let mut random = Random::new(seed + thread);
            let mut tally = Tally::default();
            while Instant::now() < deadline {
                tally += round(&mut random);
            }
            tally
        })
    }));
    together(deadline, workers)
}

fn round(random: &mut Random) -> Tally {
    let stalls = stalls::Stalls::begin(random);
    let mut tally = match random.below(2) {
        0 => shared_sink::round(random),
        _ => shared_source::round(random),
    };
    tally += stalls.end(random);
    tally
}

/// How many bytes there are to copy, from 1 to `most`: mostly many, since small copies are read and written.
fn size(random: &mut Random, most: usize) -> usize {
    if random.below(4) == 0 {
        return 1 + random.len(most - 1);
    }
    most - usize::try_from(random.below(most as u64 / 2 + 1)).expect("less than `most`")
}
