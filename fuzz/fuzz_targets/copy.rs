//! A copy decoded from bytes: its ends, wrappers, limits and schedule of faults. It is checked as the fault explorer
//! checks one.
//!
//! ```text
//! cargo +nightly fuzz run copy -- -max_len=200 -max_total_time=300
//! ```
//!
//! `corpus/copy` has the inputs that found something, and those that cover most. `tests/tests/explorer/corpus.rs`
//! replays them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(failure) = zc_testkit::explorer::replay_bytes(bytes) {
        panic!("{failure}");
    }
});
