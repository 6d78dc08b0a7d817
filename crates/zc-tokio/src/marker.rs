//! By which `read` and `write` a type is read and written.

/// Tokio's `AsyncRead` and `AsyncWrite`: the parameter of [`Source`](crate::Source) and [`Sink`](crate::Sink)
/// for the types of this crate.
///
/// It is what lets this crate say for tokio's types what zc-core says for std's, see
/// [the parameter](crate::Source#the-parameter). A wrapper over both kinds of I/O leaves it open:
/// `impl<Io, S: Source<Io>> Source<Io> for Metered<S>`.
#[derive(Debug)]
pub enum TokioIo {}
