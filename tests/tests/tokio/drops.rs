//! A future that is dropped at any of its awaits loses nothing.

use zc_linux::hook::{self, Action, Syscall};
use zc_testkit::data::{self, assert_same};
use zc_tokio::{AsyncStream, Relay};

use crate::kit::{self, poll_once};
use crate::relays::{Peer, talk};

const LEN: usize = 2_000_000;

/// Relays with a future that is dropped and made anew, after one poll or after a few.
async fn relays<P: Peer, Q: Peer>(
    (a_peer, mut a): (P, impl AsyncStream),
    (b_peer, mut b): (Q, impl AsyncStream),
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (up, down) = (data::bytes(seed, LEN), data::bytes(seed + 1, LEN / 3));
    let a_talks = talk(a_peer, up.clone(), random.usize(1000..100_000));
    let b_talks = talk(b_peer, down.clone(), random.usize(1000..100_000));
    let mut relay = Relay::new();
    let counts = loop {
        // Seed 0 drops the future after every poll.
        let polls = if seed == 0 { 1 } else { random.usize(1..4) };
        let mut run = std::pin::pin!(relay.run(&mut a, &mut b));
        let mut done = None;
        for _ in 0..polls {
            if let Some(outcome) = poll_once(run.as_mut()).await {
                done = Some(outcome.unwrap());
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Some(counts) = done {
            break counts;
        }
    };
    assert_eq!(counts, (up.len() as u64, down.len() as u64));
    assert_same(&b_talks.1.finish(), &up);
    assert_same(&a_talks.1.finish(), &down);
}

#[test]
fn every_pair_loses_nothing_dropped_after_every_poll_or_at_random() {
    for seed in 0..6 {
        kit::run(async { relays(kit::tcp(), kit::tcp(), seed).await });
        kit::run(async { relays(kit::tcp(), kit::unix(), seed).await });
        kit::run(async { relays(kit::unix(), kit::tcp(), seed).await });
        kit::run(async { relays(kit::unix(), kit::unix(), seed).await });
    }
}

/// The same with calls that are short, interrupted or refused.
#[test]
fn every_pair_loses_nothing_under_calls_that_misbehave() {
    for seed in 0..40 {
        kit::run(async {
            let mut random = fastrand::Rng::with_seed(seed);
            let _hook = hook::replace(move |call| {
                const EINTR: i32 = 4;
                const EINVAL: i32 = 22;
                const EMFILE: i32 = 24;
                match (call.syscall, random.u8(..)) {
                    (Syscall::Read | Syscall::Write | Syscall::Splice, 0..60) => {
                        Action::Limit(random.usize(1..5000))
                    }
                    (Syscall::Read | Syscall::Write | Syscall::Splice, 60..80) => {
                        Action::Fail(EINTR)
                    }
                    (Syscall::Splice, 80) if seed % 2 == 0 => Action::Fail(EINVAL),
                    (Syscall::Pipe, 0..100) => Action::Fail(EMFILE),
                    _ => Action::Proceed,
                }
            });
            match seed % 4 {
                0 => relays(kit::tcp(), kit::tcp(), seed).await,
                1 => relays(kit::tcp(), kit::unix(), seed).await,
                2 => relays(kit::unix(), kit::tcp(), seed).await,
                _ => relays(kit::unix(), kit::unix(), seed).await,
            }
        });
    }
}
