//! A copy by bytes: ends, wrapper stack, limits and fault schedule are decoded from the input, and
//! the copy checked as the fault explorer checks it.
//!
//! ```text
//! cargo +nightly fuzz run copy -- -max_len=200 -max_total_time=300
//! ```
//!
//! What it has found and what covers most is in `corpus/copy`, which `tests/tests/explorer/corpus.rs` replays.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(failure) = zc_testkit::explorer::replay_bytes(bytes) {
        panic!("{failure}");
    }
});
