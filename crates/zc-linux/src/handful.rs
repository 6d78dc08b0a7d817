//! Waiting until a bulk sender has sent a handful.
//!
//! A receiver that takes bytes as soon as some are there wakes up for every segment or two, and wakes the sender's
//! core about as often. One that sleeps until a handful has come spares both sides a fifth to a half of their time.
//! SO_RCVLOWAT makes poll(2) on a TCP socket sleep until a number of bytes is there, or the end, an error or urgent
//! data.
//!
//! The cost is bounded in every way. A copy waits only for a source that has been yielding rich pieces, and for 0.3
//! ms at the most, so that slow senders are left to plain reads. If less comes than the handful, a plain step goes
//! next, so that no byte waits twice. The handful adapts: it grows while it comes in time, and is halved when it
//! does not.
//!
//! The mark is set for the length of one poll and taken back, so no way out of a copy leaves it changed. A mark that
//! is not the kernel's default was set by the socket's owner, or by another waiter, and is left alone.
//!
//! The kernel enlarges a receive buffer that has no room for the mark, and then limits the window to it. And a
//! handful of the whole window would stop the sender. So the handful is a quarter of the buffer at the most, and
//! the buffer stays what it is.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use zc_core::driver::{Bottom, Options, Reach, Step, walk_sink, walk_source};
use zc_core::{Sink, Source};

use crate::clock;
use crate::patience::Watch;
use crate::sys;
use crate::transfer::Transfer;

/// The longest that bytes wait for others. In that time a fast sender sends the largest handful. (With a millisecond,
/// senders that pause for a tenth of that passed for fast ones. Their last bytes took five times as long, and nothing
/// was gained.)
const LONGEST: Duration = Duration::from_micros(300);

/// A handful that comes within this time may be larger the next time. (One that takes longer is not made
/// smaller. That took half of the gain from bulk senders, and more calls for those that pause for 0.1 ms.)
const EAGER: Duration = Duration::from_micros(125);

/// A step that brings at least this many bytes is rich, and counts for so many. Others count for what they bring.
const RICH: u64 = 16 * 1024;

/// How much a source has to have brought, so counted, to prove itself a bulk sender: by rich steps in a row, or by
/// others.
const PROOF: u64 = 8 * RICH;

/// How much a step cancels that brings the largest handful without a wait: there is nothing to wait for.
const UNASKED: u64 = 2 * RICH;

/// Rich steps cancel what others have brought, and so much more at the most. Where a receiver is behind, small pieces
/// leave their sender together; one that sleeps lets each leave by itself.
const TOGETHER: i64 = 1 << 20;

/// A source that gives nothing for so long pauses, and has to prove itself again: nothing may follow the last bytes
/// of its next burst.
const PAUSE: Duration = Duration::from_millis(1);

/// After waits in vain a proof takes this many times as much, and at the most `MOST_PROOF`.
const HARDER: u64 = 4;
const MOST_PROOF: u64 = 2048 * RICH;

/// After how many handfuls a source has to prove itself again.
const HOLDS_FOR: u16 = 256;

/// After how many handfuls in time a proof takes less again.
const REGAINS_AFTER: u16 = 64;

/// How many handfuls in time make up for a late one: a sender of bursts with pauses between is late with the last of
/// each.
const LATE: u16 = 16;

/// How late a source may be at first, and at the most: once. After waits in vain it may not be late at all.
const CREDIT: u16 = LATE;

/// The smallest handful. A source that is too slow to bring it in the longest wait is not waited for.
const LEAST: u64 = 8 * 1024;

/// The first one.
const FIRST: u64 = 128 * 1024;

/// The largest one.
const MOST: u64 = 512 * 1024;

/// After how many handfuls in a row that came in time they may be larger; four times as many after each late
/// one.
const GROWS_AFTER: u16 = 4;

/// The kernel's default mark.
const DEFAULT_MARK: u32 = 1;

