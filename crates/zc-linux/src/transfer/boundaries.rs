//! Sockets that keep the boundaries of messages, behind a type that takes them for a stream: std's and tokio's can be
//! made from any descriptor.

use zc_core::{End, PollFd};

use super::Transfer;
use crate::backend::{Answer, Outcome, read_write};
use crate::kind::{Kind, Nature, is_stream_socket};
use crate::sys;

impl Transfer {
    /// `from` as it has to be read in a step of `budget` bytes, in a copy of `limit`.
    ///
    /// Without a plan nothing is known of it but its type. That is enough for a read of all that may come. One that
    /// asks for less would cut a message, and one that looks behind it would cut the next. So before such a read the
    /// socket is asked what it is, once.
    #[inline(always)]
    pub(super) fn as_it_is<'a>(&mut self, from: End<'a>, limit: u64, budget: u64) -> End<'a> {
        // A `File` can be made from a socket, too. Only one that is known to be a socket is looked behind.
        let cuts = budget < limit || self.options.looks_behind && from.fd.is_socket();
        if cuts && self.plan.is_none() && from.fd.is_stream() && self.reads_messages(from) {
            return of_messages(from);
        }
        from
    }

    /// What a read of at most `limit` bytes comes to, if it may have filled its room with the beginning of a message.
    #[inline(always)]
    pub(super) fn whole(&mut self, from: End<'_>, limit: u64, answer: Answer) -> Answer {
        let is_full = matches!(answer.outcome, Outcome::Moved { drained: false, .. });
        if is_full && answer.taken < limit && self.plan.is_none() && from.fd.is_stream() {
            return self.unless_cut(from, answer);
        }
        answer
    }

    /// A message that fits exactly is taken for one that does not: the read did not ask, and cannot be made again.
    #[cold]
    fn unless_cut(&mut self, from: End<'_>, answer: Answer) -> Answer {
        match self.reads_messages(from) {
            true => read_write::cut(answer.taken),
            false => answer,
        }
    }

    /// Whether the source keeps the boundaries of messages: asked once for these ends.
    #[cold]
    pub(super) fn reads_messages(&mut self, from: End<'_>) -> bool {
        let asked = self.reads_messages;
        let is_so = asked.unwrap_or_else(|| match is_stream_socket(from.fd) {
            // If the kernel will not say, a read has the error that is worth reporting.
            true => sys::is_stream(from.fd.fd()) == Ok(false),
            false => Nature::of(from.fd).kind == Kind::Messages,
        });
        self.reads_messages = Some(is_so);
        is_so
    }
}

/// The same end, for what it is.
pub(super) fn of_messages(from: End<'_>) -> End<'_> {
    End { fd: PollFd::messages(from.fd.fd()), ..from }
}
