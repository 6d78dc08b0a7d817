//! 64 threads copy at once through the pool's pipes, with random faults.
//!
//! They do so for a few seconds, or for `ZC_CONCURRENCY_SECONDS`.

use std::time::{Duration, SystemTime};

use zc_std::pool;
use zc_testkit::fds;
use zc_testkit::soak::tally::Tally;
use zc_testkit::soak::workload::run;

#[test]
fn sixty_four_threads_with_random_faults_lose_nothing() {
    let _leaks = fds::no_leaks();
    let seconds = std::env::var("ZC_CONCURRENCY_SECONDS").ok();
    let seconds = seconds.map_or(4, |seconds| seconds.parse().expect("a number of seconds"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = now.as_secs();
    eprintln!("seed {seed}");
    let before = fds::census().len();
    let tally = run(64, Duration::from_secs(seconds), seed);
    let Tally { copies, bytes, faults, resumed, .. } = tally;
    eprintln!(
        "{seconds} s: {copies} copies, {bytes} bytes, {faults} faults, {resumed} times resumed, \
         0 bytes lost"
    );
    assert!(copies > 64 && faults > 0 && resumed > 0, "{tally:?}");
    assert_eq!(pool::in_use(), 0);
    assert!(pool::idle() <= pool::MAX_IDLE);
    assert!(fds::census().len() <= before + 2 * pool::MAX_IDLE);
}