/// The handfuls of one copy.
#[derive(Debug)]
pub(crate) struct Handfuls {
    longest: Duration,
    /// The descriptor that bytes come from now; each has a history of its own.
    at: Option<RawFd>,
    /// Since when it is proving itself, by how many steps, what they brought, how much of that counts by rich steps and
    /// by others, and how much a proof takes.
    since: Option<Instant>,
    steps: u32,
    brought: u64,
    rich: u64,
    small: i64,
    proof: u64,
    /// How many bytes to wait for next, the fewest that are worth a wait, and the wait before the next step.
    next: u64,
    least: u64,
    /// What a plain step has brought.
    usual: u64,
    waited_for: Option<Wait>,
    /// Less came than the wait was for: the next step takes what is there without a wait.
    pauses: bool,
    /// When the last bytes came.
    last: Option<Instant>,
    /// How many handfuls in a row have come soon.
    in_time: u16,
    grows_after: u16,
    /// How late the source may be, see [`LATE`].
    credit: u16,
    /// How many handfuls there have been since the proof.
    count: u16,
    /// How to wait for the socket; `None` until that matters.
    manner: Option<Manner>,
}

/// A wait that is over.
#[derive(Clone, Copy, Debug)]
struct Wait {
    bytes: u64,
    /// Whether the socket was ready before the time was over: for all of the bytes, its end, or an error.
    came: bool,
    /// Whether within [`EAGER`].
    eager: bool,
}

/// How to wait for a socket.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Not at all.
    Never,
    /// For this long at the most.
    For(Duration),
}

