//! How fast bytes may pass.

use std::time::{Duration, Instant};

use crate::Upstream;

/// How many bursts a second there are by default.
const BURSTS_PER_SECOND: u64 = 50;

/// No smaller burst by default, unless it would last for more than a second: each costs two calls and a wake-up.
const LEAST_BURST: u64 = 4096;

/// Farther in the future than any clock goes.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A rate, and what has passed of it: a token bucket, for layers that limit how fast bytes pass.
///
/// It knows no clock: the time is handed in. A layer asks it in [`upstream`](crate::Source::upstream), and tells it
/// in [`taken`](crate::Source::taken). The kernel still moves the bytes, a burst at a time:
///
/// ```
/// use std::io::{self, Read};
/// use std::time::Instant;
/// use zc_core::{Pace, Source, Upstream};
///
/// struct Slow<S> {
///     inner: S,
///     pace: Pace,
/// }
///
/// impl<Io, S: Source<Io>> Source<Io> for Slow<S> {
///     fn upstream(&mut self) -> Upstream<'_, Io> {
///         self.pace.apply(Upstream::through(&mut self.inner), Instant::now())
///     }
///     fn taken(&mut self, n: u64) {
///         self.pace.took(n, Instant::now());
///     }
/// }
///
/// // Used for as long as `upstream` bounds every step; a `read` by others than a copy sees no limit.
/// impl<S: Read> Read for Slow<S> {
///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         let n = self.inner.read(buf)?;
///         self.pace.took(n as u64, Instant::now());
///         Ok(n)
///     }
/// }
/// ```
///
/// `zc_std::Paced` and `zc_tokio::Paced` are such layers, whose `read` waits, too. Several copies share one rate by
/// sharing a `Pace`, behind a lock that is held for no longer than these calls.
///
/// In any stretch of time no more passes than the rate allows for it and one [burst](Pace::burst).
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes a second, at least 1.
    rate: u64,
    burst: u64,
    /// When all that was taken would have passed at this rate.
    paid: Option<Instant>,
}

impl Pace {
    /// `bytes_per_second`; 0 counts as 1. Its burst is what passes in 20 ms, but at least 4 KiB, or what passes in a
    /// second if that is less.
    pub fn new(bytes_per_second: u64) -> Self {
        let rate = bytes_per_second.max(1);
        let burst = (rate / BURSTS_PER_SECOND).max(LEAST_BURST.min(rate));
        Pace { rate, burst, paid: None }
    }

    /// How many bytes may pass at once after a pause, at least 1.
    ///
    /// A stream that keeps up moves in portions of half a burst. Larger portions take fewer calls; below about
    /// 32 KiB splicing does not pay.
    #[must_use]
    pub fn burst(mut self, bytes: u64) -> Self {
        self.burst = bytes.max(1);
        self
    }

    /// How many bytes may pass now.
    ///
    /// # Errors
    ///
    /// None, before this time.
    ///
    /// ```
    /// use std::time::Instant;
    /// use zc_core::Pace;
    ///
    /// let (mut pace, now) = (Pace::new(1000).burst(100), Instant::now());
    /// assert_eq!(pace.allowance(now), Ok(100));
    /// pace.took(80, now);
    /// let time = pace.allowance(now).unwrap_err();
    /// assert_eq!((time - now).as_millis(), 30);
    /// assert_eq!(pace.allowance(time), Ok(50));
    /// ```
    pub fn allowance(&self, now: Instant) -> Result<u64, Instant> {
        let Some(paid) = self.paid else { return Ok(self.burst) };
        let owed = self.bytes_in(paid.saturating_duration_since(now));
        // Half a burst is worth a call.
        let at_most_owed = self.burst / 2;
        if owed > at_most_owed {
            let early = self.time_for(at_most_owed);
            return Err(paid.checked_sub(early).unwrap_or(paid));
        }
        Ok(self.burst - owed)
    }

    /// `n` bytes have passed. They may be more than were allowed, as a message is taken whole: the time makes up
    /// for it.
    pub fn took(&mut self, n: u64, now: Instant) {
        let from = self.paid.map_or(now, |paid| paid.max(now));
        // A nanosecond too much, or a stream of single bytes would cost nothing.
        let time = self.time_for(n) + Duration::from_nanos(u64::from(n > 0));
        self.paid = from.checked_add(time).or(self.paid);
    }

    /// `upstream`, no faster than this.
    pub fn apply<'a, Io>(&self, upstream: Upstream<'a, Io>, now: Instant) -> Upstream<'a, Io> {
        match self.allowance(now) {
            Ok(most) => upstream.step_limit(most),
            // By the time that the engine looks at its clock, it may have come.
            Err(time) => upstream.not_before(time).step_limit(self.burst - self.burst / 2),
        }
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        u64::try_from(nanos).map_or(FAR, Duration::from_nanos).min(FAR)
    }

    fn bytes_in(&self, time: Duration) -> u64 {
        let bytes = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all it may and waits as told, for `steps` steps, by a clock of its own.
    fn run(mut pace: Pace, steps: u32) -> (u64, Duration, u64) {
        let begun = Instant::now();
        let (mut now, mut all, mut largest) = (begun, 0, 0);
        for _ in 0..steps {
            match pace.allowance(now) {
                Ok(n) => {
                    pace.took(n, now);
                    (all, largest) = (all + n, largest.max(n));
                }
                Err(time) => {
                    assert!(time > now, "or a driver would spin");
                    now = time;
                }
            }
        }
        (all, now - begun, largest)
    }

    #[test]
    fn a_pace_allows_its_rate_and_one_burst() {
        for rate in [1, 7, 1000, 2 << 20, 10 << 30, 1 << 50] {
            for burst in [None, Some(1), Some(3), Some(100_000)] {
                let pace = burst.map_or(Pace::new(rate), |burst| Pace::new(rate).burst(burst));
                let most = pace.burst;
                let steps = if cfg!(miri) { 20 } else { 1000 };
                let (all, time, largest) = run(pace, steps);
                assert!(largest <= most, "{rate} {burst:?}");
                let due = time.as_nanos() * u128::from(rate) / 1_000_000_000;
                assert!(u128::from(all) <= due + u128::from(most), "{rate} {burst:?} {all}");
                // To the nanosecond that each step is rounded up by.
                let lost = u128::from(steps) * u128::from(rate) / 1_000_000_000 + 1;
                assert!(u128::from(all) + lost >= due, "{rate} {burst:?}: {all} of {due}");
            }
        }
    }

    #[test]
    fn two_mebibytes_a_second_come_in_small_portions() {
        let (_, _, largest) = run(Pace::new(2 << 20), 100);
        assert!(largest <= 64 * 1024, "{largest}");
    }

    #[test]
    fn a_pause_saves_up_no_more_than_a_burst() {
        let (mut pace, now) = (Pace::new(1000).burst(100), Instant::now());
        pace.took(100, now);
        assert_eq!(pace.allowance(now + Duration::from_secs(3600)), Ok(100));
    }

    #[test]
    fn what_was_taken_too_much_is_made_up_for() {
        let (mut pace, now) = (Pace::new(1000).burst(100), Instant::now());
        pace.took(5000, now);
        let time = pace.allowance(now).unwrap_err();
        assert_eq!((time - now).as_millis(), 4950);
        pace.took(u64::MAX, now);
        assert!(pace.allowance(now).is_err());
    }
}
