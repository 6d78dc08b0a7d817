//! A rate limit.

use std::fmt;
use std::io::{self, Read};
use std::thread;
use std::time::Instant;

use crate::{Pace, Source, Upstream};

/// Limits how many bytes a second pass; the kernel still moves them.
///
/// They come in small portions (see [`Pace::burst`]), between which a copy sleeps and holds no pipe; within one the
/// kernel moves them as ever. A [`Transfer`](crate::Transfer) does not sleep: it says
/// [`NotBefore`](crate::driver::Next::NotBefore). If it is read by other code than a copy, it sleeps in `read`.
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use zc_std::{Paced, ReadFrom};
///
/// let (mut client, stream) = UnixStream::pair()?;
/// client.write_all(b"an upload")?;
/// drop(client);
///
/// let mut file = tempfile::tempfile()?;
/// assert_eq!(file.read_from(Paced::new(stream, 2 << 20))?, 9); // 2 MiB/s
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # A limit of your own
///
/// A source says what a step may take at most ([`Upstream::step_limit`]) and before which time there is nothing to
/// be had ([`Upstream::not_before`]). [`Pace`] does the arithmetic, and shows such a source. A limit that several
/// copies share is a `Pace` that their sources share.
pub struct Paced<S, C = fn() -> Instant> {
    inner: S,
    pace: Pace,
    clock: C,
}

impl<S> Paced<S> {
    /// `bytes_per_second` of `inner`, 0 counting as 1, in bursts of what passes in 20 ms.
    pub fn new(inner: S, bytes_per_second: u64) -> Self {
        Paced::with_pace(inner, Pace::new(bytes_per_second))
    }

    /// `inner`, no faster than `pace`.
    pub fn with_pace(inner: S, pace: Pace) -> Self {
        Paced { inner, pace, clock: Instant::now }
    }
}

impl<S, C: Fn() -> Instant> Paced<S, C> {
    /// The same by another clock, for tests.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::Instant;
    /// use zc_std::driver::Next;
    /// use zc_std::{Pace, Paced, Transfer};
    ///
    /// let now = Cell::new(Instant::now());
    /// let pace = Pace::new(1000).burst(100);
    /// let mut source = Paced::with_clock(std::fs::File::open("/dev/zero")?, pace, || now.get());
    /// let (mut transfer, mut sink) = (Transfer::default(), std::fs::File::create("/dev/null")?);
    ///
    /// assert_eq!(transfer.step(&mut source, &mut sink, u64::MAX).taken, 100);
    /// let Next::NotBefore(time) = transfer.step(&mut source, &mut sink, u64::MAX).next else { panic!() };
    /// assert_eq!((time - now.get()).as_millis(), 50);
    /// now.set(time);
    /// assert_eq!(transfer.step(&mut source, &mut sink, u64::MAX).taken, 50);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_clock(inner: S, pace: Pace, clock: C) -> Self {
        Paced { inner, pace, clock }
    }

    /// The source.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The source, mutably; what is read from it does not count.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The source, by value.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn took(&mut self, n: u64) {
        self.pace.took(n, (self.clock)());
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Paced<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("inner", &self.inner)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

impl<S: Read, C: Fn() -> Instant> Read for Paced<S, C> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = loop {
            let now = (self.clock)();
            match self.pace.allowance(now) {
                Ok(most) => {
                    break usize::try_from(most).map_or(buf.len(), |most| most.min(buf.len()));
                }
                Err(_) if buf.is_empty() => return Ok(0),
                Err(time) => thread::sleep(time.saturating_duration_since(now)),
            }
        };
        let n = self.inner.read(&mut buf[..most])?;
        self.took(n as u64);
        Ok(n)
    }
}

impl<Io, S: Source<Io>, C: Fn() -> Instant> Source<Io> for Paced<S, C> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        self.pace.apply(Upstream::through(&mut self.inner), (self.clock)())
    }
    fn taken(&mut self, n: u64) {
        self.took(n);
    }
}
