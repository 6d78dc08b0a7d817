//! The stateful copy.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::engine::{self, Options, Patience, Transfer};

use crate::{CopyError, PageSharing, Report, Sink, Source};

/// Copies, with options, a report, and a memory of what is in flight.
///
/// A copy that fails leaves the bytes it had taken and could not deliver in the copier, and the next
/// call of [`copy`](Copier::copy) delivers them first. So a copy that stopped with `WouldBlock`, or
/// with a full disk that has room again, is resumed by calling it again:
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use zc_std::{Copier, Mechanism};
///
/// let (mut client, stream) = UnixStream::pair()?;
/// stream.set_nonblocking(true)?;
/// let mut file = tempfile::tempfile()?;
///
/// let mut copier = Copier::new();
/// client.write_all(b"first, ")?;
/// let stopped = copier.copy(&mut &stream, &mut file).unwrap_err();
/// assert_eq!((stopped.kind(), stopped.moved()), (std::io::ErrorKind::WouldBlock, 7));
///
/// client.write_all(b"second")?;
/// drop(client);
/// let report = copier.copy(&mut &stream, &mut file)?;
/// assert_eq!(report.moved(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In an event loop, [`CopyError::waits_for`] names the side to wait for, and
/// [`resume`](Copier::resume) goes on:
///
/// ```
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use rustix::event::{PollFd, PollFlags, poll};
/// use zc_std::{Copier, CopyError, Side};
///
/// /// Copies between two sockets in non-blocking mode.
/// fn relay(mut from: &UnixStream, mut to: &UnixStream) -> Result<u64, CopyError> {
///     let (mut copier, mut moved) = (Copier::new(), 0);
///     let mut outcome = copier.copy(&mut from, &mut to);
///     loop {
///         let error = match outcome {
///             Ok(report) => return Ok(moved + report.moved()),
///             Err(error) => error,
///         };
///         moved += error.moved();
///         let (end, events) = match error.waits_for() {
///             Some(Side::Source) => (from.as_fd(), PollFlags::IN),
///             Some(Side::Sink) => (to.as_fd(), PollFlags::OUT),
///             None => return Err(error.with_moved(moved)),
///         };
///         let _ = poll(&mut [PollFd::from_borrowed_fd(end, events)], None);
///         outcome = copier.resume(&mut from, &mut to);
///     }
/// }
/// # use std::io::{Read, Write};
/// # let ((mut client, from), (to, mut server)) = (UnixStream::pair()?, UnixStream::pair()?);
/// # for socket in [&from, &to] { socket.set_nonblocking(true)?; }
/// # let sent = vec![7; 3_000_000];
/// # std::thread::scope(|scope| {
/// #     scope.spawn(|| { client.write_all(&sent).unwrap(); drop(client); });
/// #     let reader = scope.spawn(|| { let mut got = Vec::new(); server.read_to_end(&mut got).unwrap(); got });
/// #     assert_eq!(relay(&from, &to).unwrap(), 3_000_000);
/// #     drop(to);
/// #     assert!(reader.join().unwrap() == sent);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// One call moves bytes until it has to wait, which from a fast sender may be long. An event loop with other
/// things to do takes a [`Transfer`] instead, whose steps have a budget. In a tokio program neither is right:
/// its sockets are edge-triggered, and a loop around this that awaits `readable()` without telling tokio
/// what the call answered spins. Take the crate `zc-tokio` there.
///
/// Idle, with nothing in flight, a copier holds neither a pipe nor memory: both come from pools that
/// all copies share.
#[derive(Debug, Default)]
pub struct Copier {
    transfer: Transfer,
    patience: Patience,
}

impl Copier {
    /// A copier with the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copier with these options, some of which have no method here.
    ///
    /// ```
    /// use zc_std::{Copier, Options};
    ///
    /// let mut options = Options::default();
    /// options.discard = false;
    /// # let (mut source, mut sink) = (&b"abc"[..], std::io::sink());
    /// assert_eq!(Copier::with_options(options).copy(&mut source, &mut sink)?.moved(), 3);
    /// # Ok::<(), zc_std::CopyError>(())
    /// ```
    pub fn with_options(options: Options) -> Self {
        Copier { transfer: Transfer::new(options), ..Copier::default() }
    }

