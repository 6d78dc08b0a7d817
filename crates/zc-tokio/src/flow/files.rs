//! Files, which never say that they are not ready: their half of a step is made where it may wait for the disk.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use zc_core::Side;
use zc_core::driver::{
    Bottom, Next, Step, StepError, each_descriptor, has_opaque_link, walk_source,
};
use zc_linux::Kind;

use super::look::tell_sink;
use super::{Flow, Waits};
use crate::away::{Away, Past, PastFile};
use crate::error::Failure;
use crate::{AsyncSink, AsyncSource, Operation, Registered, Settling, TokioIo};

/// What there is only where an end is a file.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// A step that is being made elsewhere, with the transfer.
    pub(super) away: Option<Away>,
    /// The files that are bypassed.
    source: FileEnd,
    sink: FileEnd,
    /// Whether the source's descriptors have been compared with the sink.
    has_compared: bool,
}

/// A file at one end.
#[derive(Debug)]
enum FileEnd {
    /// There may be one, and it has something to finish.
    Settling(Settling),
    /// The descriptor `fd` is of a file that is bypassed.
    Settled { fd: RawFd, file: PastFile },
    /// It is read, or written to, by its own `poll_` methods.
    Opaque,
}

impl Default for FileEnd {
    fn default() -> Self {
        FileEnd::Settling(Settling::default())
    }
}

impl FileEnd {
    /// Another file has to settle for itself: an end may go on to its next one, and that may have the number of one
    /// that was closed before. `true`: it is another.
    fn is_another(&mut self, now: Registered<'_>) -> bool {
        let now = now.poll_fd().fd();
        let is_another = match self {
            FileEnd::Settled { fd, file } => {
                now.as_raw_fd() != *fd || !zc_linux::fd::is_one_open_file(now, file.as_fd())
            }
            _ => false,
        };
        if is_another {
            *self = FileEnd::default();
        }
        is_another
    }
}

impl Flow {
    pub(super) fn away(&self) -> Option<&Away> {
        self.files.as_ref()?.away.as_ref()
    }

    /// The files have to settle again before they are bypassed.
    pub(super) fn unsettle(&mut self) {
        if let Some(files) = &mut self.files {
            (files.source, files.sink, files.has_compared) = Default::default();
        }
    }

    /// Fails if the file `to` is in a source that has read ahead. Its bytes are taken by the next look.
    pub(super) fn compare_buffered(
        &mut self,
        source: &mut dyn AsyncSource,
        to: &Past,
    ) -> Result<(), Failure> {
        let mut is_buffered = false;
        let walked = walk_source::<TokioIo>(source, self.link, &mut |reach| {
            is_buffered = matches!(reach.bottom, Bottom::Buffered(_));
            0
        });
        walked?;
        if is_buffered { self.compare(source, to) } else { Ok(()) }
    }

    /// Fails if the file `to` is in a source that is read, or has read ahead: only the plan of a step from descriptor
    /// to descriptor knows where such a copy has to end.
    pub(super) fn compare(
        &mut self,
        source: &mut dyn AsyncSource,
        to: &Past,
    ) -> Result<(), Failure> {
        let files = self.files.get_or_insert_default();
        if std::mem::replace(&mut files.has_compared, true) {
            return Ok(());
        }
        let mut is_same = false;
        each_descriptor::<TokioIo>(source, &mut |from| {
            is_same |= !from.fd.is_socket()
                && zc_linux::fd::is_one_regular_file(from.fd.fd(), to.file.as_fd());
        });
        if is_same {
            let what = "source and destination are the same file, and part of it is read ahead, or only the source \
                        itself knows how much is to come";
            let error = io::Error::new(io::ErrorKind::InvalidInput, what);
            return Err(StepError::new("copy", error).into());
        }
        Ok(())
    }

    /// The sink's descriptor, unless it is a file; and the file, once it can be bypassed.
    #[allow(clippy::type_complexity)]
    pub(super) fn settle_sink(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn AsyncSink,
        to: Option<RawFd>,
        offset: Option<u64>,
    ) -> Poll<Result<(Option<RawFd>, Option<Past>), Failure>> {
        let file = to.and_then(|fd| sink.write_ready(fd)).filter(|end| end.is_file());
        let Some(file) = file.filter(|_| cfg!(feature = "fs")) else {
            return Poll::Ready(Ok((to, None)));
        };
        let files = self.files.get_or_insert_default();
        if files.sink.is_another(file) {
            self.transfer.moved_on();
        }
        if let FileEnd::Settling(settling) = &mut files.sink {
            self.waits = Waits::ForSink;
            let failed = |error| Failure::new(Side::Sink, Operation::Write, error);
            let is_settled = ready!(sink.settle_sink(cx, settling)).map_err(failed)?;
            let end = to.filter(|_| is_settled).and_then(|fd| sink.write_ready(fd));
            files.sink = past(end);
            // The two halves of a step are made on different threads.
            self.transfer.options_mut().half_steps = true;
            self.waits = Waits::No;
        }
        match &files.sink {
            FileEnd::Settled { file, .. } => {
                Poll::Ready(Ok((to, Some(Past { file: PastFile::clone(file), offset }))))
            }
            _ => Poll::Ready(Ok((None, None))),
        }
    }