impl Handfuls {
    /// `None`: the options forbid it.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let longest = options.coalesce.map_or(LONGEST, |delay| delay.min(LONGEST));
        let may = options.handfuls && options.adaptive && !longest.is_zero();
        may.then(|| Handfuls::within(longest))
    }

    fn within(longest: Duration) -> Self {
        Handfuls {
            longest,
            at: None,
            since: None,
            steps: 0,
            brought: 0,
            rich: 0,
            small: 0,
            proof: PROOF,
            next: FIRST,
            least: LEAST,
            usual: 0,
            waited_for: None,
            pauses: false,
            last: None,
            in_time: 0,
            grows_after: GROWS_AFTER,
            credit: CREDIT,
            count: 0,
            manner: None,
        }
    }

    /// A step was made, after [`wait`](Handfuls::wait) had looked.
    pub(crate) fn saw(&mut self, step: &Step, transfer: &Transfer) {
        let at = transfer.bulk_source();
        if at != self.at {
            *self = Handfuls { at, ..Handfuls::within(self.longest) };
        }
        if at.is_none() || step.taken == 0 {
            return;
        }
        let now = clock::now();
        let (waited_for, has_paused) = (self.waited_for.take(), self.has_paused(now));
        match waited_for {
            Some(wait) if wait.came && step.taken >= wait.bytes => self.came_in_time(wait.eager),
            Some(_) if has_paused => self.stop(),
            None if has_paused => {
                self.prove_again();
                self.proves(step.taken, now);
            }
            None if self.is_proved() => self.pauses = false,
            None => self.proves(step.taken, now),
            Some(_) => self.was_late(step.taken),
        }
    }

    /// Bytes came `now`: whether there were none for a while before.
    fn has_paused(&mut self, now: Instant) -> bool {
        self.last.replace(now).is_some_and(|last| now.duration_since(last) > PAUSE)
    }

    fn is_proved(&self) -> bool {
        self.rich.max(u64::try_from(self.small).unwrap_or(0)) >= self.proof
    }

    /// One more plain step. What plain steps bring by themselves, or little more, is not worth a wait; nor is what
    /// takes longer than the longest.
    fn proves(&mut self, taken: u64, now: Instant) {
        if taken < RICH {
            (self.rich, self.small) = (0, self.small.saturating_add_unsigned(taken));
        } else {
            self.small = self.small.saturating_sub_unsigned(taken).max(-TOGETHER);
            self.rich = match taken < MOST {
                true => self.rich + RICH,
                false => self.rich.saturating_sub(UNASKED),
            };
        }
        // What the first one brings may have come long before.
        let Some(since) = self.since else {
            self.since = Some(now);
            return;
        };
        (self.steps, self.brought) = (self.steps + 1, self.brought + taken);
        if self.is_proved() {
            let usual = self.brought / u64::from(self.steps);
            self.usual = usual;
            let in_a_wait = in_proportion(self.brought, self.longest, now.duration_since(since));
            self.least = LEAST.max(usual + usual / 2);
            if in_a_wait < self.least {
                return self.prove_again();
            }
            let soon = in_a_wait / 4 * 3;
            self.next = self.next.max(2 * usual).min(soon).max(self.least).min(MOST);
        }
    }

    fn came_in_time(&mut self, eager: bool) {
        self.count += 1;
        self.credit = (self.credit + 1).min(CREDIT);
        if self.count.is_multiple_of(REGAINS_AFTER) {
            self.proof = (self.proof / HARDER).max(PROOF);
        }
        if self.count == HOLDS_FOR {
            return self.prove_again();
        }
        self.in_time = if eager { self.in_time + 1 } else { 0 };
        if self.in_time == self.grows_after {
            (self.in_time, self.next) = (0, (2 * self.next).min(MOST));
        }
    }

    fn was_late(&mut self, taken: u64) {
        if self.credit < LATE {
            return self.stop();
        }
        self.credit -= LATE;
        if taken < 2 * self.usual {
            return self.prove_again();
        }
        (self.next, self.in_time, self.pauses) = ((self.next / 2).max(self.least), 0, true);
        self.grows_after = (4 * self.grows_after).min(HOLDS_FOR);
    }

    /// No more waits until the source has proved itself anew.
    fn prove_again(&mut self) {
        (self.since, self.steps, self.brought) = (None, 0, 0);
        (self.rich, self.small, self.count, self.pauses) = (0, self.small.min(0), 0, false);
    }

    /// The same, by more than before.
    fn stop(&mut self) {
        *self = Handfuls {
            at: self.at,
            manner: self.manner,
            proof: (HARDER * self.proof).min(MOST_PROOF),
            credit: 0,
            small: self.small.min(0),
            ..Handfuls::within(self.longest)
        };
    }

    /// Waits until a handful has come if the source is a bulk sender, or as many bytes as the limits let through if
    /// those are fewer. Nothing is in flight. `true`: it has waited, so the driver need not.
    pub(crate) fn wait(
        &mut self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        transfer: &mut Transfer,
        watch: Option<&mut Watch>,
    ) -> bool {
        if !self.is_proved() || self.pauses || transfer.bulk_source() != self.at {
            return false;
        }
        let mut fits = 0;
        walk_sink(sink, &Cell::new(0), &mut |_, manner| fits = manner.limit);
        let link = transfer.link();
        let mut waited = Duration::ZERO;
        let until = watch.as_ref().and_then(|watch| watch.end());
        // The step reports the error of a layer.
        let _ = walk_source(source, link, &mut |reach| {
            let Reach { bottom, limit, step_limit, not_before, .. } = reach;
            let most = limit.min(step_limit).min(fits);
            if let Bottom::Fd(end) = bottom
                && end.offset.is_none()
                && Some(end.fd.fd().as_raw_fd()) == self.at
                && most >= LEAST
            {
                let begun = Instant::now();
                if not_before.is_none_or(|time| time <= begun) {
                    transfer.let_go();
                    self.wait_at(end.fd.fd(), most, begun, until);
                    waited = begun.elapsed();
                }
            }
            0
        });
        if let Some(watch) = watch {
            watch.waited(waited);
        }
        self.waited_for.is_some()
    }

    fn wait_at(
        &mut self,
        from: BorrowedFd<'_>,
        limit: u64,
        begun: Instant,
        until: Option<Instant>,
    ) {
        let longest = self.longest;
        let manner = *self.manner.get_or_insert_with(|| Manner::of(from, longest));
        let Manner::For(longest) = manner else { return self.stop() };
        // It grows while the copy goes on.
        if self.in_time == 0 {
            let buffer = sys::receive_buffer(from).unwrap_or(0);
            self.next = self.next.min(buffer / 4);
            if self.next < self.least {
                self.next = FIRST;
                return self.prove_again();
            }
        }
        if sys::low_water(from) != Ok(DEFAULT_MARK) {
            return self.stop();
        }
        let bytes = self.next.min(limit);
        let Some(mark) = Mark::set(from, u32::try_from(bytes).expect("a handful fits")) else {
            return self.stop();
        };
        let end = begun + longest;
        let end = until.map_or(end, |until| until.min(end));
        // Urgent data ends the wait, too, since splice goes no further. The step reports errors.
        let asleep = clock::now();
        let events = PollFlags::IN | PollFlags::RDHUP | PollFlags::PRI;
        let came = sys::wait_for(from, events, Some(end)) == Ok(true);
        let slept = clock::now().duration_since(asleep);
        self.waited_for = Some(Wait { bytes, came, eager: slept <= EAGER });
        if !mark.take_back() {
            self.manner = Some(Manner::Never);
        }
    }
}

