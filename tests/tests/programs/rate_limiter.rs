//! A rate that several downloads share, by a source of the program's own over `Pace`.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zc_std::driver::Next;
use zc_std::{FileAt, Pace, Source, Transfer, Upstream};
use zc_testkit::data::{self, assert_same};
use zc_testkit::{fds, files};

/// A source that takes its share of a common rate.
struct Shared<'a, S> {
    inner: S,
    pace: &'a Mutex<Pace>,
    clock: &'a dyn Fn() -> Instant,
}

impl<S> Shared<'_, S> {
    fn took(&self, n: u64) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).took(n, (self.clock)());
    }
}

impl<S: Read> Read for Shared<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.took(n as u64);
        Ok(n)
    }
}

impl<S: Source> Source for Shared<'_, S> {
    fn upstream(&mut self) -> Upstream<'_> {
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.apply(Upstream::through(&mut self.inner), (self.clock)())
    }
    fn taken(&mut self, n: u64) {
        self.took(n);
    }
}

#[test]
fn several_downloads_share_one_rate() {
    const RATE: u64 = 1 << 20;
    const EACH: u64 = 400_000;
    let _leaks = fds::no_leaks();
    let data = data::bytes(1, 3 * EACH as usize);
    let file = files::holding(&data);
    // Ahead of the engine's own clock, so that the engine never finds a time come already.
    let begun = Instant::now() + Duration::from_secs(3600);
    let now = Cell::new(begun);
    let clock = || now.get();
    let pace = Mutex::new(Pace::new(RATE));
    let mut downloads: Vec<_> = (0..3)
        .map(|number| {
            let part = FileAt::new(&file, number * EACH).unwrap().take(EACH);
            let source = Shared { inner: part, pace: &pace, clock: &clock };
            (Transfer::default(), source, files::empty(), false)
        })
        .collect();
    let mut moved = 0;
    while downloads.iter().any(|(.., done)| !done) {
        let mut next = None;
        let mut took = false;
        for (transfer, source, sink, done) in downloads.iter_mut().filter(|(.., done)| !done) {
            let step = transfer.step(source, &mut &*sink, u64::MAX);
            moved += step.delivered;
            took |= step.delivered > 0;
            match step.next {
                Next::Again => {}
                Next::NotBefore(time) => next = Some(time),
                Next::Ended => *done = true,
                other => panic!("{other:?}"),
            }
            let due = (now.get() - begun).as_nanos() as u64 * RATE / 1_000_000_000;
            // Rounding allows one byte more.
            assert!(moved <= due + RATE / 50 + 1, "{moved} of {due} together");
        }
        // The clock goes on only when no download may take anything.
        if let Some(time) = next.filter(|_| !took) {
            now.set(time);
        }
    }
    assert_eq!(moved, 3 * EACH);
    for ((.., sink, _), part) in downloads.iter().zip(data.chunks(EACH as usize)) {
        assert_same(&files::contents(sink), part);
    }
}