    /// The source's file, once it can be bypassed. `Some(None)`: it cannot. `None`: it is no file.
    pub(super) fn settle_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        fd: RawFd,
        offset: Option<u64>,
    ) -> Poll<Result<Option<Option<Past>>, Failure>> {
        let file = source.read_ready(fd).filter(|end| end.is_file());
        let Some(file) = file.filter(|_| cfg!(feature = "fs")) else {
            return Poll::Ready(Ok(None));
        };
        let files = self.files.get_or_insert_default();
        if files.source.is_another(file) {
            self.transfer.moved_on();
        }
        if let FileEnd::Settling(settling) = &mut files.source {
            self.waits = Waits::ForSource;
            let failed = |error| Failure::new(Side::Source, Operation::Read, error);
            let is_settled = ready!(source.settle_source(cx, settling)).map_err(failed)?;
            let end = if is_settled { source.read_ready(fd) } else { None };
            files.source = past(end);
            self.waits = Waits::No;
        }
        Poll::Ready(Ok(Some(match &files.source {
            FileEnd::Settled { file, .. } => Some(Past { file: PastFile::clone(file), offset }),
            _ => None,
        })))
    }

    /// Has a step made elsewhere: of at most `budget` bytes, in a copy of as many as come with the source.
    pub(super) fn leave(
        &mut self,
        from: Option<(Past, u64)>,
        to: Option<Past>,
        budget: u64,
        last: bool,
        splices: bool,
    ) {
        let away = Away::start(&mut self.transfer, from, (to, self.fits), budget, last, splices);
        self.files.get_or_insert_default().away = Some(away);
    }

    /// Whether its source is a file, or has one in it, which is waited for and never has nothing. Which of its parts a
    /// chain is at, only the chain knows.
    pub(crate) fn waits_for_disk(&self, source: &mut dyn AsyncSource) -> bool {
        let mut has_file = self.away().is_some();
        each_descriptor::<TokioIo>(source, &mut |end| {
            has_file = has_file || !end.fd.is_socket() && is_on_disk(end.fd.fd());
        });
        has_file
    }

    /// Other ends come. They are not told of a step that is being made elsewhere, which is not theirs.
    pub(super) fn forsake(&mut self) {
        if let Some(away) = self.files.as_mut().and_then(|files| files.away.as_mut()) {
            away.is_of_others = true;
        }
    }

    /// Takes out the bytes in flight. What a step that is being made elsewhere leaves in flight cannot be taken out; it
    /// does not go to other ends.
    pub(crate) fn take_residue(&mut self) -> Vec<u8> {
        if let Some(away) = self.files.as_mut().and_then(|files| files.away.as_mut()) {
            away.is_taken_out = true;
        }
        self.transfer.take_residue()
    }

    /// Waits for the step that is made elsewhere, and tells the layers what it did.
    pub(super) fn come_back(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn AsyncSource,
        sink: &mut dyn AsyncSink,
    ) -> Poll<Result<Step, Failure>> {
        let files = self.files.as_mut().expect("the caller has looked");
        let away = files.away.as_mut().expect("the caller has looked");
        self.waits = if away.takes { Waits::ForSource } else { Waits::ForSink };
        let (transfer, step) = ready!(away.poll(cx));
        let (last, delivers) = (away.last, away.delivers);
        let (is_of_others, is_taken_out) = (away.is_of_others, away.is_taken_out);
        (files.away, self.waits) = (None, Waits::No);
        self.transfer = transfer;
        if is_of_others {
            self.transfer.rebind();
            if is_taken_out {
                drop(self.transfer.take_residue());
            }
            return Poll::Ready(Ok(Step::idle(Next::Again)));
        }
        let step = step?;
        self.count(&step);
        self.headroom.saw(&step);
        if step.taken > 0 {
            let told = walk_source::<TokioIo>(source, self.link, &mut |_| step.taken);
            debug_assert!(told.is_ok(), "a descriptor is no buffer");
        }
        if delivers {
            tell_sink(sink, step.delivered);
        }
        let step = match step.next {
            Next::Ended if !last => {
                self.link = self.link.next();
                Step { next: Next::Again, ..step }
            }
            // Nothing tells when a file has more.
            Next::WantRead { .. } | Next::WantWrite => {
                let error = io::Error::other("a file is not ready");
                let error = StepError::new("read", error);
                Step { next: Next::Failed(Box::new(error)), ..step }
            }
            _ => step,
        };
        self.finish_step(cx, step, source, sink)
    }
}

/// Whether a source's error may be that of a connection. One that hides its descriptor may have one. (Not a file, on a
/// file system over a network.) Which link of a chain has failed, only the chain knows.
pub(crate) fn may_be_connection(source: &mut dyn AsyncSource) -> bool {
    let mut may_be = has_opaque_link::<TokioIo>(source);
    each_descriptor::<TokioIo>(source, &mut |end| may_be |= end.fd.is_socket());
    may_be
}

/// Not a FIFO or a tty, which may have nothing. Like a file it may be one of tokio's `File`s, but it cannot seek. (A
/// regular file is not asked to: its offset is locked while another thread reads from there.)
fn is_on_disk(fd: BorrowedFd<'_>) -> bool {
    Kind::of(fd).is_ok_and(|kind| kind == Kind::File) || zc_linux::fd::position(fd).is_ok()
}

/// The file behind `end`, which has settled. Where there is no descriptor left to bypass it with, its own `poll_`
/// methods do without.
fn past(end: Option<Registered<'_>>) -> FileEnd {
    let settled = end.map(|end| end.poll_fd().fd()).and_then(|fd| {
        let file = PastFile::new(fd.try_clone_to_owned().ok()?.into());
        Some(FileEnd::Settled { fd: fd.as_raw_fd(), file })
    });
    settled.unwrap_or(FileEnd::Opaque)
}