/// What comes in `wait`, of a source that brought so much in `took`.
fn in_proportion(brought: u64, wait: Duration, took: Duration) -> u64 {
    let of = u128::from(brought) * wait.as_nanos();
    u64::try_from(of.checked_div(took.as_nanos()).unwrap_or(of)).unwrap_or(u64::MAX)
}

impl Manner {
    /// It waits for sockets in blocking mode that the kernel speaks no other protocol on. The owner's timeout
    /// holds for the read that follows, so the wait here is no longer than that.
    fn of(from: BorrowedFd<'_>, longest: Duration) -> Manner {
        let blocks = sys::flags(from).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK));
        match sys::receive_timeout(from) {
            Ok(timeout) if blocks && sys::has_protocol_above(from) == Ok(false) => {
                Manner::For(timeout.map_or(longest, |timeout| timeout.min(longest)))
            }
            _ => Manner::Never,
        }
    }
}

/// A mark that is set, until it is dropped: a hook may panic in between.
struct Mark<'a> {
    fd: BorrowedFd<'a>,
}

impl<'a> Mark<'a> {
    fn set(fd: BorrowedFd<'a>, bytes: u32) -> Option<Self> {
        sys::set_low_water(fd, bytes).ok().map(|()| Mark { fd })
    }

    /// `false`: it stays, which only a hook can bring about.
    fn take_back(self) -> bool {
        let fd = self.fd;
        std::mem::forget(self);
        take_back(fd)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        take_back(self.fd);
    }
}

