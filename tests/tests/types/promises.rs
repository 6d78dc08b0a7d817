//! What the types promise, checked at compile time.

use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, PipeReader, PipeWriter, Read, Take, Write};
use std::mem::size_of;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{RefUnwindSafe, UnwindSafe};

use static_assertions::{
    assert_impl_all, assert_not_impl_any, assert_obj_safe, const_assert, const_assert_eq,
};
use zc_core::Custom;
use zc_core::driver::{Bottom, Buffer, Link, Next, Reach, Step, StepError};
use zc_linux::{Options, Transfer};
use zc_std::conformance::{Failure, Property};
use zc_std::hook::{Action, Call, Guard, Record, Recorder, Syscall};
use zc_std::{
    AsRawPollFd, Copier, CopyError, Downstream, Fd, IsStream, Kernel, Mechanism, Opaque,
    PageSharing, PollFd, Progress, ReadFrom, ReadSource, Report, Sink, Source, Upstream, WriteSink,
    pool,
};

// A copy can be handed to another thread half done, and held across `.await`.
assert_impl_all!(Copier: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Transfer: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Buffer: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Report: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone);
assert_impl_all!(CopyError: Send, Sync, Unpin, std::error::Error);
assert_impl_all!(Step: Send, Sync, Unpin);
assert_impl_all!(Next: Send, Sync, Unpin);
assert_impl_all!(StepError: Send, Sync, Unpin);
assert_impl_all!(PollFd<'static>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Copy, AsFd);
assert_impl_all!(Fd<OwnedFd>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Opaque<File>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Progress<File, fn(u64)>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Options: Send, Sync, Unpin, Copy);
assert_impl_all!(Mechanism: Send, Sync, Unpin, Copy, Eq, std::hash::Hash);
assert_impl_all!(PageSharing: Send, Sync, Unpin, Copy, Eq);
assert_impl_all!(Failure: Send, Sync, Unpin, std::error::Error);
assert_impl_all!(Property: Send, Sync, Unpin, Copy, Eq, std::hash::Hash);
// `?` with the error types of applications.
assert_impl_all!(Box<dyn std::error::Error + Send + Sync>: From<CopyError>);
assert_impl_all!(std::io::Error: From<CopyError>);

// A hook acts on the thread that installed it, so its guard stays there.
assert_not_impl_any!(Guard: Send, Sync, Clone);
assert_not_impl_any!(Recorder: Send, Sync, Clone);
assert_impl_all!(Action: Send, Sync, Copy, Eq);
assert_impl_all!(Call: Send, Sync, Copy, Eq);
assert_impl_all!(Record: Send, Sync, Copy, Eq);
assert_impl_all!(Syscall: Send, Sync, Copy, Eq, std::hash::Hash);

// Bytes in flight are not duplicated.
assert_not_impl_any!(Copier: Clone);
assert_not_impl_any!(Transfer: Clone);
assert_not_impl_any!(Buffer: Clone);

// The engine sees every source and sink through these traits.
assert_obj_safe!(Source, Sink, AsRawPollFd, IsStream);
assert_impl_all!(Box<dyn ReadSource>: Source, Read);
assert_impl_all!(Box<dyn WriteSink>: Sink, Write);
assert_impl_all!(&mut dyn ReadSource: ReadSource);
assert_impl_all!(&mut dyn WriteSink: WriteSink);
assert_impl_all!(Box<dyn ReadSource + Send>: Source, Send);

// Through any stack of wrappers, by value and by reference.
assert_impl_all!(Take<Take<TcpStream>>: Source);
assert_impl_all!(BufReader<Take<&'static UnixStream>>: Source);
assert_impl_all!(Progress<Box<BufReader<PipeReader>>, fn(u64)>: Source);
assert_impl_all!(BufWriter<Progress<&'static File, fn(u64)>>: Sink, ReadFrom<Kernel>);
assert_impl_all!(Opaque<Cursor<Vec<u8>>>: Source, Sink);

// Datagrams are no stream. std's hidden buffers are not bypassed.
assert_not_impl_any!(std::net::UdpSocket: IsStream, AsRawPollFd, Source, Sink);
assert_not_impl_any!(std::os::unix::net::UnixDatagram: IsStream, AsRawPollFd, Source, Sink);
assert_not_impl_any!(std::io::Stdin: IsStream, AsRawPollFd);
// A raw number does not own a descriptor, and an owned descriptor may be of any kind.
assert_not_impl_any!(std::os::fd::RawFd: IsStream, AsRawPollFd, Source, Sink);
assert_not_impl_any!(OwnedFd: IsStream, Source, Sink);
assert_not_impl_any!(BorrowedFd<'static>: IsStream, Source, Sink);

assert_impl_all!(File: ReadFrom<Kernel>);
assert_impl_all!(PipeWriter: ReadFrom<Kernel>);
assert_not_impl_any!(File: ReadFrom<Custom>);

// No type has grown. A descriptor and two flags; wrappers that cost what they hold; errors that fit into `io::Error`.
const_assert_eq!(size_of::<PollFd<'_>>(), 8);
const_assert_eq!(size_of::<Option<PollFd<'_>>>(), 8);
const_assert_eq!(size_of::<Opaque<File>>(), size_of::<File>());
const_assert_eq!(size_of::<Fd<OwnedFd>>(), 8);
const_assert!(size_of::<Upstream<'_>>() <= 72);
const_assert!(size_of::<Downstream<'_>>() <= 40);
const_assert!(size_of::<Bottom<'_>>() <= 32);
const_assert!(size_of::<Reach<'_>>() <= 64);
const_assert!(size_of::<Link>() <= 8);
const_assert!(size_of::<Step>() <= 40);
const_assert!(size_of::<Buffer>() <= 32);
const_assert!(size_of::<CopyError>() <= 64);
const_assert!(size_of::<Report>() <= 112);
const_assert!(size_of::<Transfer>() <= 384);
const_assert_eq!(size_of::<Copier>(), size_of::<Transfer>() + size_of::<zc_linux::Patience>());

// An ordinary user's pipes have 16384 pages by default (pipe(7)), and a pipe of the pool has 1 MiB. So one process
// uses at most half of them.
const_assert!(pool::MAX_IN_USE * (1 << 20) <= 16384 * 4096 / 2);
const_assert!(pool::MAX_IDLE <= pool::MAX_IN_USE);