    /// A copier with `residue` in flight, to be delivered before anything else: resumes where a plain
    /// copy failed.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use zc_std::{Copier, CopyError};
    ///
    /// let (mut client, stream) = UnixStream::pair()?;
    /// client.write_all(b"all of it")?;
    /// drop(client);
    ///
    /// let mut full = std::fs::File::options().write(true).open("/dev/full")?;
    /// let error = zc_std::copy(&mut &stream, &mut full).unwrap_err();
    /// let failed = error.downcast::<CopyError>().expect("a copy's error carries one");
    /// assert_eq!(failed.moved(), 0);
    ///
    /// let mut elsewhere = Vec::new();
    /// Copier::with_residue(failed.into_residue()).copy(&mut &stream, &mut elsewhere)?;
    /// assert_eq!(elsewhere, b"all of it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_residue(residue: Vec<u8>) -> Self {
        Copier { transfer: Transfer::with_residue(residue), ..Copier::default() }
    }

    /// How large the pipes to splice through should be, in bytes; by default 1 MiB.
    ///
    /// The kernel rounds it up to a power of two pages. Any value is accepted. If the kernel does not
    /// grant it, the copy uses the size it gets, or read/write. (An ordinary user is limited by
    /// /proc/sys/fs/pipe-max-size and pipe-user-pages-soft, see pipe(7).) If you ask for less than 64
    /// KiB, pipes as small as that are used.
    #[must_use]
    pub fn pipe_size(mut self, bytes: usize) -> Self {
        self.options().pipe_size = bytes;
        self
    }

    /// Whether the kernel may lend a file's pages to a socket or pipe instead of copying them.
    ///
    /// The default, [`PageSharing::Sockets`], lends pages to sockets and copies into pipes. With
    /// `Never`, the file may be changed as soon as the copy returns.
    #[must_use]
    pub fn page_sharing(mut self, sharing: PageSharing) -> Self {
        self.options().page_sharing = sharing;
        self
    }

    /// Whether zc may choose read/write where it is known to be cheaper, by the kinds of the two ends
    /// and the size of the source's pieces. `true` by default.
    ///
    /// With `false` a copy uses the first mechanism of the [table](crate#what-moves-what) from the
    /// first byte on, even where it costs more. That spares the processor's caches, for example,
    /// and helps tests that want to see a certain call.
    #[must_use]
    pub fn adaptive(mut self, adaptive: bool) -> Self {
        self.options().adaptive = adaptive;
        self
    }

    /// Whether a hole of a file becomes a hole of the file it is copied into. Off by default; see
    /// [`Options::keep_holes`] for why, and for where it makes no difference.
    ///
    /// A hole counts as the bytes that a read of it would yield: in limits, offsets and callbacks.
    ///
    /// ```
    /// use std::os::unix::fs::{FileExt, MetadataExt};
    /// use zc_std::Copier;
    ///
    /// let disk = tempfile::tempfile()?;
    /// disk.write_all_at(b"the end", 1 << 30)?;
    ///
    /// let copy = tempfile::tempfile()?;
    /// let report = Copier::new().keep_holes(true).copy(&mut &disk, &mut &copy)?;
    /// assert_eq!(report.moved(), (1 << 30) + 7);
    /// assert_eq!((report.holes(), copy.metadata()?.blocks() < 1000), (1 << 30, true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep_holes(mut self, keep: bool) -> Self {
        self.options().keep_holes = keep;
        self
    }

    /// Lets bytes of a TCP source wait up to `max_delay` for more to come, so that the small writes
    /// of a chatty sender are moved together. Off by default.
    ///
    /// For senders that write pieces of up to a few KiB it saves most of the receiver's CPU time. It also lets
    /// a bulk sender's bytes wait for a [handful](Options::handfuls) on their way to sockets, as they do on
    /// their way to files. It never waits for bytes beyond the source's limits, past the end of input, for a sender
    /// that fills the queue by itself, or for longer than a [deadline](Copier::deadline) or a
    /// [minimum rate](Copier::min_rate) lets it. It works by SO_RCVLOWAT (socket(7)), which is set for the length of one
    /// poll(2) at a time and set back. The kernel may enlarge the socket's receive buffer to fit, and leaves it so.
    /// Sources other than TCP sockets in blocking mode are not affected. `Duration::ZERO` polls without
    /// waiting; a delay too long for the clock waits without limit.
    #[must_use]
    pub fn coalesce(mut self, max_delay: Duration) -> Self {
        self.options().coalesce = Some(max_delay);
        self
    }

    /// When to give up: the copy fails with `TimedOut` once this time has come, or with the next call that
    /// returns after it. Never, by default.
    ///
    /// With a deadline or a [minimum rate](Copier::min_rate) a copy waits in poll(2) until the deadline at most, also
    /// on descriptors in non-blocking mode. It stops with `WouldBlock` only if a type's own `read`, `write` or
    /// `flush` says so, and the copy knows of no descriptor to wait by.
    ///
    /// Two calls may outlast the deadline. A write to a sink in blocking mode waits in the call: put a socket in
    /// non-blocking mode, or set its [write timeout](std::net::TcpStream::set_write_timeout). So does the `read` or
    /// `write` of a type of yours.
    ///
    /// What was moved until then is counted by the error, and what is in flight stays here, as after any error:
    ///
    /// ```
    /// use std::io::{ErrorKind, Write};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::{Duration, Instant};
    /// use zc_std::Copier;
    ///
    /// let (mut client, mut stream) = UnixStream::pair()?;
    /// client.write_all(b"half an upl")?; // and then it stays there, and says no more
    ///
    /// let mut copier = Copier::new().deadline(Instant::now() + Duration::from_millis(50));
    /// let error = copier.copy(&mut stream, &mut tempfile::tempfile()?).unwrap_err();
    /// assert_eq!((error.kind(), error.moved()), (ErrorKind::TimedOut, 11));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn deadline(mut self, time: Instant) -> Self {
        self.patience.deadline = Some(time);
        self
    }

    /// Fails with `TimedOut` once the source has yielded fewer than `bytes` in a `time` spent waiting for it.
    /// Off by default. It is against clients that hold a connection open with a byte now and then
    /// (slowloris).
    ///
    /// Only waiting for the source counts, so that no client is to blame for a slow disk or for a
    /// [rate limit](crate::Paced). It says nothing about sources that do not wait: files, and types of yours.
    /// How waiting is done changes as with a [deadline](Copier::deadline).
    #[must_use]
    pub fn min_rate(mut self, bytes: u64, time: Duration) -> Self {
        self.patience.min_rate = Some((bytes, time));
        self
    }

    /// Copies all of `reader` into `writer`, after what is in flight from an earlier copy.
    ///
    /// Blocks as the two ends do.
    ///
    /// # Errors
    ///
    /// The first error that another mechanism could not avoid. Bytes taken and not delivered stay
    /// here ([`in_flight`](Copier::in_flight)); the error's own residue is empty.
    pub fn copy<R, W>(&mut self, reader: &mut R, writer: &mut W) -> Result<Report, CopyError>
    where
        R: Read + Source + ?Sized,
        W: Write + Sink + ?Sized,
    {
        self.transfer.rebind();
        self.drive(reader, writer)
    }

    /// Continues the last copy, which stopped with an error, between the same two ends. What the copier has
    /// found out about them still holds, and so does the place in a chain of sources. The report and the
    /// counts are of this call alone.
    ///
    /// Blocks as the two ends do. With other ends than those of the last call, use [`copy`](Copier::copy).
    ///
    /// # Errors
    ///
    /// As for [`copy`](Copier::copy).
    pub fn resume<R, W>(&mut self, reader: &mut R, writer: &mut W) -> Result<Report, CopyError>
    where
        R: Read + Source + ?Sized,
        W: Write + Sink + ?Sized,
    {
        self.transfer.resume();
        self.drive(reader, writer)
    }

    fn drive<R, W>(&mut self, reader: &mut R, writer: &mut W) -> Result<Report, CopyError>
    where
        R: Read + Source + ?Sized,
        W: Write + Sink + ?Sized,
    {
        // A reference to an unsized source or sink is a sized one.
        let (mut reader, mut writer) = (reader, writer);
        engine::drive_within(&self.patience, &mut self.transfer, &mut reader, &mut writer)?;
        Ok(self.transfer.report().clone())
    }

    /// How many bytes are taken and not delivered: those the next copy begins with.
    pub fn in_flight(&self) -> usize {
        self.transfer.in_flight()
    }

    /// Takes the bytes in flight out, in order, so that no copy will deliver them.
    ///
    /// If the pipe that holds them cannot be read, which only a `hook` can cause, the rest stays in
    /// flight.
    pub fn take_residue(&mut self) -> Vec<u8> {
        self.transfer.take_residue()
    }

    /// What the last copy did, as far as it got: the report that a failed copy did not return. All zeros
    /// before the first copy.
    pub fn report(&self) -> &Report {
        self.transfer.report()
    }

    fn options(&mut self) -> &mut Options {
        self.transfer.options_mut()
    }
}