fn take_back(fd: BorrowedFd<'_>) -> bool {
    sys::insist(|| sys::set_low_water(fd, DEFAULT_MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that has proved itself by steps of this many bytes, all at once.
    fn proved(step: u64) -> Handfuls {
        proved_by(step, Duration::ZERO)
    }

    /// The same with so much time between the steps.
    fn proved_by(step: u64, apart: Duration) -> Handfuls {
        let (mut handfuls, mut now) = (Handfuls::within(LONGEST), Instant::now());
        for _ in 0..PROOF / step.min(RICH) {
            handfuls.proves(step, now);
            now += apart;
        }
        handfuls
    }

    fn comes_in_time(handfuls: &mut Handfuls, times: u16) {
        (0..times).for_each(|_| handfuls.came_in_time(true));
    }

    #[test]
    fn there_is_more_to_wait_for_while_it_comes_soon() {
        let mut handfuls = proved(RICH);
        assert_eq!(handfuls.next, FIRST);
        comes_in_time(&mut handfuls, GROWS_AFTER);
        assert_eq!(handfuls.next, 2 * FIRST);
        comes_in_time(&mut handfuls, 2 * GROWS_AFTER);
        assert_eq!(handfuls.next, MOST);
    }

    #[test]
    fn there_is_no_more_to_wait_for_where_it_takes_a_while() {
        let mut handfuls = proved(RICH);
        for _ in 0..10 {
            comes_in_time(&mut handfuls, GROWS_AFTER - 1);
            handfuls.came_in_time(false);
        }
        assert_eq!((handfuls.next, handfuls.is_proved()), (FIRST, true));
    }

    #[test]
    fn small_pieces_prove_a_sender_too_and_it_is_asked_for_what_comes_in_time() {
        // 64 KiB in a wait.
        let handfuls = proved_by(1024, LONGEST / 64);
        assert!(handfuls.is_proved());
        assert!((46 * 1024..=50 * 1024).contains(&handfuls.next), "{}", handfuls.next);
        // As much as is worth a wait, in no less time than that.
        assert_eq!(proved_by(1024, LONGEST / 9).next, LEAST);
    }

    #[test]
    fn who_is_slow_proves_nothing() {
        assert!(!proved_by(1024, LONGEST / 7).is_proved());
        // No more than plain steps bring.
        assert!(proved_by(64 * 1024, LONGEST / 2).is_proved());
        assert!(!proved_by(64 * 1024, LONGEST).is_proved());
    }

    #[test]
    fn nothing_for_a_millisecond_is_a_pause() {
        let (mut handfuls, mut now) = (Handfuls::within(LONGEST), Instant::now());
        assert!(!handfuls.has_paused(now));
        now += PAUSE;
        assert!(!handfuls.has_paused(now));
        now += PAUSE + Duration::from_nanos(1);
        assert!(handfuls.has_paused(now));
        assert!(!handfuls.has_paused(now));
    }

    #[test]
    fn a_handful_is_more_than_a_plain_step_brings() {
        let mut handfuls = proved(MOST / 4);
        assert_eq!(handfuls.next, MOST / 2);
        // Half of it is what comes without a wait.
        handfuls.was_late(MOST / 4);
        assert!(!handfuls.is_proved());
    }

    #[test]
    fn who_is_late_once_is_waited_for_and_who_is_late_again_is_not() {
        const SOME: u64 = 2 * RICH;
        let mut handfuls = proved(RICH);
        handfuls.was_late(SOME);
        assert_eq!((handfuls.is_proved(), handfuls.next), (true, FIRST / 2));
        comes_in_time(&mut handfuls, LATE);
        handfuls.was_late(SOME);
        assert!(handfuls.is_proved());
        comes_in_time(&mut handfuls, LATE - 1);
        handfuls.was_late(SOME);
        assert!(!handfuls.is_proved());
    }

    #[test]
    fn what_a_plain_step_brings_is_no_handful() {
        let mut handfuls = proved(RICH);
        handfuls.was_late(2 * RICH - 1);
        assert_eq!((handfuls.is_proved(), handfuls.proof), (false, PROOF));
    }

    #[test]
    fn proof_is_harder_after_waits_in_vain_and_easier_after_others() {
        let mut handfuls = proved(RICH);
        handfuls.stop();
        assert_eq!(handfuls.proof, HARDER * PROOF);
        for _ in 0..100 {
            handfuls.stop();
        }
        assert_eq!(handfuls.proof, MOST_PROOF);
        comes_in_time(&mut handfuls, REGAINS_AFTER);
        assert_eq!(handfuls.proof, MOST_PROOF / HARDER);
    }

    /// Two handfuls of each burst come in time, and the third is late, with as much as is left of the burst.
    #[test]
    fn bursts_with_pauses_between_are_hardly_waited_for() {
        let (mut handfuls, mut waits) = (Handfuls::within(LONGEST), 0);
        let now = Instant::now();
        for step in 0..10_000 {
            if !handfuls.is_proved() {
                handfuls.proves(64 * 1024, now);
                continue;
            }
            waits += 1;
            match step % 3 {
                0 => handfuls.was_late(64 * 1024),
                _ => comes_in_time(&mut handfuls, 1),
            }
        }
        assert!((1..100).contains(&waits), "{waits} waits");
    }
}
