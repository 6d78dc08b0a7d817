//! The parameter of `Source` and `Sink` for types that tokio reads and writes.

/// Marks `Source` and `Sink` impls for types that implement tokio's `AsyncRead` and `AsyncWrite`.
///
/// It lets this crate say for tokio's types what zc-core says for std's, see
/// [the parameter](crate::Source#the-parameter). A wrapper over both kinds of I/O leaves it open:
/// `impl<Io, S: Source<Io>> Source<Io> for Metered<S>`.
#[derive(Debug)]
pub enum TokioIo {}
