//! A rate limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::ends::ready_as_inner;
use crate::timer::Timer;
use crate::{Pace, ReadReady, Source, Upstream};

/// Limits how many bytes a second pass; the kernel still moves them.
///
/// They come in small portions (see [`Pace::burst`]), between which a copy waits and holds no pipe.
///
/// ```
/// # async fn f(mut client: tokio::net::TcpStream, mut server: tokio::net::TcpStream) -> std::io::Result<()> {
/// let mut client = zc_tokio::Paced::new(&mut client, 2 << 20); // 2 MiB/s
/// zc_tokio::copy(&mut client, &mut server).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Paced<S> {
    inner: S,
    pace: Pace,
    timer: Timer,
}

impl<S> Paced<S> {
    /// `bytes_per_second` of `inner`, 0 counting as 1, in bursts of what passes in 20 ms.
    pub fn new(inner: S, bytes_per_second: u64) -> Self {
        Paced::with_pace(inner, Pace::new(bytes_per_second))
    }

    /// `inner`, no faster than `pace`.
    pub fn with_pace(inner: S, pace: Pace) -> Self {
        Paced { inner, pace, timer: Timer::default() }
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
        self.pace.took(n, Instant::now().into_std());
    }
}

impl<Io, S: Source<Io>> Source<Io> for Paced<S> {
    fn upstream(&mut self) -> Upstream<'_, Io> {
        self.pace.apply(Upstream::through(&mut self.inner), Instant::now().into_std())
    }
    fn taken(&mut self, n: u64) {
        self.took(n);
    }
}

ready_as_inner! {
    ReadReady::read_ready, settle_source: [] Paced;
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let most = loop {
            match this.pace.allowance(Instant::now().into_std()) {
                Ok(most) => break usize::try_from(most).unwrap_or(usize::MAX).min(buf.remaining()),
                Err(time) => ready!(this.timer.poll(cx, time.into())),
            }
        };
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut some))?;
        let n = some.filled().len();
        buf.advance(n);
        this.took(n as u64);
        Poll::Ready(Ok(()))
    }
}
