//! The plain calls.

use std::io;

use crate::{AsyncSink, AsyncSource, AsyncStream, Copier, Relay};

/// Copies all of `reader` into `writer`. **Dropped half-way, it loses the bytes in flight**: those taken from the
/// reader and not delivered yet, up to a pipe's worth. [`Copier`] keeps them.
///
/// It is `tokio::io::copy`, with the kernel moving the bytes where it can; see the [table](crate#what-moves-what).
/// The writer is flushed at the end, and whenever the reader has nothing for it.
///
/// # Errors
///
/// The first error, in an `io::Error` of its kind that carries an [`Error`](crate::Error): with the count so
/// far and the bytes in flight. [`Error::from_io`](crate::Error::from_io) finds it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut out = Vec::new();
/// assert_eq!(zc_tokio::copy(&mut &b"hello"[..], &mut out).await?, 5);
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncSource + ?Sized,
    W: AsyncSink + ?Sized,
{
    let mut copier = Copier::new();
    match copier.run(reader, writer).await {
        Ok(moved) => Ok(moved),
        Err(mut error) => {
            error.residues.0 = copier.take_residue();
            Err(error.into())
        }
    }
}

/// Copies both ways between `a` and `b`. **Dropped half-way, it loses the bytes in flight** both ways,
/// and which of the two has ended. [`Relay`] keeps them.
///
/// It is `tokio::io::copy_bidirectional`, with the kernel moving the bytes where it can; see the
/// [table](crate#what-moves-what). When one end's input has ended, the other is shut down, and the other
/// direction goes on. It returns once both have ended, with the bytes copied from `a` to `b`, and from `b` to `a`.
///
/// # Errors
///
/// The first error of either direction, in an `io::Error` of its kind that carries an [`Error`](crate::Error): with
/// the counts so far and the bytes in flight. [`Error::from_io`](crate::Error::from_io) finds it. (A file's step in the
/// other direction is waited for, so that what it moves is in them.)
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// # let (mut client, mut server): (tokio::net::TcpStream, tokio::net::TcpStream) = todo!();
/// let (up, down) = zc_tokio::copy_bidirectional(&mut client, &mut server).await?;
/// # Ok(()) }
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncStream + ?Sized,
    B: AsyncStream + ?Sized,
{
    let mut relay = Relay::new();
    match relay.run(a, b).await {
        Ok(counts) => Ok(counts),
        Err(mut error) => {
            // The other direction may have a file's step under way.
            relay.settle(a, b).await;
            error.counts = relay.counts();
            error.residues = relay.take_residues();
            Err(error.into())
        }
    }
}
